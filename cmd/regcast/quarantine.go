package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
)

func newQuarantineCommand() *cobra.Command {
	var s server
	var q admin.QuarantineQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "quarantine",
		GroupID: groupOperate,
		Short:   "List, show, retry or drop what intake could not read",
		Long: `quarantine lists what intake could not read, the oldest first. Such a request is answered
like a good one, since a registry that is refused would hold back everything behind it;
what it sent is kept here, cut to a bound, with the reason.`,
		Example: `  regcast quarantine
  regcast quarantine show 4
  regcast quarantine retry --reason unknown_format      # after an upgrade
  regcast quarantine drop --all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(q.Limit); err != nil {
				return err
			}
			return s.ask(cmd.Context(), func(c *client.Client) error { return listQuarantine(cmd, c, q, asJSON) })
		},
	}
	addServerFlags(cmd, &s)
	addQuarantineFlags(cmd, &q.QuarantineSelection)
	addLimitFlag(cmd, &q.Limit)
	addJSONFlag(cmd, &asJSON, "one JSON array")
	cmd.AddCommand(newQuarantineShowCommand(), newQuarantineRetryCommand(), newQuarantineDropCommand())
	return cmd
}

// addQuarantineFlags gives a command the flags that select what is in quarantine.
func addQuarantineFlags(cmd *cobra.Command, s *admin.QuarantineSelection) {
	addNumbersFlag(cmd, &s.IDs, "that with this `id`, or one of several with commas between them")
	cmd.Flags().StringVar(&s.Reason, "reason", "", "those with this `reason`")
}

func listQuarantine(cmd *cobra.Command, c *client.Client, q admin.QuarantineQuery, asJSON bool) error {
	list, err := c.Quarantined(cmd.Context(), q)
	if err != nil {
		return err
	}
	if asJSON {
		return writeList(cmd.OutOrStdout(), list)
	}
	if len(list) > 0 {
		t := newTable(cmd.OutOrStdout(), "ID", "RECEIVED", "REASON", "BYTES", "FORMAT", "SENDER", "DETAIL")
		for _, b := range list {
			t.row(b.ID, b.Received, b.Reason, bytesOf(&b), b.Format, b.Sender, shorten(b.Detail))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	noteLimit(cmd, len(list), q.Limit, "quarantined items")
	return nil
}

// bytesOf is how long a body was; "" if that is not known.
func bytesOf(b *admin.Quarantined) any {
	if b.Size < 0 {
		return ""
	}
	return b.Size
}

func newQuarantineShowCommand() *cobra.Command {
	var s server
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show what was sent, and why it could not be read",
		Long: `show prints one body that intake could not read, as far as it was kept, and what is known of
it. With --json the body is a string, or an object with base64 if it is no text.`,
		Example: `  regcast quarantine show 4
  regcast quarantine show 4 --json | jq -r .body`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseNumber(args[0])
			if err != nil {
				return usageError{err}
			}
			return s.ask(cmd.Context(), func(c *client.Client) error {
				b, err := c.QuarantinedBody(cmd.Context(), id)
				if err != nil {
					return listedBy("regcast quarantine", err)
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), b)
				}
				return printQuarantined(cmd.OutOrStdout(), &b)
			})
		},
	}
	addServerFlags(cmd, &s)
	addJSONFlag(cmd, &asJSON, "one JSON object")
	return cmd
}

func printQuarantined(w io.Writer, b *admin.Quarantined) error {
	t := newTable(w)
	t.row("id", b.ID)
	t.row("received", b.Received)
	t.row("reason", b.Reason)
	t.field("detail", b.Detail)
	t.row("bytes", bytesOf(b))
	t.field("format", b.Format)
	t.field("sender", b.Sender)
	if err := t.flush(); err != nil {
		return err
	}
	printText(w, "body", b.Body)
	return nil
}

func newQuarantineRetryCommand() *cobra.Command {
	return newQuarantineChangeCommand("retry", "read", "Read it again, and store the events in it",
		`retry reads again what the flags select: after an upgrade, or after a limit of [intake] was
raised. What can be read now is stored as events, which are delivered, and leaves the
quarantine; the rest stays.`,
		`  regcast quarantine retry --id 4
  regcast quarantine retry --all`,
		(*client.Client).RetryQuarantined)
}

func newQuarantineDropCommand() *cobra.Command {
	return newQuarantineChangeCommand("drop", "dropped", "Forget it",
		`drop forgets what the flags select, for good.`,
		`  regcast quarantine drop --id 4,5
  regcast quarantine drop --all --yes`,
		(*client.Client).DropQuarantined)
}

// newQuarantineChangeCommand builds a command that does something, which is in its name and
// in done, to what is in quarantine.
func newQuarantineChangeCommand(name, done, short, long, example string, do func(*client.Client, context.Context, admin.QuarantineRequest) (admin.Outcome, error)) *cobra.Command {
	var s server
	var req admin.QuarantineRequest
	var ch change
	var asJSON bool
	const what = "quarantined item(s)"
	cmd := &cobra.Command{
		Use:     name,
		Short:   short,
		Long:    long + "\n\n" + changeHelp,
		Example: example,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkExtent(req.IsZero(), req.All, "--id or --reason"); err != nil {
				return err
			}
			return s.ask(cmd.Context(), func(c *client.Client) error {
				out, made, err := ch.run(cmd, name, what, func(dryRun bool) (admin.Outcome, error) {
					req.DryRun = dryRun
					return do(c, cmd.Context(), req)
				})
				if err != nil {
					return err
				}
				return printOutcome(cmd, out, made, asJSON, what, done)
			})
		},
	}
	addServerFlags(cmd, &s)
	addQuarantineFlags(cmd, &req.QuarantineSelection)
	addAllFlag(cmd, &req.All)
	addChangeFlags(cmd, &ch)
	addJSONFlag(cmd, &asJSON, "the outcome as one JSON object")
	return cmd
}
