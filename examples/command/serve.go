package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/souk-market/souk/examples/demo"
	"github.com/souk-market/souk/examples/house"
)

// drainFor is how long calls under way may take once we are told to stop.
const drainFor = 20 * time.Second

// role is what of the house a command runs.
type role struct {
	name, short      string
	gateway, console bool
}

const halves = `
The halves share the databases of one data folder, so both run on one machine
with the same --data, and with addresses of --ops that differ. What the console
sells reaches the gateway within a second; what the gateway counts reaches the
console when it is booked, a moment after the call. For one machine without
other needs, 'souk serve' is what you want.`

func serveCommand(r role) *cobra.Command {
	var s settings
	cmd := &cobra.Command{Use: r.name, Short: r.short, Args: noArgs}
	cmd.Long = r.short + "."
	if !r.gateway || !r.console {
		cmd.Long += "\n" + halves
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := load(cmd); err != nil {
			return err
		}
		o, err := s.options()
		if err != nil {
			return err
		}
		o.Ops = s.ops
		if r.gateway {
			o.Gateway = s.gateway
		}
		if r.console {
			o.Console = s.console
		}
		if !r.gateway && o.GatewayPublic == "" {
			o.GatewayPublic = "http://" + s.gateway // where the other half answers
		}
		return serve(cmd.Context(), cmd.OutOrStdout(), o)
	}
	return cmd
}

func serve(ctx context.Context, out io.Writer, o house.Options) error {
	h, err := house.Open(ctx, o)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if o.Console != "" {
		fmt.Fprintf(w, "Market and console\t%s\n", h.ConsoleURL)
	}
	if o.Gateway != "" {
		fmt.Fprintf(w, "Gateway\t%s\n", h.GatewayURL)
	}
	if h.OpsURL != "" {
		fmt.Fprintf(w, "Inner listener\t%s\n", h.OpsURL)
	}
	_ = w.Flush() // a terminal that is gone does not stop a server
	token, err := h.SetUpToken(ctx)
	if err != nil {
		return errors.Join(err, drain(h))
	}
	if token != "" {
		fmt.Fprintf(out, "\nThere is no operator yet. Open this within the hour to become the first one:\n\n  %s/setup?token=%s\n", h.ConsoleURL, token)
	}
	return wait(ctx, h, h)
}

// closer is a house or a demo.
type closer interface{ Close(context.Context) error }

// wait waits for the signal to stop or for a listener that failed, and drains.
func wait(ctx context.Context, h *house.House, c closer) error {
	var err error
	select {
	case <-ctx.Done():
	case err = <-h.Failed():
	}
	return errors.Join(err, drain(c))
}

func drain(c closer) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	return c.Close(ctx)
}

func demoCommand() *cobra.Command {
	var s settings
	var ready string
	var fresh, asJSON bool
	cmd := &cobra.Command{Use: "demo", Short: "Run a filled marketplace", Args: noArgs,
		Long: `Run a filled marketplace: sellers, a dozen products with a server that answers
them, and a buyer who has bought some. Data is kept between runs.

Sellers' servers may be on private addresses here, since the demo's own is.`}
	f := cmd.Flags()
	f.StringVar(&s.data, "data", "./souk-demo", "folder of the demo")
	f.StringVar(&s.console, "console", "", "address of market and console (empty: 127.0.0.1:8090, or a free port)")
	f.StringVar(&s.gateway, "gateway", "", "address that apps call (empty: 127.0.0.1:8080, or a free port)")
	f.StringVar(&s.ops, "ops", "", "inner address (empty: 127.0.0.1:8099, or a free port)")
	f.StringVar(&s.log, "log", "warn", "debug, info, warn or error")
	f.BoolVar(&s.accessLog, "access-log", false, "one line for each call of the gateway")
	f.StringVar(&ready, "ready-file", "", "write where everything is, as JSON, once everything answers")
	f.BoolVar(&fresh, "fresh", false, "forget the data of earlier runs")
	f.BoolVar(&asJSON, "json", false, "print the ready file instead of prose")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := load(cmd); err != nil {
			return err
		}
		log, access, err := s.loggers()
		if err != nil {
			return err
		}
		if ready != "" { // one of an earlier run would be taken for ours
			if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		m, err := demo.Start(cmd.Context(), demo.Options{Data: s.data, Fresh: fresh, Log: log, AccessLog: access,
			Console: freeOr(s.console, "127.0.0.1:8090"), Gateway: freeOr(s.gateway, "127.0.0.1:8080"), Ops: freeOr(s.ops, "127.0.0.1:8099")})
		if err != nil {
			return err
		}
		if err := announce(cmd.OutOrStdout(), m.Ready, ready, asJSON); err != nil {
			return errors.Join(err, drain(m))
		}
		return wait(cmd.Context(), m.House, m)
	}
	return cmd
}

// freeOr is the address that was given; else the usual one if nobody has it, else none.
func freeOr(given, usual string) string {
	if given != "" {
		return given
	}
	l, err := net.Listen("tcp", usual)
	if err != nil {
		return ""
	}
	_ = l.Close() // it was only to see
	return usual
}

func announce(out io.Writer, r demo.Ready, file string, asJSON bool) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if file != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := demo.WriteFile(file, b); err != nil {
			return err
		}
	}
	if asJSON {
		_, err := out.Write(b)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Market and console\t%s\nGateway\t%s\nInner listener\t%s\n\n", r.Console, r.Gateway, r.Ops)
	fmt.Fprintf(w, "Sign in at %s/sign-in as\n", r.Console)
	seen := map[string]bool{}
	for _, a := range r.Accounts {
		if !seen[a.Role] {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", a.Role, a.Email, a.Password)
		}
		seen[a.Role] = true
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\nThis call works:\n\n  curl -H 'Authorization: APPCODE %s' '%s/accept/get?hello=souk'\n\nCtrl-C ends it; the data stays.\n",
		r.App.AppCode, r.Gateway)
	return err
}
