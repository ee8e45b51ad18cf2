package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
)

func newPauseCommand() *cobra.Command {
	return newControlCommand(admin.Pause, "Send an endpoint nothing until resume",
		`pause stops deliveries to an endpoint: its events stay pending, in order, until "regcast
resume". Requests under way are finished. It outlives a restart and a reload.`)
}

func newResumeCommand() *cobra.Command {
	return newControlCommand(admin.Resume, "End pause, or try an endpoint that is held at once",
		`resume ends what pause began. It also ends any hold that regcast itself put on the
endpoint, such as down or auth: the next event is tried at once instead of at the next
probe.`)
}

func newDisableCommand() *cobra.Command {
	return newControlCommand(admin.Disable, "Send an endpoint nothing, not even probes, until enable",
		`disable takes an endpoint out of service: nothing is sent, not even probes, until "regcast
enable", whatever the configuration says. Its place is kept and its events stay pending.`)
}

func newEnableCommand() *cobra.Command {
	return newControlCommand(admin.Enable, "End disable",
		`enable ends what disable began, and also puts an endpoint back into service that disabled
itself: one that answered 410, or with the header "webhook-delivery: disable".`)
}

// newControlCommand builds a command that does action to an endpoint and shows how that
// is then.
func newControlCommand(action admin.Action, short, long string) *cobra.Command {
	var s server
	var asJSON bool
	cmd := &cobra.Command{
		Use:     string(action) + " ENDPOINT",
		GroupID: groupOperate,
		Short:   short,
		Long:    long + "\n\nIt prints how the endpoint is then, and is no error where it is so already.",
		Example: fmt.Sprintf("  regcast %s audit", action),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.ask(cmd.Context(), func(c *client.Client) error {
				if err := c.Control(cmd.Context(), args[0], action); err != nil {
					return listedBy("regcast status", err)
				}
				e, err := c.Endpoint(cmd.Context(), args[0])
				if err != nil {
					return fmt.Errorf("%s is done, but: %w", action, err)
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), e)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %d pending\n", visible(e.Name), visible(e.State), e.Pending)
				return err
			})
		},
	}
	addServerFlags(cmd, &s)
	addJSONFlag(cmd, &asJSON, "the endpoint as one JSON object")
	return cmd
}

func newForgetCommand() *cobra.Command {
	var s server
	var ch change
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "forget ENDPOINT",
		GroupID: groupOperate,
		Short:   "Give up an endpoint that was taken out of the configuration",
		Long: `forget ends an endpoint that is not in the configuration any more: its place, its pending
events and its dead letters are given up. Without that they are kept for 7 days, so that an
endpoint that is put back goes on where it was. An endpoint of the configuration cannot be
forgotten: take it out and reload first.

` + changeHelp,
		Example: `  regcast forget legacy
  regcast forget legacy --dry-run
  regcast forget legacy --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.ask(cmd.Context(), func(c *client.Client) error { return forget(cmd, c, ch, args[0], asJSON) })
		},
	}
	addServerFlags(cmd, &s)
	addChangeFlags(cmd, &ch)
	addJSONFlag(cmd, &asJSON, "the endpoint, as it was, as one JSON object")
	return cmd
}

func forget(cmd *cobra.Command, c *client.Client, ch change, name string, asJSON bool) error {
	e, err := c.Endpoint(cmd.Context(), name)
	if err != nil {
		return listedBy("regcast status", err)
	}
	if e.URL != "" { // of the configuration
		return fmt.Errorf("endpoint %s is in the configuration: take it out and reload, then forget it", e.Name)
	}
	verb := "would forget"
	if !ch.dryRun {
		verb = "forgot"
		if err := ch.confirm(cmd, fmt.Sprintf("forget endpoint %s with %d pending event(s) and its dead letters", visible(e.Name), e.Pending)); err != nil {
			return err
		}
		if err := c.Control(cmd.Context(), name, admin.Forget); err != nil {
			return err
		}
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), e)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s endpoint %s with %d pending event(s) and its dead letters\n", verb, visible(e.Name), e.Pending)
	return err
}
