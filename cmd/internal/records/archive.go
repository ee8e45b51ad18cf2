package records

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	eventPage   = 500  // events that are read at once
	maxAttempts = 1000 // of one event that are shown: the newest
	maxEventIDs = 1000 // of a selection
)

// An Archive shows the events that an engine stores. Its fields are set before use and
// stay; its methods are safe for concurrent use.
type Archive struct {
	Engine sinks.Engine
	News   *News // of Engine
	// Filters tells whether the endpoint of that name filters an event out, as it is
	// configured now.
	Filters func(endpoint string, e *notifications.Event) bool
}

// searcher is the engine as one that can be searched.
func (a Archive) searcher() (sinks.Searcher, error) {
	searcher, ok := a.Engine.(sinks.Searcher)
	if !ok {
		return nil, fmt.Errorf("this engine cannot be searched: %w", admin.ErrUnsupported)
	}
	return searcher, nil
}

// Events lists events, newest first; see [admin.Events].
func (a Archive) Events(ctx context.Context, q admin.EventQuery) ([]admin.Event, error) {
	var found []admin.Event
	for d, err := range a.selected(ctx, q.Selection, sinks.EventQuery{After: q.After, Limit: q.Limit}) {
		if err != nil {
			return nil, err
		}
		found = append(found, eventOf(&d, false))
		if len(found) == q.Limit {
			break
		}
	}
	return found, nil
}

// selected yields the events that sel selects, as page, which says nothing of it, asks.
func (a Archive) selected(ctx context.Context, sel admin.Selection, page sinks.EventQuery) iter.Seq2[sinks.Delivery, error] {
	return func(yield func(sinks.Delivery, error) bool) {
		searcher, err := a.searcher()
		if err != nil {
			yield(sinks.Delivery{}, err)
			return
		}
		q := queryOf(&sel, page)
		match, err := q.Matcher()
		if err != nil {
			yield(sinks.Delivery{}, fmt.Errorf("%w: %w", admin.ErrInvalid, err))
			return
		}
		if len(sel.IDs) == 0 {
			search(ctx, searcher, q, yield)
			return
		}
		found, err := lookUp(ctx, searcher, sel.IDs)
		if err != nil {
			yield(sinks.Delivery{}, err)
			return
		}
		if !q.OldestFirst {
			slices.Reverse(found)
		}
		for _, d := range found {
			if within(&q, &d) && match.Match(d.Event) && !yield(d, nil) {
				return
			}
		}
	}
}

// queryOf is page for what sel selects, its IDs aside.
func queryOf(sel *admin.Selection, page sinks.EventQuery) sinks.EventQuery {
	page.Repository, page.Tag, page.Action = sel.Repository, sel.Tag, sel.Action
	page.Actor, page.Digest, page.Since, page.Until = sel.Actor, sel.Digest, sel.Since, sel.Until
	page.Limit = min(max(page.Limit, 1), eventPage)
	return page
}

// within tells whether q selects the time and the place of d.
func within(q *sinks.EventQuery, d *sinks.Delivery) bool {
	switch {
	case d.Stored.Before(q.Since), !q.Until.IsZero() && !d.Stored.Before(q.Until):
		return false
	case q.After == 0:
		return true
	case q.OldestFirst:
		return d.Sequence > q.After
	default:
		return d.Sequence < q.After
	}
}

// search yields all that q selects.
func search(ctx context.Context, searcher sinks.Searcher, q sinks.EventQuery, yield func(sinks.Delivery, error) bool) {
	for {
		page, err := searcher.Events(ctx, q)
		if err != nil {
			yield(sinks.Delivery{}, fmt.Errorf("searching events: %w", err))
			return
		}
		for _, d := range page.Events {
			if !yield(d, nil) {
				return
			}
		}
		if page.Next == 0 {
			return
		}
		q.After = page.Next
	}
}

// lookUp finds the events with these ids, oldest first. What is not there is left out.
func lookUp(ctx context.Context, searcher sinks.Searcher, ids []string) ([]sinks.Delivery, error) {
	if len(ids) > maxEventIDs {
		return nil, fmt.Errorf("%w: at most %d ids at once, not %d", admin.ErrInvalid, maxEventIDs, len(ids))
	}
	var found []sinks.Delivery
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		d, err := searcher.Event(ctx, id)
		if errors.Is(err, sinks.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking up event %s: %w", id, err)
		}
		found = append(found, d)
	}
	slices.SortFunc(found, func(a, b sinks.Delivery) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return found, nil
}

// Event returns an event and its story; see [admin.Events].
func (a Archive) Event(ctx context.Context, id string) (admin.EventStory, error) {
	searcher, err := a.searcher()
	if err != nil {
		return admin.EventStory{}, err
	}
	d, err := searcher.Event(ctx, id)
	if err != nil {
		return admin.EventStory{}, fmt.Errorf("looking up the event: %w", err)
	}
	story := admin.EventStory{Event: eventOf(&d, true)}
	var attempts []sinks.AttemptRecord
	if history, ok := a.Engine.(sinks.History); ok {
		attempts, err = history.Attempts(ctx, sinks.AttemptQuery{Sequence: d.Sequence, Limit: maxAttempts})
		if err != nil {
			return admin.EventStory{}, fmt.Errorf("reading what was tried with event %s: %w", id, err)
		}
	}
	slices.Reverse(attempts)
	for i := range attempts {
		story.Attempts = append(story.Attempts, attemptOf(&attempts[i]))
	}
	story.Places, err = a.places(ctx, &d, attempts)
	return story, err
}

func attemptOf(t *sinks.AttemptRecord) admin.Attempt {
	return admin.Attempt{
		Endpoint: t.Endpoint, At: t.At, Number: t.Number, Events: len(t.Sequences),
		Status: t.Status, Fault: t.Fault, Error: t.Error,
		DurationSeconds: t.Duration.Seconds(), Excerpt: t.Excerpt, Replay: t.Replay,
	}
}

// eventOf is d for operators, with its JSON if raw.
func eventOf(d *sinks.Delivery, raw bool) admin.Event {
	e := d.Event
	out := admin.Event{
		Sequence: d.Sequence, Stored: d.Stored, ID: e.ID, Timestamp: e.Timestamp,
		Action: e.Action, Repository: e.Repository, Tag: e.Tag, Digest: string(e.Digest), MediaType: e.MediaType,
		Actor: e.Actor, Method: e.Method, Format: e.Provenance.Format, Sender: e.Provenance.Sender,
	}
	if raw {
		out.Raw = e.AppendJSON(nil)
	}
	return out
}
