package sinks

import (
	"errors"
	"math"
	"time"
)

// errStopped ends a Deliver whose policy says Stop although there was no error.
var errStopped = errors.New("stopped by policy")

// judge does with b, which comes back from a worker, what the policy says.
func (c *courier) judge(b *batch) {
	c.inFlight--
	v := c.opts.Policy.Judge(&b.attempt, b.err)
	now := time.Now()
	single := len(b.items) == 1
	switch {
	case v.Action == Done:
		c.finish(b, Settlement{Outcome: Delivered})
	case v.Action == Retry:
		b.attempt.Previous = b.err
		c.waiting.push(now.Add(v.After), b)
		c.failed(b, now)
	case (v.Action == Split || v.Action == Dead) && single:
		c.bury(b, v)
	case v.Action == Split || v.Action == Dead:
		c.split(b, v.MaxBytes, now)
	case v.Action == Park:
		c.park(b, now.Add(v.After))
	case v.Action == Hold:
		b.withdraw(now)
		c.due.push(b)
	default:
		c.halt(b)
	}
}

// halt stops delivery because of the answer that b got.
func (c *courier) halt(b *batch) {
	if c.stop = b.err; c.stop == nil {
		c.stop = errStopped
	}
	c.due.push(b) // to be released with the rest
}

// finish ends all loans of b as s says, lets its keys go on, and has what is left of a
// split batch offered next.
func (c *courier) finish(b *batch, s Settlement) {
	for _, it := range b.items {
		if s.Outcome != Parked {
			delete(c.failing, it.lane.key)
		}
		s.Sequence = it.Sequence
		c.end(it.Delivery, s)
		c.held--
		c.bytes -= it.Size
		c.lanes.leave(it)
	}
	if b.next != nil {
		b.next.since = time.Now()
		c.due.push(b.next)
	}
	c.recycle(b)
}

// bury gives up on the one event of b.
func (c *courier) bury(b *batch, v Verdict) {
	d := &DeadLetter{Reason: DeadRejected}
	if v.Action == Split && v.MaxBytes > 0 {
		d.Reason = DeadTooLarge
	}
	if v.Dead != nil {
		*d = *v.Dead
	}
	p := b.history()
	d.Sequence, d.Event, d.Count = b.items[0].Sequence, b.items[0].Event, 1
	d.Attempts, d.FirstAttempt, d.LastAttempt = p.attempts, p.first, b.attempt.Started
	c.finish(b, Settlement{Outcome: DeadLettered, Dead: d})
}

// park puts the events of b aside until until. What is remembered of them is lost if too
// many are: then they begin anew.
func (c *courier) park(b *batch, until time.Time) {
	for _, it := range b.items {
		if len(c.parked) < c.opts.Window {
			c.parked[it.Sequence] = b.history()
		}
	}
	c.finish(b, Settlement{Outcome: Parked, Until: until})
}

// split cuts b in two, or in as many parts of at most maxBytes as it takes. The first is
// offered next, the others when those before them are done with.
func (c *courier) split(b *batch, maxBytes int, now time.Time) {
	if maxBytes > 0 && (c.ceiling == 0 || maxBytes < c.ceiling) {
		c.ceiling = maxBytes
	}
	if b.attempt.Bytes <= maxBytes {
		maxBytes = 0 // it is small enough, and yet refused
	}
	p, after := b.history(), b.next
	for part := b; part != after; part = part.next {
		if n := part.cut(maxBytes); n < len(part.items) {
			rest := c.newBatch()
			rest.items = append(rest.items, part.items[n:]...)
			clear(part.items[n:])
			part.items = part.items[:n]
			part.next, rest.next = rest, part.next
		}
		if maxBytes <= 0 {
			maxBytes = math.MaxInt // one half is enough
		}
		part.past = p
		part.freeze(c.opts.Replay, now)
	}
	c.due.push(b)
}
