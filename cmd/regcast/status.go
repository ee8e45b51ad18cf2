package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/endpoints"
)

func newStatusCommand() *cobra.Command {
	var s server
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:     "status [ENDPOINT]",
		GroupID: groupOperate,
		Short:   "Show how the endpoints are",
		Long: `status shows for each endpoint how it is and why, how many events are pending and for how
long the oldest of them has been, how many were delivered and how many given up on so far, and
the last error; "regcast dead" lists the dead letters that are left. With an ENDPOINT it
shows everything there is to know of that one.

States: ok; retrying, after a failure; throttled, as it asked for; down, auth, misdirected,
tls, rejecting, blocked and suspended, where nothing is sent but a probe now and then and
everything waits; paused and disabled, by an operator; removed from the configuration.`,
		Example: `  regcast status
  regcast status audit
  regcast status --watch
  regcast status --json | jq '.[] | select(.state != "ok") | .name'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			show := func(c *client.Client) error { return showStatus(cmd, c, args, asJSON) }
			if !watch {
				return s.ask(cmd.Context(), show)
			}
			return watchStatus(cmd, func() error { return s.ask(cmd.Context(), show) })
		},
	}
	addServerFlags(cmd, &s)
	addJSONFlag(cmd, &asJSON, "one JSON array, or object of one endpoint")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again and again, until interrupted")
	cmd.MarkFlagsMutuallyExclusive("watch", "json")
	return cmd
}

func showStatus(cmd *cobra.Command, c *client.Client, args []string, asJSON bool) error {
	out := cmd.OutOrStdout()
	if len(args) > 0 {
		e, err := c.Endpoint(cmd.Context(), args[0])
		if err != nil {
			return listedBy("regcast status", err)
		}
		return printEndpoint(out, &e, asJSON)
	}
	list, err := c.Endpoints(cmd.Context())
	switch {
	case err != nil:
		return err
	case asJSON:
		return writeList(out, list)
	case len(list) == 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "no endpoints: the configuration has none")
		return nil
	}
	t := newTable(out, "ENDPOINT", painted{"STATE", plain}, "SINCE", "PENDING", "OLDEST", "DELIVERED", "DEAD", "CAUSE", "LAST ERROR")
	for _, e := range list {
		t.row(e.Name, paintedState(e.State), e.Since, e.Pending, span(e.OldestPendingSeconds), e.Delivered, e.Dead,
			shorten(e.Cause), shorten(lastError(&e)))
	}
	return t.flush()
}

// lastError is the last error of an endpoint, in short where the cause says the same.
func lastError(e *admin.Endpoint) string {
	if e.LastError != "" && e.LastError == e.Cause {
		return "same"
	}
	return e.LastError
}

// paintedState is a state in the colour of its news.
func paintedState(state string) painted {
	switch endpoints.StateName(state) {
	case endpoints.StateOK:
		return painted{state, green}
	case endpoints.StateRetrying, endpoints.StateThrottled, endpoints.StatePaused, endpoints.StateDisabled:
		return painted{state, yellow}
	case endpoints.StateRemoved:
		return painted{state, plain}
	}
	return painted{state, red}
}

func printEndpoint(w io.Writer, e *admin.Endpoint, asJSON bool) error {
	if asJSON {
		return writeJSON(w, e)
	}
	t := newTable(w)
	t.row("endpoint", e.Name)
	t.field("url", e.URL)
	t.field("format", e.Format)
	t.row("state", paintedState(e.State))
	t.field("cause", e.Cause)
	t.field("since", e.Since)
	t.row("pending", e.Pending)
	t.field("parked", e.Parked)
	t.field("oldest pending", span(e.OldestPendingSeconds))
	t.field("in flight", e.InFlight)
	t.field("progress", e.Progress)
	t.row("delivered", e.Delivered)
	t.row("filtered", e.Filtered)
	t.row("dead", e.Dead)
	t.field("dropped", e.Dropped)
	t.field("evicted", e.Evicted)
	t.field("retried", e.Retried)
	t.field("last error", e.LastError)
	t.field("last success", e.LastSuccess)
	return t.flush()
}

// watchEvery is how often a watched status is shown.
const watchEvery = 2 * time.Second

// clearScreen makes a terminal begin at its top.
const clearScreen = "\x1b[H\x1b[2J"

// watchStatus shows the status until the command is interrupted. A dispatcher that is not
// there any more may come back; one that is not there at first is an error.
func watchStatus(cmd *cobra.Command, show func() error) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for first := true; ; first = false {
		switch {
		case isTerminal(out):
			fmt.Fprint(out, clearScreen)
		case !first:
			fmt.Fprintln(out)
		}
		fmt.Fprintln(out, utc(time.Now()))
		if err := show(); err != nil && ctx.Err() == nil {
			if _, answered := errors.AsType[*client.Error](err); first || answered {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), visible(err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
