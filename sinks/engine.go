package sinks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regcast/regcast/notifications"
)

// An Engine stores events until every cursor has settled them. It is a Sink for those
// who only write, a Recorder for intake, and the place of everything else that must
// outlive a restart beside the events. Memory, journal and jetstream implement it;
// sinktest.TestEngine judges them. All methods are safe for concurrent use. Who opened
// an engine shuts it down, after all of its cursors were closed.
type Engine interface {
	notifications.Sink
	notifications.Recorder
	Cursors
	Morgue
	Quarantine
	StateStore

	// Shutdown makes durable what was accepted and settled, closes what is still open
	// and releases the engine's resources. When ctx ends first, its error is returned
	// and what was acknowledged is as durable as before. A second call returns nil.
	// Every later call of another method returns notifications.ErrClosed.
	Shutdown(ctx context.Context) error
}

// Cursors are the readers' places in an engine.
type Cursors interface {
	// Cursor opens the cursor of that name, and creates it first if there is none:
	// opts.From then says where it begins. Settlements of a former holder are kept; what
	// it had on loan is claimed again first.
	// Errors: ErrInUse; ErrName if name is not [a-z0-9][a-z0-9~._-]{0,126}.
	Cursor(ctx context.Context, name string, opts *CursorOptions) (Cursor, error)

	// CursorInfos lists all cursors by name.
	CursorInfos(ctx context.Context) ([]CursorInfo, error)

	// RetireCursor lets a cursor that nobody holds keep its place but hold nothing back
	// any more: retention treats what only it has not settled as settled. Opening it
	// again ends that. Errors: ErrInUse, ErrNotFound.
	RetireCursor(ctx context.Context, name string) error

	// DeleteCursor forgets a cursor that nobody holds; its dead letters stay. Deleting
	// one that does not exist is no error. Errors: ErrInUse.
	DeleteCursor(ctx context.Context, name string) error
}

// CursorOptions say where a new cursor begins and where a bounded one ends. nil means:
// from now on, without end.
type CursorOptions struct {
	From Position // of a new cursor; the zero Position is now
	To   uint64   // last sequence to claim, inclusive; 0 for no end. Past it Claim returns io.EOF once all is settled

	// Required events are never evicted: when only they are left to cut, the engine
	// refuses new ones with notifications.ErrFull.
	Required bool
}

// A Position is a place in the sequence of stored events. The zero value is the end:
// only events stored later follow it.
type Position struct {
	kind     positionKind
	sequence uint64
	time     time.Time
}

type positionKind uint8

const (
	positionNow positionKind = iota
	positionOldest
	positionSequence
	positionTime
)

// Now is before the next event to be stored.
func Now() Position { return Position{} }

// Oldest is before the oldest event still stored.
func Oldest() Position { return Position{kind: positionOldest} }

// AtSequence is before the event with that sequence number.
func AtSequence(n uint64) Position { return Position{kind: positionSequence, sequence: n} }

// Since is before the first event stored at t or later.
func Since(t time.Time) Position { return Position{kind: positionTime, time: t} }

// Resolve turns p into the first sequence number to claim. oldest is the first stored
// sequence, next the one after the last; at finds the first sequence stored at a time
// or later (next if there is none).
func (p Position) Resolve(oldest, next uint64, at func(time.Time) (uint64, error)) (uint64, error) {
	switch p.kind {
	case positionOldest:
		return oldest, nil
	case positionSequence:
		return min(max(p.sequence, oldest), next), nil
	case positionTime:
		return at(p.time)
	default:
		return next, nil
	}
}

// CursorInfo says how far a cursor is. For each cursor, at any moment: events stored
// since its start = the sum of Totals + Pending.
type CursorInfo struct {
	Name          string
	Begin         uint64           // the cursor began after it
	LowWater      uint64           // every sequence up to and including it is settled
	Pending       uint64           // events stored and not settled, those on loan and parked included
	Parked        uint64           // of these, waiting for their Until
	OldestPending time.Time        // stored time of the oldest of them; zero without any
	Totals        [Outcomes]uint64 // settled since the cursor's start, by outcome; Parked and Released stay 0
	Held          bool             // someone holds the cursor now
}

var (
	// ErrInUse says that a cursor has a holder already.
	ErrInUse = errors.New("cursor in use")
	// ErrName says that a name cannot be a cursor's.
	ErrName = errors.New("not a cursor name")
	// ErrNotFound says that there is no such cursor, dead letter, quarantined body or state.
	ErrNotFound = errors.New("not found")
)

// ValidCursorName tells whether name can be a cursor's: [a-z0-9][a-z0-9~._-]{0,126}.
func ValidCursorName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '~' || c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return 0 < len(name) && len(name) <= 127
}

// The bounds of a [StateStore].
const (
	MaxStateKey   = 255      // bytes
	MaxStateValue = 64 << 10 // bytes
)

// CheckState returns a permanent error if key or value is beyond the bounds of a
// [StateStore]. Engines call it first.
func CheckState(key string, value []byte) error {
	if len(key) == 0 || len(key) > MaxStateKey {
		return notifications.Permanent(fmt.Errorf("state %.40q: a key has 1 to %d bytes, not %d", key, MaxStateKey, len(key)))
	}
	if len(value) > MaxStateValue {
		return notifications.Permanent(fmt.Errorf("state %q: a value has at most %d bytes, not %d", key, MaxStateValue, len(value)))
	}
	return nil
}

// A StateStore keeps small values (endpoint states, jobs) as durably as events.
type StateStore interface {
	// State returns the value under key, or ErrNotFound.
	State(ctx context.Context, key string) ([]byte, error)
	// SetState stores value (at most 64 KiB) under key (at most 255 bytes); nil deletes.
	SetState(ctx context.Context, key string, value []byte) error
	// StateKeys lists the keys that begin with prefix, sorted.
	StateKeys(ctx context.Context, prefix string) ([]string, error)
}

// Quarantine is what intake could not read; [notifications.Recorder] puts it there.
type Quarantine interface {
	// Quarantined lists bodies with an ID above after, oldest first, at most limit
	// (0: 1000).
	Quarantined(ctx context.Context, after uint64, limit int) ([]notifications.Quarantined, error)
	// DropQuarantined forgets the bodies with these IDs and says how many there were.
	DropQuarantined(ctx context.Context, ids ...uint64) (int, error)
}
