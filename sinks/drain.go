package sinks

import (
	"context"
	"errors"
	"time"
)

// errDrained is why writes in flight are cancelled in the end.
var errDrained = errors.New("drain time is over")

// drain ends what deliver has left: it waits for the writes in flight, cancels them when
// that takes too long, and settles or releases everything.
func (c *courier) drain(cancelWrites context.CancelCauseFunc) error {
	tooLong := time.NewTimer(c.opts.Drain)
	defer tooLong.Stop()
	aborted := false
	for c.inFlight > 0 || c.claiming {
		select {
		case b := <-c.done:
			c.inFlight--
			c.last(b, aborted)
		case claim := <-c.claimed:
			c.claiming = false
			for _, d := range claim.lent {
				c.end(d, Settlement{Sequence: d.Sequence, Outcome: Released})
			}
		case <-tooLong.C:
			aborted = true
			cancelWrites(errDrained)
		}
	}
	close(c.ask)
	close(c.todo)
	c.workers.Wait()
	c.releaseAll()
	return c.settleLast()
}

// last settles a batch that was in flight when delivery ended. An error after the abort
// is our own doing and nobody's to judge.
func (c *courier) last(b *batch, aborted bool) {
	if aborted && b.err != nil {
		c.release(b)
		return
	}
	switch v := c.opts.Policy.Judge(&b.attempt, b.err); {
	case v.Action == Done:
		c.finish(b, Settlement{Outcome: Delivered})
	case v.Action == Dead && len(b.items) == 1:
		c.bury(b, v)
	case v.Action == Park:
		c.park(b, time.Now().Add(v.After))
	default:
		c.release(b)
	}
}

// releaseAll releases whatever is held.
func (c *courier) releaseAll() {
	for _, b := range c.due {
		c.release(b)
	}
	for _, w := range c.waiting {
		c.release(w.v)
	}
	for _, l := range c.lanes.byKey {
		for it := l.head; it != nil; it = it.next {
			c.end(it.Delivery, Settlement{Sequence: it.Sequence, Outcome: Released})
		}
	}
}

// release releases the events of b and of what was to follow it.
func (c *courier) release(b *batch) {
	for ; b != nil; b = b.next {
		for _, it := range b.items {
			c.end(it.Delivery, Settlement{Sequence: it.Sequence, Outcome: Released})
		}
	}
}
