package records

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/sinks"
)

// Stream returns events as they are stored; see [admin.Events].
func (a Archive) Stream(ctx context.Context, q admin.EventQuery) (iter.Seq2[admin.Event, error], error) {
	searcher, err := a.searcher()
	if err != nil {
		return nil, err
	}
	page := queryOf(&q.Selection, sinks.EventQuery{After: q.After, Limit: eventPage, OldestFirst: true})
	if _, err := page.Matcher(); err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	if page.After == 0 {
		if page.After, err = newest(ctx, searcher); err != nil {
			return nil, err
		}
	}
	return func(yield func(admin.Event, error) bool) {
		sent := 0
		for {
			more := a.News.wait()
			last, err := newest(ctx, searcher)
			if err != nil {
				yield(admin.Event{}, err)
				return
			}
			for d, err := range a.after(ctx, searcher, page, last) {
				if err != nil {
					yield(admin.Event{}, err)
					return
				}
				if len(q.IDs) > 0 && !slices.Contains(q.IDs, d.Event.ID) {
					continue
				}
				if !yield(eventOf(&d, true), nil) {
					return
				}
				if sent++; sent == q.Limit {
					return
				}
			}
			page.After = max(page.After, last)
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// after yields what q selects up to the sequence last.
func (a Archive) after(ctx context.Context, searcher sinks.Searcher, q sinks.EventQuery, last uint64) iter.Seq2[sinks.Delivery, error] {
	return func(yield func(sinks.Delivery, error) bool) {
		if q.After >= last {
			return
		}
		search(ctx, searcher, q, func(d sinks.Delivery, err error) bool {
			return (err != nil || d.Sequence <= last) && yield(d, err)
		})
	}
}

// newest is the sequence of the last event that is stored, 0 if there is none.
func newest(ctx context.Context, searcher sinks.Searcher) (sequence uint64, err error) {
	search(ctx, searcher, sinks.EventQuery{Limit: 1}, func(d sinks.Delivery, problem error) bool {
		sequence, err = d.Sequence, problem
		return false
	})
	return sequence, err
}
