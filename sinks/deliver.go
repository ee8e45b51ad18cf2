package sinks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/regcast/regcast/notifications"
)

// DeliverOptions tell [Deliver] how. nil means the defaults.
type DeliverOptions struct {
	Match       Matcher                           // before batching; what it refuses is settled as Filtered. nil: everything
	Key         func(*notifications.Event) string // what order is kept within; nil: the repository's name
	Concurrency int                               // batches in flight, at most; 0: 8
	Batch       BatchOptions
	Policy      Policy        // nil: retry for ever with backoff, dead-letter what is permanent
	Window      int           // events held at a time, at most; 0: 65536. See Deliver
	Drain       time.Duration // how long writes in flight may go on once ctx has ended; 0: 20 s, negative: not at all
	Replay      string        // the name of the job, for Attempt.Replay
	Rate        float64       // events that are offered for the first time, per second, at most; 0: any number

	// OnSettle is told of each group of events that was settled as Delivered, Filtered or
	// DeadLettered, after Settle has returned. It must be quick and must not keep the
	// slice. It is called from one goroutine at a time.
	OnSettle func(outcome Outcome, settled []Delivery)
}

// BatchOptions bound a batch. The zero value means one event at a time.
type BatchOptions struct {
	MaxEvents int           // 0: 1
	MaxBytes  int           // of the events' wire form; 0: 1 MiB. A single larger event goes alone
	Linger    time.Duration // how long to wait for more before a batch that is not full is sent; 0: not at all
}

// Deliver moves events from cur to dst, as io.Copy moves bytes, until ctx ends, cur is
// at its end or dst is closed.
//
// Order: of the events of one key at most one batch is in flight, and they are offered
// in the cursor's order, except for one that the policy parks. Keys take turns, so that
// one with many events, or one whose events fail, keeps nobody else waiting: a batch
// that is to be offered again waits by itself, not in a worker. A batch may hold many
// keys. One that is refused for good is halved, left half first, until the event to
// blame is alone.
//
// Bounds: it holds at most opts.Window events, and 32 MiB of them; it asks for more only
// as it can send more. When these are full and nothing is left to be sent although the
// policy admits it, keys that have failed for 30 s make room: the head of the one that has
// most is parked early, for up to 5 min or until its next try if that is later. So those
// that fail keep nobody else waiting for good, however many they are. A receiver that
// fails as a whole is the policy's to find, which then answers [Hold].
//
// A loan that the engine has no room to settle (notifications.ErrFull: a dead letter on
// a full disk) counts as held and is settled again later, at intervals of 5 s at most.
//
// Stop and abort: when ctx ends it claims and offers nothing more, lets writes in flight
// finish for opts.Drain, then cancels them, settles what was accepted, releases the rest
// and returns nil. It returns nil too when a bounded cursor is at its end. Otherwise it
// ends with the error of Claim or Settle, or of the write that its policy answered with
// [Stop], after draining in the same way. What there is no room to write a dead letter
// for in the end is released. If Settle fails for another reason even then, its error is
// returned, and some events stay on loan: closing cur returns these, and another Deliver
// from cur before that would miss them. It closes neither cur nor dst. Its goroutines, at
// most opts.Concurrency and one more, have ended when it returns.
func Deliver(ctx context.Context, cur Cursor, dst notifications.Sink, opts *DeliverOptions) error {
	c := newCourier(cur, dst, opts)
	claims, cancelClaims := context.WithCancel(ctx)
	defer cancelClaims()
	writes, cancelWrites := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelWrites(nil)

	c.workers.Go(func() { c.claim(claims) })
	c.writes = writes
	err := c.deliver(ctx)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	cancelClaims()
	if failed := c.drain(cancelWrites); err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("deliver from cursor %s: %w", cur.Name(), err)
	}
	return nil
}
