package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
)

func newDeadCommand() *cobra.Command {
	var s server
	var q admin.DeadQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "dead",
		GroupID: groupOperate,
		Short:   "List, show, replay or drop dead letters",
		Long: `dead lists dead letters, the oldest first: events that were given up on for one endpoint,
each with the reason: rejected or too_large by the endpoint, expired after too many
attempts, evicted because there was no room, aborted_by_receiver, or manual. They stay until
they are replayed or dropped, within bounds of age and size.`,
		Example: `  regcast dead --endpoint audit
  regcast dead --reason rejected --repository 'team/**'
  regcast dead show 17
  regcast dead replay --endpoint audit --reason rejected
  regcast dead drop --id 17,18`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(q.Limit); err != nil {
				return err
			}
			return s.ask(cmd.Context(), func(c *client.Client) error { return listDead(cmd, c, q, asJSON) })
		},
	}
	addServerFlags(cmd, &s)
	addDeadFlags(cmd, &q.DeadSelection)
	addLimitFlag(cmd, &q.Limit)
	addJSONFlag(cmd, &asJSON, "one JSON array")
	cmd.AddCommand(newDeadShowCommand(), newDeadReplayCommand(), newDeadDropCommand())
	return cmd
}

// addDeadFlags gives a command the flags that select dead letters.
func addDeadFlags(cmd *cobra.Command, s *admin.DeadSelection) {
	flags := cmd.Flags()
	addNumbersFlag(cmd, &s.IDs, "those with this `id`, or one of several with commas between them")
	flags.StringVar(&s.Endpoint, "endpoint", "", "those of this `endpoint`")
	flags.StringVar(&s.Reason, "reason", "", "those with this `reason`: rejected, too_large, expired, evicted, aborted_by_receiver, manual")
	flags.StringVar(&s.Repository, "repository", "", "those of repositories that match this `glob`: * within a path segment, ** across")
}

func listDead(cmd *cobra.Command, c *client.Client, q admin.DeadQuery, asJSON bool) error {
	list, err := c.DeadLetters(cmd.Context(), q)
	if err != nil {
		return err
	}
	if asJSON {
		return writeList(cmd.OutOrStdout(), list)
	}
	if len(list) > 0 {
		t := newTable(cmd.OutOrStdout(), "ID", "ENDPOINT", "REASON", "EVENT", "ATTEMPTS", "STATUS", "BURIED", "ERROR")
		for _, d := range list {
			t.row(d.ID, d.Endpoint, d.Reason, lost(&d), d.Attempts, number(d.Status), d.Buried, shorten(d.Error))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	noteLimit(cmd, len(list), q.Limit, "dead letters")
	return nil
}

// lost names what a dead letter is about.
func lost(d *admin.DeadLetter) string {
	if d.Last > 0 {
		return fmt.Sprintf("%d events, %d to %d", d.Count, d.Sequence, d.Last)
	}
	return d.Action + " " + named(d.Repository, d.Tag, d.Digest)
}

func newDeadShowCommand() *cobra.Command {
	var s server
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a dead letter: the last answer, and the event",
		Long: `show prints what is known of one dead letter: why the event was given up on, the beginning of
the last answer, and the event as it was sent.`,
		Example: `  regcast dead show 17
  regcast dead show 17 --json | jq .event | regcast explain --file -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseNumber(args[0])
			if err != nil {
				return usageError{err}
			}
			return s.ask(cmd.Context(), func(c *client.Client) error {
				d, err := c.DeadLetter(cmd.Context(), id)
				if err != nil {
					return listedBy("regcast dead", err)
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), d)
				}
				return printDead(cmd.OutOrStdout(), &d)
			})
		},
	}
	addServerFlags(cmd, &s)
	addJSONFlag(cmd, &asJSON, "one JSON object")
	return cmd
}

func printDead(w io.Writer, d *admin.DeadLetter) error {
	t := newTable(w)
	t.row("dead letter", d.ID)
	t.row("endpoint", d.Endpoint)
	t.row("reason", d.Reason)
	t.row("event", lost(d))
	t.field("event id", d.EventID)
	t.field("digest", d.Digest)
	t.row("sequence", d.Sequence)
	t.row("attempts", d.Attempts)
	t.field("first attempt", d.FirstAttempt)
	t.field("last attempt", d.LastAttempt)
	t.field("status", d.Status)
	t.field("error", d.Error)
	t.row("buried", d.Buried)
	if err := t.flush(); err != nil {
		return err
	}
	printText(w, "last answer", d.Excerpt)
	return printEvent(w, d.Raw)
}

func newDeadReplayCommand() *cobra.Command {
	var s server
	var req admin.DeadRequest
	var ch change
	var asJSON, wait bool
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Deliver dead letters again",
		Long: `replay delivers the dead letters that the flags select to their endpoints again, with the
same ids. What is accepted is a dead letter no more; what is given up on again stays or
becomes one. Without --rate they become pending at once, as far as they can; else a job does
it, one for each endpoint, of which --wait waits for the first.

` + changeHelp,
		Example: `  regcast dead replay --id 17
  regcast dead replay --endpoint audit --reason rejected --dry-run
  regcast dead replay --endpoint audit --rate 10 --wait --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkDead(&req); err != nil {
				return err
			}
			return s.ask(cmd.Context(), func(c *client.Client) error {
				out, done, err := ch.run(cmd, "replay", "dead letter(s)", func(dryRun bool) (admin.Outcome, error) {
					req.DryRun = dryRun
					return c.ReplayDead(cmd.Context(), req)
				})
				if err != nil {
					return err
				}
				return replayed(cmd, c, out, done, wait, asJSON, "dead letter(s)", "given back to delivery")
			})
		},
	}
	addServerFlags(cmd, &s)
	addDeadFlags(cmd, &req.DeadSelection)
	addAllFlag(cmd, &req.All)
	addReplayFlags(cmd, &req.Rate, &wait)
	addChangeFlags(cmd, &ch)
	addJSONFlag(cmd, &asJSON, "the outcome as one JSON object")
	return cmd
}

func newDeadDropCommand() *cobra.Command {
	var s server
	var req admin.DeadRequest
	var ch change
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "drop",
		Short: "Forget dead letters",
		Long: `drop forgets the dead letters that the flags select: nobody will deliver these events to
these endpoints. The log keeps who did it. The events themselves stay stored until their
time is over, and can be delivered with "regcast replay" until then.

` + changeHelp,
		Example: `  regcast dead drop --id 17,18
  regcast dead drop --endpoint audit --repository 'scratch/**'
  regcast dead drop --all --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkDead(&req); err != nil {
				return err
			}
			return s.ask(cmd.Context(), func(c *client.Client) error {
				out, done, err := ch.run(cmd, "drop", "dead letter(s)", func(dryRun bool) (admin.Outcome, error) {
					req.DryRun = dryRun
					return c.DropDead(cmd.Context(), req)
				})
				if err != nil {
					return err
				}
				return printOutcome(cmd, out, done, asJSON, "dead letter(s)", "dropped")
			})
		},
	}
	addServerFlags(cmd, &s)
	addDeadFlags(cmd, &req.DeadSelection)
	addAllFlag(cmd, &req.All)
	addChangeFlags(cmd, &ch)
	addJSONFlag(cmd, &asJSON, "the outcome as one JSON object")
	return cmd
}

func checkDead(r *admin.DeadRequest) error {
	if err := checkExtent(r.IsZero(), r.All, "--id, --endpoint, --reason or --repository"); err != nil {
		return err
	}
	return checkRate(r.Rate)
}
