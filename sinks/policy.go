package sinks

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/regcast/regcast/notifications"
)

// A Policy decides what the answers of a sink mean. It does no I/O, starts nothing and
// is tested as a table. [Deliver] calls it from one goroutine at a time; a Policy that
// is shared by several Delivers (a replay beside live traffic) locks for itself.
type Policy interface {
	// Admit says how many batches may be in flight from now on. With 0, Deliver asks
	// again after wait at the latest.
	Admit(now time.Time) (inFlight int, wait time.Duration)

	// Judge says what to do with a batch that was answered with err (nil: accepted).
	Judge(a *Attempt, err error) Verdict
}

// A Verdict is a [Policy]'s decision about one batch.
type Verdict struct {
	Action   Action
	After    time.Duration // with Retry: the least wait; with Park: how long
	MaxBytes int           // with Split: the largest batch, in bytes of events, to try from now on; 0 halves by count
	Dead     *DeadLetter   // with Dead: Reason, Status, Error, Excerpt; Deliver adds the rest
}

// An Action is what [Deliver] does with a batch.
type Action uint8

// The actions of a [Verdict].
const (
	Done  Action = iota // settle as delivered
	Retry               // offer the same batch again after After; its keys wait for it
	Split               // halve the batch, in order, and offer the halves; a single event is judged Dead instead
	Dead                // settle as dead letter; only for a single event, a larger batch is split
	Park                // put aside for After, out of order from then on; later events of its keys go on
	Hold                // not the batch's fault: offer it again, in turn with others, as soon as Admit allows, as if this attempt had not been
	Stop                // the sink is closed: release everything and return
)

// An Attempt describes a batch that is offered to a sink. Deliver passes it to
// [Policy.Judge] and, in a context, to the sink: see [AttemptFrom].
type Attempt struct {
	Number     int           // 1 for the first time this batch is offered; holds do not count
	Events     int           // in the batch
	Bytes      int           // of the events' wire form
	First      uint64        // sequence of the first event
	Last       uint64        // sequence of the last event
	Sequences  []uint64      // of all events, increasing; the next attempts with other batches may change it
	Stored     time.Time     // when the first event was stored
	Started    time.Time     // when this attempt began
	FirstTried time.Time     // when the batch was offered first; of a part of a split one, when the whole was
	Held       time.Duration // how long it has waited for admission since FirstTried; does not count towards its age
	Previous   error         // what the attempt before was answered with; nil at the first
	OutOfOrder bool          // an event of the same key was delivered before although it is later
	Replay     string        // the job that delivers again, "" for live traffic
}

type attemptKey struct{}

// attemptContext carries an attempt; it saves the two allocations of a value that is
// boxed.
type attemptContext struct {
	context.Context
	attempt Attempt
}

func (c *attemptContext) Value(key any) any {
	if key == (attemptKey{}) {
		return &c.attempt
	}
	return c.Context.Value(key)
}

// WithAttempt returns a context that carries a.
func WithAttempt(ctx context.Context, a Attempt) context.Context {
	return &attemptContext{ctx, a}
}

// AttemptFrom returns the attempt that ctx carries, for a sink that writes it into
// headers.
func AttemptFrom(ctx context.Context) (Attempt, bool) {
	a, ok := ctx.Value(attemptKey{}).(*Attempt)
	if !ok {
		return Attempt{}, false
	}
	return *a, true
}

// plainPolicy is the policy of a [Deliver] that was given none: everything is retried
// for ever, with a backoff or as the error asks, but for what is permanent.
type plainPolicy struct{ backoff Backoff }

func (plainPolicy) Admit(time.Time) (int, time.Duration) { return math.MaxInt, 0 }

func (p plainPolicy) Judge(a *Attempt, err error) Verdict {
	switch {
	case err == nil:
		return Verdict{Action: Done}
	case errors.Is(err, notifications.ErrClosed):
		return Verdict{Action: Stop}
	case notifications.IsPermanent(err):
		return Verdict{Action: Dead, Dead: &DeadLetter{Reason: DeadRejected, Error: err.Error()}}
	}
	after, asked := RetryAfter(err)
	if !asked {
		after = p.backoff.Delay(a.Number)
	}
	return Verdict{Action: Retry, After: after}
}
