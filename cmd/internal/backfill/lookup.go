package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/sinks"
)

// maxNear bounds the ids that a lookup remembers.
const maxNear = 20 * admin.MaxFound

// A lookup finds out which events backfills have stored, for one request. A repeated
// backfill asks for events in the order in which they were stored, so that those behind
// one that is there are read with it: one by one, each would be searched for.
type lookup struct {
	searcher sinks.Searcher
	near     map[string]bool // ids of backfilled events that were read
}

// up tells whether a backfill has stored the event with that id. One that came from
// elsewhere under its id was made to keep it out.
func (l *lookup) up(ctx context.Context, id string) (bool, error) {
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
	if d.Event.Provenance.Format != delivery.FormatBackfill {
		return false, nil
	}
	return true, l.read(ctx, d.Sequence)
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
