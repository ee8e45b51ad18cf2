package sinks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
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
	Drain       time.Duration // how long writes in flight may go on once ctx has ended; 0: 20 s
	Replay      string        // the name of the job, for Attempt.Replay

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

// windowBytes bounds, beside Window, what a Deliver holds: the wire form of its events.
const windowBytes = 32 << 20

// errDrained is why writes in flight are cancelled in the end.
var errDrained = errors.New("drain time is over")

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
// as it can send more. When these are full and half of them belong to one key whose head
// is waiting for its next try, that head is parked early.
//
// Stop and abort: when ctx ends it claims and offers nothing more, lets writes in flight
// finish for opts.Drain, then cancels them, settles what was accepted, releases the rest
// and returns nil. It returns nil too when a bounded cursor is at its end. Otherwise it
// ends with the error of Claim or Settle, or of the write that its policy answered with
// [Stop], after draining in the same way. It closes neither cur nor dst. Its goroutines,
// opts.Concurrency and two more at most, have ended when it returns.
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
	o.Drain = orDefault(o.Drain, 20*time.Second)
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

// A claim is the answer of Cursor.Claim.
type claim struct {
	lent []Delivery
	err  error
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
	first    batchQueue // to be offered now, before anything else: the rest of what was split
	due      batchQueue // to be offered again now, in turn with new batches
	waiting  dueHeap[*batch]
	turn     bool            // it is a new batch's turn, not one's of due
	parked   map[uint64]past // of events that this Deliver has parked, at most Window
	lingerTo time.Time       // when a batch that is not full goes; zero while nothing is ready
	askAt    time.Time       // when to ask Policy.Admit again, if it said 0
	ceiling  int             // bytes; what a receiver was found to take. 0: unknown
	free     []*batch

	ends    []Settlement // not settled yet
	settled [Outcomes][]Delivery
	stop    error // why to stop
}
