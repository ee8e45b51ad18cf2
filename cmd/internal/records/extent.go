package records

import (
	"context"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// Matcher returns what tells which of the events that are passed sel selects, wherever
// they are and whenever they were stored.
func Matcher(sel *admin.Selection) (sinks.Matcher, error) {
	q := queryOf(sel, sinks.EventQuery{})
	match, err := q.Matcher()
	if err != nil || len(sel.IDs) == 0 {
		return match, err
	}
	ids := make(map[string]bool, len(sel.IDs))
	for _, id := range sel.IDs {
		ids[id] = true
	}
	return sinks.MatcherFunc(func(e *notifications.Event) bool { return ids[e.ID] && match.Match(e) }), nil
}

// Extent says where the first and the last of the events are that r selects, and how many
// they are.
func (a Archive) Extent(ctx context.Context, r *admin.ReplayRequest) (from, to, count uint64, err error) {
	limit := uint64(max(r.Limit, 0))
	for d, err := range a.selected(ctx, r.Selection, sinks.EventQuery{OldestFirst: true, Limit: eventPage}) {
		if err != nil {
			return 0, 0, 0, err
		}
		if count++; count == 1 {
			from = d.Sequence
		}
		if to = d.Sequence; count == limit {
			break
		}
		if r.Selection.IsZero() && limit == 0 {
			return a.all(ctx, from)
		}
	}
	return from, to, count, nil
}

// all is the extent of all events from the first on, without a look at each: there are no
// gaps between those that are stored.
func (a Archive) all(ctx context.Context, from uint64) (_, to, count uint64, err error) {
	searcher, err := a.searcher()
	if err != nil {
		return 0, 0, 0, err
	}
	to, err = newest(ctx, searcher)
	return from, to, to - from + 1, err
}
