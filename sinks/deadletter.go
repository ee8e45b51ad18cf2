package sinks

import (
	"context"
	"fmt"
	"time"

	"github.com/regcast/regcast/notifications"
)

// A DeadLetter is the record of an event that was given up on for one endpoint. The
// event itself is kept with it. A whole evicted range is one record, without an event.
type DeadLetter struct {
	ID       uint64 // the engine's, increasing; 0 before it is stored
	Cursor   string // the cursor's name, which is the endpoint's; set by the engine
	Reason   DeadReason
	Sequence uint64 // of the event; of a range, the first
	Last     uint64 // of a range, the last; else 0
	Count    uint64 // events in the range that were pending; else 1

	Event *notifications.Event // nil for a range; set by Deliver

	Attempts     int       // how often it was offered
	FirstAttempt time.Time // zero if never
	LastAttempt  time.Time
	Status       int       // of the last answer; 0 without one
	Error        string    // what went wrong last, in words, without secrets
	Excerpt      []byte    // the beginning of the last answer's body, at most MaxExcerpt
	Buried       time.Time // set by the engine
}

// MaxExcerpt bounds, in bytes, how much of an answer's body is kept.
const MaxExcerpt = 2 << 10

// DeadAge is how long dead letters are kept, by default.
const DeadAge = 30 * 24 * time.Hour

// A DeadReason says why an event was given up on: a short fixed word, a metric label.
type DeadReason string

// The reasons for a dead letter.
const (
	DeadRejected DeadReason = "rejected"            // the receiver does not want this event
	DeadTooLarge DeadReason = "too_large"           // the receiver does not take events of this size
	DeadExpired  DeadReason = "expired"             // its own failures lasted longer than max_age
	DeadEvicted  DeadReason = "evicted"             // retention cut it before it was settled
	DeadAborted  DeadReason = "aborted_by_receiver" // webhook-delivery: abort-message
	DeadManual   DeadReason = "manual"              // an operator's decision
)

// DeadReasons lists every [DeadReason], so that metrics can start at zero.
func DeadReasons() []DeadReason {
	return []DeadReason{DeadRejected, DeadTooLarge, DeadExpired, DeadEvicted, DeadAborted, DeadManual}
}

// A Morgue keeps dead letters; [Cursor.Settle] puts them there.
type Morgue interface {
	// DeadLetters lists dead letters, oldest first.
	DeadLetters(ctx context.Context, q DeadQuery) ([]DeadLetter, error)
	// DeadCursor opens a cursor of that name over the events of the dead letters that q
	// selects, but for those buried from now on, and for ranges. They come oldest letter
	// first, as Delivery.Parked; Stored is when they were buried; q.Limit 0 is no limit.
	// Settling one as Delivered drops its letters durably before Settle returns; as
	// Filtered or DeadLettered leaves them as they are. Claim returns io.EOF once all are
	// settled. The name keeps others from opening it at the same time, and is nowhere
	// stored; the totals of the letters' own cursor do not change.
	// Errors: ErrInUse; ErrName; a permanent one for a bad pattern.
	DeadCursor(ctx context.Context, name string, q DeadQuery) (Cursor, error)
	// DropDead forgets the dead letters with these IDs and says how many there were.
	DropDead(ctx context.Context, ids ...uint64) (int, error)
	// DeadCount counts the dead letters of a cursor, by reason.
	DeadCount(ctx context.Context, cursor string) (map[DeadReason]uint64, error)
}

// A DeadQuery selects dead letters. The zero value selects the oldest 1000 of all.
type DeadQuery struct {
	Cursor     string     // "" for all
	Reason     DeadReason // "" for all
	Repository string     // a pattern: see [Glob]; "" for all
	IDs        []uint64   // only these; empty for all
	Sequences  []uint64   // only those of these events; empty for all
	After      uint64     // only IDs above
	To         uint64     // only IDs up to and including it; 0 for all
	Limit      int        // 0: 1000
}

// matcher returns what tells whether q selects a dead letter, bounds aside. Errors: a
// permanent one for a bad pattern.
func (q *DeadQuery) matcher() (func(*DeadLetter) bool, error) {
	repository, err := optionalGlob(q.Repository)
	if err != nil {
		return nil, notifications.Permanent(fmt.Errorf("repository %q: %w", q.Repository, err))
	}
	ids, sequences := setOf(q.IDs), setOf(q.Sequences)
	return func(d *DeadLetter) bool {
		return d.ID > q.After && (q.To == 0 || d.ID <= q.To) &&
			(q.Cursor == "" || d.Cursor == q.Cursor) &&
			(q.Reason == "" || d.Reason == q.Reason) &&
			(len(ids) == 0 || ids[d.ID]) &&
			(len(sequences) == 0 || sequences[d.Sequence]) &&
			(repository == nil || d.Event != nil && repository.Match(d.Event.Repository))
	}, nil
}
