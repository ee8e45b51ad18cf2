package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
)

// A change is the part of a command that changes many things: it says how many and asks
// before it does.
type change struct {
	yes, dryRun bool
}

// changeHelp is what the help of such commands says of it.
const changeHelp = `It says how many that are and asks first; without a terminal to ask on, --yes is needed.
--dry-run only counts.`

// addChangeFlags gives a command the flags of a change.
func addChangeFlags(cmd *cobra.Command, c *change) {
	flags := cmd.Flags()
	flags.BoolVar(&c.yes, "yes", false, "do not ask")
	flags.BoolVar(&c.dryRun, "dry-run", false, "only say what would be done")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
}

// confirm asks whether to do something, such as "drop 5 dead letter(s)". Its error says why
// that is not done.
func (c change) confirm(cmd *cobra.Command, deed string) error {
	if c.yes {
		return nil
	}
	in := cmd.InOrStdin()
	if !isTerminal(in) {
		return usagef("about to %s, but stdin is no terminal to ask on: add --yes to go on, or --dry-run to look", deed)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "About to %s. Go on? [y/N] ", deed)
	line, err := readLine(cmd.Context(), in)
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr())
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not confirmed, nothing was changed")
}

// readLine reads a line that a person types, and gives up when ctx ends. Reading cannot be
// broken off: its goroutine ends with the process then.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	lines := make(chan string, 1)
	go func() {
		defer close(lines)
		if line, err := bufio.NewReader(in).ReadString('\n'); err == nil {
			lines <- line
		}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case line, ok := <-lines:
		if !ok {
			return "", usagef("no answer: add --yes to go on, or --dry-run to look")
		}
		return line, nil
	}
}

// run does a change: do, which only counts if it is told so. verb is what is done, what
// the things that it is done to. It returns false if nothing was to be done.
func (c change) run(cmd *cobra.Command, verb, what string, do func(dryRun bool) (admin.Outcome, error)) (admin.Outcome, bool, error) {
	if c.yes {
		out, err := do(false)
		return out, err == nil, err
	}
	out, err := do(true)
	if err != nil || c.dryRun || out.Count == 0 {
		return out, false, err
	}
	if err := c.confirm(cmd, fmt.Sprintf("%s %d %s", verb, out.Count, what)); err != nil {
		return out, false, err
	}
	out, err = do(false)
	return out, err == nil, err
}

// printOutcome prints what a change of what came to: done is what was done to them. made
// is false if nothing was to be changed.
func printOutcome(cmd *cobra.Command, out admin.Outcome, made, asJSON bool, what, done string) (err error) {
	w := cmd.OutOrStdout()
	switch {
	case asJSON:
		return writeJSON(w, out)
	case out.Count == 0:
		_, err = fmt.Fprintf(w, "no %s selected, nothing was changed\n", what)
	case !made:
		_, err = fmt.Fprintf(w, "%d %s would be %s\n", out.Count, what, done)
	default:
		count := fmt.Sprint(out.Count)
		if out.Done < out.Count {
			count = fmt.Sprintf("%d of %d", out.Done, out.Count)
		}
		if out.Events > 0 {
			done += fmt.Sprintf(", %d event(s) stored", out.Events)
		}
		_, err = fmt.Fprintf(w, "%s %s %s\n", count, what, done)
	}
	return err
}

// checkExtent makes the caller of a change say which things are meant, by flags that
// select them, or that it is all of them.
func checkExtent(selectsAll, all bool, flags string) error {
	switch {
	case selectsAll && !all:
		return usagef("say which: %s, or --all", flags)
	case all && !selectsAll:
		return usagef("--all and %s exclude each other", flags)
	}
	return nil
}

func addAllFlag(cmd *cobra.Command, all *bool) {
	cmd.Flags().BoolVar(all, "all", false, "all there are, instead of a selection")
}
