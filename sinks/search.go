package sinks

import (
	"context"
	"fmt"
	"time"

	"github.com/regcast/regcast/notifications"
)

// A Searcher finds stored events, settled or not. Engines may implement it.
type Searcher interface {
	// Event returns the newest event with that id. Errors: ErrNotFound.
	Event(ctx context.Context, id string) (Delivery, error)

	// Events lists what q selects. It looks at a bounded number of events at a time: a
	// page may hold fewer than q.Limit, even none, and not be the last.
	// Errors: a permanent one for a bad pattern.
	Events(ctx context.Context, q EventQuery) (EventPage, error)

	// Settled tells whether the cursor of that name is done with the event of that
	// sequence, in whichever way; what was stored before the cursor began counts as
	// settled. Errors: ErrNotFound if there is no such cursor.
	Settled(ctx context.Context, cursor string, sequence uint64) (bool, error)
}

// An EventQuery selects stored events. The zero value selects the newest 1000 of all. A
// field that an event lacks matches no value.
type EventQuery struct {
	Repository string    // a pattern: see [Glob]; "" for all, as in the other fields
	Tag        string    // a pattern
	Action     string    // exactly
	Actor      string    // exactly
	Digest     string    // exactly
	Since      time.Time // stored then or later; zero for all
	Until      time.Time // stored before; zero for all

	After       uint64 // go on after this sequence, in the order asked for: EventPage.Next; 0: begin
	Limit       int    // 0: 1000
	OldestFirst bool   // else newest first
}

// An EventPage is a part of what an [EventQuery] selects.
type EventPage struct {
	Events []Delivery
	Next   uint64 // EventQuery.After of the next page; 0: this one is the last
}

// Matcher returns what tells whether q selects an event, times, order and bounds aside.
// Errors: a permanent one for a bad pattern.
func (q *EventQuery) Matcher() (Matcher, error) {
	repository, err := optionalGlob(q.Repository)
	if err != nil {
		return nil, notifications.Permanent(fmt.Errorf("repository %q: %w", q.Repository, err))
	}
	tag, err := optionalGlob(q.Tag)
	if err != nil {
		return nil, notifications.Permanent(fmt.Errorf("tag %q: %w", q.Tag, err))
	}
	action, actor, dgst := q.Action, q.Actor, q.Digest
	return MatcherFunc(func(e *notifications.Event) bool {
		return (action == "" || e.Action == action) &&
			(actor == "" || e.Actor == actor) &&
			(dgst == "" || string(e.Digest) == dgst) &&
			(repository == nil || e.Repository != "" && repository.Match(e.Repository)) &&
			(tag == nil || e.Tag != "" && tag.Match(e.Tag))
	}), nil
}

// optionalGlob is ParseGlob; nil for the empty pattern.
func optionalGlob(pattern string) (*Glob, error) {
	if pattern == "" {
		return nil, nil
	}
	g, err := ParseGlob(pattern)
	return &g, err
}
