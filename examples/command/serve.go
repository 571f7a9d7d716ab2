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
	"go.uber.org/zap"

	"github.com/souk-market/souk/examples/demo"
	"github.com/souk-market/souk/examples/house"
	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/handover"
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

const takingOver = `
A new version takes over without a failed call: put its file in the place of the
old one and send the running process SIGUSR2, or start it once more with the same
--data. The sockets are handed to it; once it is ready the old process accepts
nothing more, ends what it has under way, and exits.`

func serveCommand(r role) *cobra.Command {
	var s settings
	cmd := &cobra.Command{Use: r.name, Short: r.short, Args: noArgs}
	cmd.Long = r.short + ".\n" + takingOver
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
			o.Gateway, o.GatewayTLS = s.gateway, s.gatewayTLS
		}
		if r.console {
			o.Console = s.console
		}
		if !r.gateway && o.GatewayPublic == "" {
			o.GatewayPublic = "http://" + s.gateway // where the other half answers
		}
		return errors.Join(serve(cmd.Context(), cmd.OutOrStdout(), o, r, s.streams), s.endLogs())
	}
	return cmd
}

// serve runs a house until it is told to end, or until another process has taken over.
func serve(ctx context.Context, out io.Writer, o house.Options, r role, streams time.Duration) error {
	// From the beginning: who does not listen to the signal is ended by it.
	upgrade := make(chan os.Signal, 1)
	defer onUpgrade(upgrade)()
	socket := handover.Path(o.Folder, r.name)
	taken, err := handover.Ask(ctx, socket)
	if err != nil && !errors.Is(err, handover.ErrNobody) {
		return err
	}
	defer func() { _ = taken.Close() }() // what it had is in use, or of no more use
	if taken != nil {
		o.TakeOver = true
		o.Before = func(ctx context.Context, g *gateway.Server) error {
			c, err := taken.State(ctx)
			if err != nil {
				return err
			}
			return g.Take(c)
		}
	}
	o.Listen = func(name, address string) (net.Listener, error) {
		if l := taken.Listener(name, address); l != nil {
			return l, nil
		}
		return net.Listen("tcp", address)
	}
	h, err := house.Open(ctx, o)
	if err != nil {
		return err
	}
	if taken != nil {
		ready, cancel := context.WithTimeout(ctx, readyFor)
		err := h.Ready(ready)
		cancel()
		if err == nil {
			err = taken.Ready()
		}
		if err != nil {
			return errors.Join(err, drain(h))
		}
		o.Log.Info("took over from the process before")
	}
	keeper, err := handover.Keep(socket, h.Listeners(), func(c net.Conn) { give(h, c, o.Log) })
	if err != nil {
		// Without it the next binary starts as ever: after this process has ended.
		o.Log.Warn("this process cannot be taken over from", zap.Error(err))
	}
	defer func() { _ = keeper.Close() }() // we end
	if err := greet(ctx, out, h, o); err != nil {
		return errors.Join(err, drain(h))
	}
	return wait(ctx, h, keeper, upgrade, o.Log, streams)
}

// give hands what only this process knows to the one that takes over.
func give(h *house.House, c net.Conn, log *zap.Logger) {
	g := h.Gateway()
	if g == nil {
		_ = c.Close() // there is nothing
		return
	}
	if err := g.Give(c); err != nil {
		log.Warn("the next process has not taken what this one knows", zap.Error(err))
		_ = c.Close() // of no more use
	}
}

// greet says where everything is.
func greet(ctx context.Context, out io.Writer, h *house.House, o house.Options) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if o.Console != "" {
		fmt.Fprintf(w, "Market and console\t%s\n", h.ConsoleURL)
	}
	if o.Gateway != "" {
		fmt.Fprintf(w, "Gateway\t%s\n", h.GatewayURL)
	}
	if h.GatewayTLS != "" {
		fmt.Fprintf(w, "Gateway over TLS\t%s\n", h.GatewayTLS)
	}
	if h.OpsURL != "" {
		fmt.Fprintf(w, "Inner listener\t%s\n", h.OpsURL)
	}
	_ = w.Flush() // a terminal that is gone does not stop a server
	token, err := h.SetUpToken(ctx)
	if err != nil {
		return err
	}
	if token != "" {
		fmt.Fprintf(out, "\nThere is no operator yet. Open this within the hour to become the first one:\n\n  %s/setup?token=%s\n", h.ConsoleURL, token)
	}
	return nil
}

// readyFor bounds how long a process that takes over may need to be ready.
const readyFor = time.Minute

// wait waits for the signal to stop, for another process that takes over, or for a listener
// that failed, and drains.
func wait(ctx context.Context, h *house.House, keeper *handover.Keeper, upgrade <-chan os.Signal, log *zap.Logger, streams time.Duration) error {
	upgrades := make(chan error, 1)
	busy := false
	for {
		select {
		case <-ctx.Done():
			return drain(h)
		case err := <-h.Failed():
			return errors.Join(err, drain(h))
		case <-keeper.Taken():
			log.Info("another process has taken over; what is under way here ends")
			return leave(ctx, h, streams)
		case <-upgrade:
			if busy || keeper == nil {
				continue
			}
			busy = true
			go func() { upgrades <- keeper.Upgrade(ctx) }()
		case err := <-upgrades:
			busy = false
			if err != nil {
				log.Error("this process goes on", zap.Error(err))
			}
		}
	}
}

// leave lets what is under way end: streams as long as they may, after a signal to stop as
// long as ever.
func leave(ctx context.Context, h *house.House, streams time.Duration) error {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), streams)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(drainFor):
			cancel()
		case <-end.Done():
		}
	})()
	return h.Leave(end)
}

// closer is a house or a demo.
type closer interface{ Close(context.Context) error }

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
		select {
		case <-cmd.Context().Done():
		case err = <-m.Failed():
		}
		return errors.Join(err, drain(m))
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
