package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	maxNear  = 20 * admin.MaxFound // ids that a lookup remembers
	maxPages = 100                 // that are read in search of one event behind others with its id
	behind   = 100                 // events in such a page, at most
)

// A lookup finds out which events backfills have stored, for one request. A repeated
// backfill asks for events in the order in which they were stored, so that those behind
// one that is there are read with it: one by one, each would be searched for.
type lookup struct {
	searcher sinks.Searcher
	near     map[string]bool // ids of backfilled events that were read
}

// up tells whether a backfill has stored the event with that id, made of f. Ids can be
// foretold: one that came from elsewhere was made to keep the event out, if it came before
// it, or to have it stored again.
func (l *lookup) up(ctx context.Context, id string, f *admin.Found) (bool, error) {
	if l.near[id] {
		return true, nil
	}
	d, err := l.searcher.Event(ctx, id)
	if errors.Is(err, sinks.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking whether an event is stored: %w", err)
	}
	if backfilled(d.Event, id) {
		return true, l.read(ctx, d.Sequence)
	}
	return l.older(ctx, id, f, d.Sequence)
}

// backfilled tells whether e is what a backfill stored under that id.
func backfilled(e *notifications.Event, id string) bool {
	return e.ID == id && e.Provenance.Format == delivery.FormatBackfill
}

// older looks for the event before a sequence, as far as maxPages go: who has stored more
// has it stored again, which is better than not at all.
func (l *lookup) older(ctx context.Context, id string, f *admin.Found, before uint64) (bool, error) {
	q := sinks.EventQuery{
		Repository: f.Repository, Tag: f.Tag, Digest: f.Digest, Action: notifications.ActionPush,
		After: before, Limit: behind,
	}
	for range maxPages {
		page, err := l.searcher.Events(ctx, q)
		if err != nil {
			return false, fmt.Errorf("looking for an event behind another with its id: %w", err)
		}
		for _, d := range page.Events {
			if backfilled(d.Event, id) {
				return true, nil
			}
		}
		if page.Next == 0 {
			break
		}
		q.After = page.Next
	}
	return false, nil
}

// read remembers what is stored behind the event with that sequence.
func (l *lookup) read(ctx context.Context, after uint64) error {
	if len(l.near) >= maxNear {
		return nil
	}
	page, err := l.searcher.Events(ctx, sinks.EventQuery{After: after, Limit: admin.MaxFound, OldestFirst: true})
	if err != nil {
		return fmt.Errorf("reading what is stored beside an event: %w", err)
	}
	for _, d := range page.Events {
		if d.Event.Provenance.Format == delivery.FormatBackfill {
			l.near[d.Event.ID] = true
		}
	}
	return nil
}
