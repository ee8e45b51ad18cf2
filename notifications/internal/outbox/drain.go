package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
)

const (
	maxBatch       = 1000             // events that are written at once
	attemptTimeout = 10 * time.Second // of one write
	firstBackoff   = 50 * time.Millisecond
	lastBackoff    = 5 * time.Second
	maxPanics      = 3 // of the sink in a row, about the same events
)

var errPanicked = errors.New("the sink panicked")

// refusals are what the sink refused for good of one batch.
type refusals struct {
	events int
	last   error
}

// drain writes what waits to the sink until nothing does.
func (o *Outbox) drain() {
	for {
		batch := o.head()
		if len(batch) == 0 {
			return
		}
		var refused refusals
		err := o.deliver(batch, &refused)
		if refused.events > 0 {
			o.opts.Logger.Error("events refused for good, they go unrecorded",
				"events", refused.events, "of", len(batch), "error", refused.last)
		}
		if err != nil {
			o.giveUp(err)
		}
		clear(batch)
	}
}

// head returns the events to write next; they stay in the queue until they are settled.
// Without any the goroutine is over.
func (o *Outbox) head() []*notifications.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.batch = o.batch[:0]
	for i := range min(o.waiting.n, maxBatch) {
		o.batch = append(o.batch, o.waiting.at(i).event)
	}
	if len(o.batch) == 0 {
		o.running = false
		o.failing = nil // a panic over the last event, which is settled
		if o.idle != nil {
			close(o.idle)
		}
	}
	return o.batch
}

// deliver writes batch, which is at the head of the queue, and settles it. What the sink
// refuses for good it halves until the culprits are alone; they are counted in refused.
// An error means that this batch and all behind it will not be written.
func (o *Outbox) deliver(batch []*notifications.Event, refused *refusals) error {
	err := o.write(batch)
	switch {
	case err == nil:
		o.settle(len(batch))
	case !notifications.IsPermanent(err):
		return err
	case len(batch) > 1:
		half := len(batch) / 2
		if err := o.deliver(batch[:half], refused); err != nil {
			return err
		}
		return o.deliver(batch[half:], refused)
	default:
		refused.events++
		refused.last = err
		o.metrics.refused.Inc()
		e := batch[0]
		o.opts.Logger.Debug("event refused for good", "id", e.ID, "action", e.Action, "repository", e.Repository, "error", err)
		o.settle(1)
	}
	return nil
}

// write offers batch until the sink takes it or refuses it for good, as which it counts
// that the sink has panicked maxPanics times in a row. Any other error means that it never
// will: ErrClosed, or what ended o.ctx.
func (o *Outbox) write(batch []*notifications.Event) error {
	backoff, panics := firstBackoff, 0
	for {
		err := o.attempt(batch)
		if errors.Is(err, errPanicked) {
			panics++
		} else {
			panics = 0
		}
		switch {
		case panics == maxPanics:
			o.failed(err)
			return notifications.Permanent(err)
		case errors.Is(err, notifications.ErrClosed):
			return notifications.ErrClosed
		case err == nil, notifications.IsPermanent(err):
			o.taken()
			return err
		case o.ctx.Err() != nil:
			return context.Cause(o.ctx)
		}
		o.failed(err)
		select {
		case <-time.After(backoff/2 + rand.N(backoff/2)):
		case <-o.ctx.Done():
			return context.Cause(o.ctx)
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// attempt offers batch once. The sink's panic is an error: nobody else could recover it
// here, and it would end the registry.
func (o *Outbox) attempt(batch []*notifications.Event) (err error) {
	ctx, cancel := context.WithTimeout(o.ctx, attemptTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = o.panicked(v)
		}
	}()
	o.mu.Lock()
	o.began = time.Now()
	o.mu.Unlock()
	return o.dst.Write(ctx, batch)
}

// panicked returns what the sink panicked with as an error, and logs it if it is the first:
// those after it would say the same.
func (o *Outbox) panicked(v any) error {
	o.panicOnce.Do(func() {
		o.opts.Logger.Error("the sink has panicked", "panic", v, "stack", string(debug.Stack()))
	})
	return fmt.Errorf("%w: %v", errPanicked, v)
}

// failed notes that the sink does not take the head of the queue, and taken that it has
// answered for it.
func (o *Outbox) failed(err error) {
	if before := o.setFailing(err); before == nil {
		o.opts.Logger.Warn("sink does not take events, they wait", "error", err)
	}
}

func (o *Outbox) taken() {
	if before := o.setFailing(nil); before != nil {
		o.opts.Logger.Info("sink takes events again")
	}
}

func (o *Outbox) setFailing(err error) (before error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, o.failing = o.failing, err
	o.began = time.Time{}
	return before
}

// settle takes n events off the head of the queue and wakes whom they kept waiting.
func (o *Outbox) settle(n int) {
	if roomAgain := o.remove(n); roomAgain {
		o.opts.Logger.Info("there is room for events again")
	}
}

func (o *Outbox) remove(n int) (roomAgain bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range n {
		o.bytes -= o.waiting.pop().weight
	}
	o.settled += uint64(n)
	woken := 0
	for woken < len(o.waiters) && o.waiters[woken].settled <= o.settled {
		close(o.waiters[woken].done)
		woken++
	}
	o.waiters = slices.Delete(o.waiters, 0, woken)
	roomAgain = (o.full || o.crowded) && o.waiting.n <= o.opts.MaxEvents/2 && o.bytes <= o.opts.MaxBytes/2
	if roomAgain {
		o.full, o.crowded = false, false
	}
	return roomAgain
}

// giveUp drops all that waits because of err: the sink's ErrClosed, or the end of
// Shutdown. Nothing comes after.
func (o *Outbox) giveUp(err error) {
	n := o.noteLeft(err)
	if errors.Is(err, notifications.ErrClosed) {
		o.metrics.closed.Add(float64(n))
		o.opts.Logger.Error("sink is closed, events go unrecorded", "events", n)
	} else {
		o.metrics.shutdown.Add(float64(n))
		o.opts.Logger.Error("shut down before all events were written", "events", n)
	}
	o.settle(n)
}

func (o *Outbox) noteLeft(err error) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if errors.Is(err, notifications.ErrClosed) {
		o.dstClosed = true
		o.leftErr = err
	}
	if o.closed {
		o.left += o.waiting.n
	}
	return o.waiting.n
}
