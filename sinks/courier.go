package sinks

import (
	"context"
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
	turn     bool                 // it is a new batch's turn, not one's of due
	parked   map[uint64]past      // of events that this Deliver has parked, at most Window
	lingerTo time.Time            // when a batch that is not full goes; zero while nothing is ready
	askAt    time.Time            // when to ask Policy.Admit again, if it said 0
	failing  map[string]time.Time // since when keys fail, at most Window
	lookAt   time.Time            // when to look again for a key to park
	rateAt   time.Time            // when Rate admits the next new batch
	ceiling  int                  // bytes; what a receiver was found to take. 0: unknown
	free     []*batch

	marks   endings // without a dead letter
	letters endings // with one
	stop    error   // why to stop
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
		failing: make(map[string]time.Time),
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
		if c.relieve(now) {
			continue // there is something to send, or room
		}
		c.askForMore(now)
		refused := c.refused()
		if err := c.settle(now); err != nil {
			return err
		}
		if refused && !c.refused() {
			continue // there is room for more
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
	for _, t := range [...]time.Time{c.askAt, c.lingerTo, c.lookAt, c.rateAt, c.marks.at, c.letters.at} {
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
	if room := c.room(); room > 0 {
		c.claiming = true
		c.ask <- min(c.ahead, room)
	}
}

// room is how many more events may be held. Those whose end the engine does not take
// count as held.
func (c *courier) room() int {
	events, bytes := c.unsettled()
	if c.bytes+bytes >= windowBytes {
		return 0
	}
	return c.opts.Window - c.held - events
}

// parkAfter is how long a key may fail before it has to make room.
const parkAfter = 30 * time.Second

// relieve parks a waiting batch when there is no room and nothing to send: of the keys
// that have failed for parkAfter, the head of the one that has most of what is held. It
// tells whether there was one. While the policy lets nothing be sent, or the engine takes
// nothing, parking would be of no use to anybody.
func (c *courier) relieve(now time.Time) bool {
	if len(c.waiting) == 0 || c.lanes.readyEvents+len(c.due) > 0 || c.room() > 0 || now.Before(c.lookAt) ||
		c.refused() || c.inFlight >= c.opts.Concurrency || !c.admitted(now) {
		return false
	}
	found, most := -1, 0
	c.lookAt = now.Add(parkAfter)
	for i, w := range c.waiting {
		for _, it := range w.v.items {
			since, failing := c.failing[it.lane.key]
			switch n := it.lane.waiting + it.lane.taken; {
			case failing && now.Sub(since) < parkAfter:
				c.lookAt = earlier(c.lookAt, since.Add(parkAfter))
			case failing && n > most:
				found, most = i, n
			}
		}
	}
	if found < 0 {
		return false
	}
	c.lookAt = now
	// For longer each time: those put aside would come back before those behind them had
	// their turn.
	w := c.waiting[found]
	aside := Backoff{Max: 5 * time.Minute}.Delay(w.v.items[0].Tries + 1)
	c.park(c.waiting.remove(found), later(w.at, now.Add(aside)))
	return true
}

// failed notes since when the keys of b fail, which are to be offered again.
func (c *courier) failed(b *batch, now time.Time) {
	for _, it := range b.items {
		since, ok := c.failing[it.lane.key]
		if !ok && len(c.failing) < c.opts.Window {
			since = now
			c.failing[it.lane.key] = now
		}
		c.lookAt = earlier(c.lookAt, since.Add(parkAfter))
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

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
