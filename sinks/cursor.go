package sinks

import (
	"context"
	"time"

	"github.com/regcast/regcast/notifications"
)

// A Cursor is one reader's place in an engine. It has one holder at a time. Its methods
// are safe for concurrent use, but only one Claim may wait at a time. The holder closes
// it.
type Cursor interface {
	// Name is the cursor's name.
	Name() string

	// Claim fills into with events that are neither settled nor on loan, oldest first,
	// waits for at least one, and returns how many it lent; it may lend fewer than there
	// are, to bound what is read at once. What a former holder had on loan comes before
	// anything newer; a parked event comes when its time has come, an event released comes
	// again at once.
	// Errors: ctx's; io.EOF once a bounded cursor has nothing left to lend or to settle;
	// notifications.ErrClosed.
	Claim(ctx context.Context, into []Delivery) (int, error)

	// Settle ends loans. Mark and dead letter become durable together, or neither does;
	// at the latest 100 ms later, and not before a first event's own commit. Settling
	// what is not on loan is no error and changes nothing. After an error nothing was
	// settled, and it can be tried again.
	// Errors: notifications.ErrFull when there is no room for a dead letter now;
	// notifications.ErrClosed.
	Settle(s ...Settlement) error

	// Revive makes the events of those dead letters of this cursor that q selects pending
	// again, however far the cursor has come, and returns how many that are. Letter and
	// settlement are gone together, durably. Left as they are: letters whose event is not
	// stored any more, or outside of the cursor's bounds, and ranges. q.Cursor means nothing.
	Revive(ctx context.Context, q DeadQuery) (int, error)

	// Close returns all loans. A second call returns nil.
	Close() error
}

// A Delivery is an event on loan to the holder of a cursor.
type Delivery struct {
	Event    *notifications.Event
	Sequence uint64    // the engine's, increasing; with gaps where events expired
	Stored   time.Time // when the engine took it, UTC
	Tries    int       // loans under this cursor before this one, as far as the engine remembers
	Size     int       // bytes of the event's wire form
	Parked   bool      // it was parked before: later events of its key may have been delivered already
}

// A Settlement says how a loan ended.
type Settlement struct {
	Sequence uint64
	Outcome  Outcome
	Dead     *DeadLetter // with DeadLettered; nil means one with DeadManual
	Until    time.Time   // with Parked: when it may be claimed again
}

// An Outcome says how a loan ended.
type Outcome uint8

// The outcomes of a loan. After the first three the event is settled for this cursor.
// Evicted and Dropped are counted by engines and are not for Settle.
const (
	Delivered    Outcome = iota // the sink accepted it
	Filtered                    // nobody there wants it
	DeadLettered                // given up on, with a record
	Evicted                     // cut by retention before it was settled, with a record
	Dropped                     // dropped by an operator
	Parked                      // put aside until a time; still pending
	Released                    // given back; still pending

	Outcomes = int(Released) + 1 // how many there are
)

var outcomeNames = [Outcomes]string{
	"delivered", "filtered", "dead", "evicted", "dropped", "parked", "released",
}

// String returns the outcome as metrics and listings spell it.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}
