package sinks

import (
	"context"
	"slices"
	"time"
)

// deliver runs until ctx ends (nil) or something else ends it.
func (c *courier) deliver(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var alarm time.Time // when timer fires, if that matters
	for {
		if ctx.Err() != nil {
			return nil
		}
		if c.stop != nil {
			return c.stop
		}
		now := time.Now()
		c.send(now)
		c.askForMore(now)
		if err := c.settle(); err != nil {
			return err
		}
		if at := c.nextAlarm(now); !at.Equal(alarm) {
			if alarm = at; !at.IsZero() {
				timer.Reset(at.Sub(now))
			}
		}
		select {
		case b := <-c.done:
			c.judge(b)
			for len(c.done) > 0 {
				c.judge(<-c.done)
			}
		case claim := <-c.claimed:
			c.claiming = false
			if claim.err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return claim.err
			}
			c.receive(claim.lent)
		case <-timer.C:
			alarm = time.Time{}
		case <-ctx.Done():
		}
	}
}

// nextAlarm says when something is to be done without being told; zero for never.
func (c *courier) nextAlarm(now time.Time) time.Time {
	at, _ := c.waiting.next()
	for _, t := range [...]time.Time{c.askAt, c.lingerTo} {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// askForMore has the claiming goroutine claim if there is room and need.
func (c *courier) askForMore(now time.Time) {
	if c.claiming || c.lanes.readyEvents >= c.ahead {
		return
	}
	for c.full() {
		if !c.relieve(now) {
			return
		}
	}
	c.claiming = true
	c.ask <- min(c.ahead, c.opts.Window-c.held)
}

func (c *courier) full() bool { return c.held >= c.opts.Window || c.bytes >= windowBytes }

// relieve makes room by parking a waiting batch whose key has at least half of what is
// held, and tells whether there was one.
func (c *courier) relieve(now time.Time) bool {
	for i, w := range c.waiting {
		for _, it := range w.v.items {
			if l := it.lane; 2*(l.waiting+l.taken) < c.held {
				continue
			}
			b := c.waiting.remove(i)
			until := w.at
			if earliest := now.Add(time.Second); until.Before(earliest) {
				until = earliest
			}
			c.park(b, until)
			return true
		}
	}
	return false
}

// receive sorts what was claimed into the lanes.
func (c *courier) receive(lent []Delivery) {
	for _, d := range lent {
		if c.opts.Match != nil && !c.opts.Match.Match(d.Event) {
			c.end(d, Settlement{Sequence: d.Sequence, Outcome: Filtered})
			continue
		}
		var p past
		if d.Parked {
			p = c.parked[d.Sequence]
			delete(c.parked, d.Sequence)
		}
		c.held++
		c.bytes += d.Size
		c.lanes.add(c.opts.Key(d.Event), d, p)
	}
	clear(lent) // or the claiming goroutine's space would keep the events
}

// send offers batches while there are some and the policy admits them.
func (c *courier) send(now time.Time) {
	for b, ok := c.waiting.pop(now); ok; b, ok = c.waiting.pop(now) {
		b.since = now
		c.due.push(b)
	}
	for {
		fresh := c.mayForm(now)
		if !fresh && len(c.due)+len(c.first) == 0 || c.inFlight >= c.opts.Concurrency || !c.admitted(now) {
			return
		}
		switch c.turn = !c.turn; {
		case len(c.first) > 0:
			c.offer(c.first.pop(), now)
		case len(c.due) == 0 || c.turn && fresh:
			c.offer(c.form(now), now)
		default:
			c.offer(c.due.pop(), now)
		}
	}
}

// mayForm tells whether what is ready fills a batch, or has lingered long enough.
func (c *courier) mayForm(now time.Time) bool {
	if c.lanes.readyEvents == 0 {
		c.lingerTo = time.Time{}
		return false
	}
	if c.lingerTo.IsZero() {
		c.lingerTo = now.Add(c.opts.Batch.Linger)
	}
	return c.lanes.readyEvents >= c.opts.Batch.MaxEvents || c.lanes.readyBytes >= c.maxBytes() || !now.Before(c.lingerTo)
}

// maxBytes is the largest batch that makes sense.
func (c *courier) maxBytes() int {
	if c.ceiling > 0 {
		return min(c.ceiling, c.opts.Batch.MaxBytes)
	}
	return c.opts.Batch.MaxBytes
}

// admitted asks the policy for one more batch.
func (c *courier) admitted(now time.Time) bool {
	limit, wait := c.opts.Policy.Admit(now)
	c.askAt = time.Time{}
	if limit <= 0 {
		if wait <= 0 {
			wait = time.Second
		}
		c.askAt = now.Add(wait)
	}
	return c.inFlight < limit
}

// form makes a batch of what is ready.
func (c *courier) form(now time.Time) *batch {
	c.lingerTo = time.Time{}
	b := c.newBatch()
	c.lanes.take(b, c.opts.Batch.MaxEvents, c.maxBytes())
	if len(b.items) == 1 {
		b.past = b.items[0].past
	}
	b.freeze(c.opts.Replay, now)
	return b
}

func (c *courier) newBatch() *batch {
	if n := len(c.free); n > 0 {
		b := c.free[n-1]
		c.free = c.free[:n-1]
		return b
	}
	return new(batch)
}

// recycle keeps the space of b.
func (c *courier) recycle(b *batch) {
	clear(b.items)
	clear(b.events)
	*b = batch{items: b.items[:0], events: b.events[:0]}
	if len(c.free) < 2*c.opts.Concurrency {
		c.free = append(c.free, b)
	}
}

// offer hands b to a worker, which is started if all are busy.
func (c *courier) offer(b *batch, now time.Time) {
	if c.started == c.inFlight {
		c.started++
		c.workers.Go(c.write)
	}
	c.inFlight++
	b.offered(now)
	c.todo <- b
}

// settle tells the cursor, and then OnSettle, how loans have ended since the last time.
func (c *courier) settle() error {
	if len(c.ends) == 0 {
		return nil
	}
	err := c.cur.Settle(c.ends...)
	clear(c.ends)
	c.ends = c.ends[:0]
	for o := range c.settled {
		if err == nil && len(c.settled[o]) > 0 {
			c.opts.OnSettle(Outcome(o), c.settled[o])
		}
		clear(c.settled[o])
		c.settled[o] = c.settled[o][:0]
	}
	return err
}

// end notes how the loan of d has ended.
func (c *courier) end(d Delivery, s Settlement) {
	c.ends = append(c.ends, s)
	switch s.Outcome {
	case Delivered, Filtered, DeadLettered:
		if c.opts.OnSettle != nil {
			c.settled[s.Outcome] = append(c.settled[s.Outcome], d)
		}
	}
}

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
	return c.settle()
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
	for _, b := range slices.Concat(c.first, c.due) {
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
