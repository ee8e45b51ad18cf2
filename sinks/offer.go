package sinks

import "time"

// send offers batches while there are some and the policy admits them.
func (c *courier) send(now time.Time) {
	for b, ok := c.waiting.pop(now); ok; b, ok = c.waiting.pop(now) {
		b.since = now
		c.due.push(b)
	}
	for {
		fresh := c.mayForm(now)
		if !fresh && len(c.due) == 0 || c.inFlight >= c.opts.Concurrency || !c.admitted(now) {
			return
		}
		if c.turn = !c.turn; len(c.due) == 0 || c.turn && fresh {
			b := c.form(now)
			if len(c.due) == 0 && b.items[0].Parked {
				c.turn = false // it is none of the new ones, whose turn comes before it is due again
			}
			c.offer(b, now)
		} else {
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
	if now.Before(c.rateAt) {
		return false
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
	c.spend(len(b.items), now)
	return b
}

// rateSlack is how far Rate lets delivery catch up: timers are late, and a batch is many
// events at once.
const rateSlack = 100 * time.Millisecond

// spend notes that n new events are offered.
func (c *courier) spend(n int, now time.Time) {
	if c.opts.Rate > 0 {
		seconds := min(float64(n)/c.opts.Rate, 1e9) // a Duration ends before 1e10
		c.rateAt = later(c.rateAt, now.Add(-rateSlack)).Add(time.Duration(seconds * float64(time.Second)))
	}
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
	*b = batch{items: b.items[:0], events: b.events[:0], attempt: Attempt{Sequences: b.attempt.Sequences[:0]}}
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
