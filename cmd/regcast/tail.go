package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
)

func newTailCommand() *cobra.Command {
	var s server
	var q admin.EventQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "tail",
		GroupID: groupOperate,
		Short:   "Print events as they are stored",
		Long: `tail prints each event that the flags select as soon as it is stored, a line with the time
it was stored, action, name, digest, actor and id: to see whether a registry's events
arrive. With --since it begins with those that are stored already.

It goes on until it is interrupted, or until --limit or --until; when the dispatcher is
restarted it waits for it and misses nothing.

` + timeHelp,
		Example: `  regcast tail
  regcast tail --repository 'team/**' --since 1h
  regcast tail --json --limit 1 | jq .event`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.Limit < 0 {
				return usagef("--limit needs 0 or more")
			}
			return s.ask(cmd.Context(), func(c *client.Client) error { return tail(cmd, c, q, asJSON) })
		},
	}
	addServerFlags(cmd, &s)
	addSelectionFlags(cmd, &q.Selection)
	cmd.Flags().IntVar(&q.Limit, "limit", 0, "end after this many events")
	addJSONFlag(cmd, &asJSON, "one JSON object per event and line, the whole event in it")
	return cmd
}

// maxBacklog bounds the stored events that tail begins with.
const maxBacklog = 10_000

// errEnough ends tail.
var errEnough = errors.New("the limit is reached")

// A tailer prints events.
type tailer struct {
	client   *client.Client
	query    admin.EventQuery // After: what was printed, or need not be; Limit: how many still
	out, log io.Writer
	json     bool
}

func tail(cmd *cobra.Command, c *client.Client, q admin.EventQuery, asJSON bool) error {
	ctx := cmd.Context()
	if !q.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, q.Until)
		defer cancel()
	}
	t := &tailer{client: c, query: q, out: cmd.OutOrStdout(), log: cmd.ErrOrStderr(), json: asJSON}
	err := t.begin(cmd.Context())
	for err == nil {
		err = t.follow(ctx)
	}
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil
	}
	return err
}

// begin finds the place to begin at: the newest event, or the oldest of those that are
// stored already and asked for, which it prints.
func (t *tailer) begin(ctx context.Context) error {
	if t.query.Since.IsZero() {
		newest, err := t.client.Events(ctx, admin.EventQuery{Limit: 1})
		if len(newest) > 0 {
			t.query.After = newest[0].Sequence
		}
		return err
	}
	stored, err := t.client.Events(ctx, admin.EventQuery{Selection: t.query.Selection, Limit: maxBacklog})
	if err != nil || len(stored) == 0 {
		return err
	}
	if len(stored) == maxBacklog {
		fmt.Fprintf(t.log, "beginning with the newest %d stored events; regcast events lists more\n", maxBacklog)
	}
	oldest := stored[len(stored)-1]
	story, err := t.client.Event(ctx, oldest.ID) // listings are without the events themselves
	if err != nil {
		return err
	}
	oldest.Raw = story.Raw
	return t.print(&oldest)
}

// follow prints events as they are stored. When the dispatcher goes away it waits for it
// and returns nil.
func (t *tailer) follow(ctx context.Context) error {
	stream, err := t.client.Stream(ctx, t.query)
	if err != nil {
		return awaitServer(ctx, t.client, err, t.log)
	}
	for e, err := range stream {
		if err != nil {
			return awaitServer(ctx, t.client, err, t.log)
		}
		if err := t.print(&e); err != nil {
			return err
		}
	}
	return errEnough
}

// print prints an event, and returns errEnough if that was the last.
func (t *tailer) print(e *admin.Event) error {
	if err := t.line(e); err != nil {
		return err
	}
	t.query.After = e.Sequence
	if t.query.Limit > 0 {
		if t.query.Limit--; t.query.Limit == 0 {
			return errEnough
		}
	}
	return nil
}

func (t *tailer) line(e *admin.Event) error {
	if t.json {
		return writeJSON(t.out, e)
	}
	name := e.Repository
	if e.Tag != "" {
		name += ":" + e.Tag
	}
	words := []string{utc(e.Stored), e.Action, name, e.Digest, e.Actor, e.ID}
	for i := range words {
		words[i] = visible(words[i])
	}
	_, err := fmt.Fprintln(t.out, strings.Join(words, " "))
	return err
}
