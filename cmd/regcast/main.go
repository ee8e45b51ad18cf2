// Command regcast dispatches the events of container registries: it receives them over
// HTTP, keeps them on disk and delivers them to webhooks.
//
// Each subcommand is in the file of its name, built by its newXCommand; those that steer an
// endpoint are together in control.go. What the operating commands share is in server.go,
// selection.go, change.go and listing.go. Exit codes: 0 done, 1 failed, 2 bad usage or bad
// configuration.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole program: it executes the command that args name and returns the exit
// code. The context of a command ends with SIGINT or SIGTERM; a second one ends the
// process.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	started := false
	root := newRootCommand(&started)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !started {
		err = usagef("%w (see %s --help)", err, cmd.CommandPath())
	}
	return report(stderr, cmd, err)
}
