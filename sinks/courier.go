package sinks

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
)

// windowBytes bounds, beside Window, what a Deliver holds: the wire form of its events.
const windowBytes = 32 << 20

// courier is the state of one Deliver. All of it belongs to the goroutine that called
// Deliver; claim and write share the channels alone.
type courier struct {
	opts    DeliverOptions
	cur     Cursor
	dst     notifications.Sink
	writes  context.Context // of the writes
	workers sync.WaitGroup

	ask      chan int // how many to claim
	claimed  chan claim
	claiming bool // there was no answer yet
	ahead    int  // claim more while fewer events are ready
	todo     chan *batch
	done     chan *batch
	started  int // workers
	inFlight int

	lanes    lanes
	held     int        // events, in lanes and batches
	bytes    int        // of them
	due      batchQueue // to be offered again now, or the rest of what was split; in turn with new batches
	waiting  dueHeap[*batch]
	turn     bool            // it is a new batch's turn, not one's of due
	parked   map[uint64]past // of events that this Deliver has parked, at most Window
	lingerTo time.Time       // when a batch that is not full goes; zero while nothing is ready
	askAt    time.Time       // when to ask Policy.Admit again, if it said 0
	lookAt   time.Time       // when to look again for a key that fills the window
	rateAt   time.Time       // when Rate admits the next new batch
	ceiling  int             // bytes; what a receiver was found to take. 0: unknown
	free     []*batch

	ends    []Settlement // not settled yet
	settled [Outcomes][]Delivery
	stop    error // why to stop
}

// A claim is the answer of Cursor.Claim.
type claim struct {
	lent []Delivery
	err  error
}

func newCourier(cur Cursor, dst notifications.Sink, opts *DeliverOptions) *courier {
	var o DeliverOptions
	if opts != nil {
		o = *opts
	}
	if o.Key == nil {
		o.Key = func(e *notifications.Event) string { return e.Repository }
	}
	if o.Policy == nil {
		o.Policy = plainPolicy{}
	}
	o.Concurrency = orDefault(o.Concurrency, 8)
	o.Window = orDefault(o.Window, 1<<16)
	if o.Drain == 0 {
		o.Drain = 20 * time.Second
	}
	o.Batch.MaxEvents = orDefault(o.Batch.MaxEvents, 1)
	o.Batch.MaxBytes = orDefault(o.Batch.MaxBytes, 1<<20)
	return &courier{
		opts:    o,
		cur:     cur,
		dst:     dst,
		ahead:   min(max(256, 2*o.Concurrency*o.Batch.MaxEvents), 2048, o.Window),
		lanes:   lanes{byKey: make(map[string]*lane)},
		parked:  make(map[uint64]past),
		ask:     make(chan int, 1),
		claimed: make(chan claim, 1),
		todo:    make(chan *batch, o.Concurrency),
		done:    make(chan *batch, o.Concurrency),
	}
}

// claim is the goroutine that claims when asked, as many as asked for.
func (c *courier) claim(ctx context.Context) {
	into := make([]Delivery, c.ahead)
	for limit := range c.ask {
		n, err := c.cur.Claim(ctx, into[:limit])
		c.claimed <- claim{into[:n], err}
	}
}

// write is the goroutine of a worker.
func (c *courier) write() {
	for b := range c.todo {
		b.err = c.dst.Write(WithAttempt(c.writes, b.attempt), b.events)
		c.done <- b
	}
}

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
	for _, t := range [...]time.Time{c.askAt, c.lingerTo, c.lookAt, c.rateAt} {
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
// held, and tells whether there was one. It does not look again for a second if not.
func (c *courier) relieve(now time.Time) bool {
	if now.Before(c.lookAt) {
		return false
	}
	for i, w := range c.waiting {
		if slices.ContainsFunc(w.v.items, c.hogs) {
			c.park(c.waiting.remove(i), later(w.at, now.Add(time.Second)))
			return true
		}
	}
	c.lookAt = now.Add(time.Second)
	return false
}

// hogs tells whether the key of it has at least half of what is held.
func (c *courier) hogs(it *item) bool { return 2*(it.lane.waiting+it.lane.taken) >= c.held }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
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
