package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
)

func newEventsCommand() *cobra.Command {
	var s server
	var q admin.EventQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "events",
		GroupID: groupOperate,
		Short:   "List stored events, or show one with what became of it",
		Long: `events lists stored events that the flags select, the newest first. "regcast events show"
says what became of one of them.

` + timeHelp,
		Example: `  regcast events --limit 20
  regcast events --repository 'team/**' --action delete --since 7d
  regcast events --since 2026-11-21T08:00:00Z --until 2026-11-21T09:00:00Z --json
  regcast events show 0193a1c4-5f6e-7d2a-8b1c-3e4f5a6b7c8d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(q.Limit); err != nil {
				return err
			}
			return s.ask(cmd.Context(), func(c *client.Client) error { return listEvents(cmd, c, q, asJSON) })
		},
	}
	addServerFlags(cmd, &s)
	addSelectionFlags(cmd, &q.Selection)
	addLimitFlag(cmd, &q.Limit)
	addJSONFlag(cmd, &asJSON, "one JSON array")
	cmd.AddCommand(newEventsShowCommand())
	return cmd
}

func listEvents(cmd *cobra.Command, c *client.Client, q admin.EventQuery, asJSON bool) error {
	list, err := c.Events(cmd.Context(), q)
	if err != nil {
		return err
	}
	if asJSON {
		return writeList(cmd.OutOrStdout(), list)
	}
	if len(list) > 0 {
		t := newTable(cmd.OutOrStdout(), "STORED", "ACTION", "NAME", "ACTOR", "ID")
		for _, e := range list {
			t.row(e.Stored, e.Action, named(e.Repository, e.Tag, e.Digest), e.Actor, e.ID)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	noteLimit(cmd, len(list), q.Limit, "events")
	return nil
}

func newEventsShowCommand() *cobra.Command {
	var s server
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show an event, what became of it, and each attempt to deliver it",
		Long: `show prints what is known of one event: for each endpoint whether it is pending, delivered,
filtered or given up on, or just settled if nothing is known of how, as after a kill; each
request that carried it and the answer to that; and the event as it is sent. Attempts are
kept for 7 days, as far as [engine] history and its bounds allow.`,
		Example: `  regcast events show 0193a1c4-5f6e-7d2a-8b1c-3e4f5a6b7c8d
  regcast events show 0193a1c4-5f6e-7d2a-8b1c-3e4f5a6b7c8d --json | jq .attempts`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.ask(cmd.Context(), func(c *client.Client) error {
				story, err := c.Event(cmd.Context(), args[0])
				if err != nil {
					return listedBy("regcast events", err)
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), story)
				}
				return printStory(cmd.OutOrStdout(), &story)
			})
		},
	}
	addServerFlags(cmd, &s)
	addJSONFlag(cmd, &asJSON, "one JSON object")
	return cmd
}

func printStory(w io.Writer, s *admin.EventStory) error {
	t := newTable(w)
	t.row("id", s.ID)
	t.row("event", s.Action+" "+named(s.Repository, s.Tag, s.Digest))
	t.field("digest", s.Digest)
	t.field("media type", s.MediaType)
	t.field("actor", s.Actor)
	t.field("timestamp", s.Timestamp)
	t.row("stored", s.Stored)
	t.row("sequence", s.Sequence)
	t.field("format", s.Format)
	t.field("sender", s.Sender)
	if err := t.flush(); err != nil {
		return err
	}
	if len(s.Places) > 0 {
		io.WriteString(w, "\n")
		t := newTable(w, "ENDPOINT", "OUTCOME", "DEAD LETTER")
		for _, p := range s.Places {
			t.row(p.Endpoint, p.State, number(p.Dead))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if err := printAttempts(w, s.Attempts); err != nil {
		return err
	}
	return printEvent(w, s.Raw)
}

func printAttempts(w io.Writer, attempts []admin.Attempt) error {
	if len(attempts) == 0 {
		return nil
	}
	io.WriteString(w, "\n")
	t := newTable(w, "AT", "ENDPOINT", "ATTEMPT", "STATUS", "TOOK", "EVENTS", "JOB", "ERROR", "ANSWER")
	for _, a := range attempts {
		t.row(a.At, a.Endpoint, a.Number, number(a.Status), span(a.DurationSeconds), a.Events, a.Replay,
			a.Error, shorten(strings.TrimSpace(string(a.Excerpt))))
	}
	return t.flush()
}
