// Package command is the program's command line: serve, gateway, console, demo, and the
// tools around them. main.go runs it; so does the main.go of a build with plug-ins of its
// own, which imports them beside it.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/souk-market/souk/gateway/gate"
)

// version is set when a release is built.
var version = "0.1.0-dev"

// Exit codes.
const (
	exitFault = 1 // it was tried, and failed
	exitUsage = 2 // it was asked for in a way that makes no sense
)

// Main runs the program and gives its exit code: 0, 1 if something failed, 2 if it was
// asked in a way that makes no sense.
func Main() int {
	// A second signal ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// usageError is a fault of the command line or of the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run is Main, as tests call it.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	root := commands()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, "souk:", err)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(errs, "Run '%s --help' for what there is.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFault
}

func commands() *cobra.Command {
	serve := serveCommand(role{name: "serve", short: "Run everything in one process (the default)", gateway: true, console: true})
	root := &cobra.Command{
		Use:   "souk",
		Short: "A self-hosted marketplace for APIs",
		Long: `Souk is a marketplace for APIs that runs on your own machine: sellers publish,
buyers pay by the call, and the gateway counts.

Without a command it does what 'souk serve' does.

Every flag can also be given in the environment (SOUK_ and its name, as in
SOUK_DATA or SOUK_GATEWAY_PUBLIC) or in a YAML file named by --config. A flag
goes before the environment, and that before the file.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          serve.RunE,
	}
	root.Flags().AddFlagSet(serve.Flags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(serve,
		serveCommand(role{name: "gateway", short: "Run a gateway alone", gateway: true}),
		serveCommand(role{name: "console", short: "Run a console alone", console: true}),
		demoCommand(), sdkCommand(), signCommand(), doctorCommand(), migrateCommand(), filtersCommand(), versionCommand())
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q", args[0])}
	}
	return nil
}

func filtersCommand() *cobra.Command {
	return &cobra.Command{Use: "filters", Short: "List the gateway filters of this build", Args: noArgs, Run: func(cmd *cobra.Command, _ []string) {
		for _, id := range gate.Filters() {
			fmt.Fprintln(cmd.OutOrStdout(), id)
		}
	}}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: noArgs, Run: func(cmd *cobra.Command, _ []string) {
		fmt.Fprintln(cmd.OutOrStdout(), "souk", version)
	}}
}
