package sinks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/regcast/regcast/notifications"
)

// OnFull says what a [Queue] without room does with what is written to it.
type OnFull uint8

// What a full queue can do.
const (
	Block      OnFull = iota // wait for room until ctx ends; first come, first served
	Reject                   // return notifications.ErrFull
	DropOldest               // make room by dropping what has waited longest
)

// QueueOptions bound a [Queue]. nil means the defaults.
type QueueOptions struct {
	Capacity int    // events that may wait, those being written below aside; 0: 10 000
	MaxBatch int    // events that are written below at once, at most; 0: 1
	OnFull   OnFull // when there is no room

	// OnDrop is told of accepted events that the queue gives up: dropped to make room
	// (err is ErrFull), refused by the destination (err is its error), or left at the end
	// of Shutdown (err is ErrClosed, or what a cancelled write returned). It must be
	// quick, must not keep the slice, must be safe for concurrent use and must not call
	// Shutdown. nil: they are only counted.
	OnDrop func(batch []*notifications.Event, err error)
}

// A Queue takes events at once and writes them to its destination one batch after the
// other, in the order in which they came. It answers for them with nothing but memory:
// what the destination refuses, with whatever error, is lost, and so is what waits when
// the process ends. Hence there is usually a [Retrier] below.
//
// Its only goroutine exists while there is something to write. A Queue is safe for
// concurrent use. Who made it calls Shutdown, before that of anything below.
type Queue struct {
	dst    notifications.Sink
	opts   QueueOptions
	ctx    context.Context // of the writes below; ends when Shutdown has waited enough
	cancel context.CancelFunc
	batch  []*notifications.Event // the goroutine's buffer

	mu      sync.Mutex
	waiting eventRing
	blocked []*blockedWrite // in the order in which they came
	running bool            // the goroutine exists
	idle    chan struct{}   // closed when it is gone for good; nil before Shutdown
	closed  bool
	stats   QueueStats // without Pending and Blocked
	left    int        // events given up at the end of Shutdown and not yet reported
}

// A blockedWrite waits for room.
type blockedWrite struct {
	batch []*notifications.Event
	done  chan struct{} // closed when there was room, or err is set
	err   error
}

// QueueStats count events since the queue was made. At any moment
// Accepted = Delivered + Failed + Dropped + Pending.
type QueueStats struct {
	Accepted  uint64 // Write returned nil
	Rejected  uint64 // Write returned an error
	Delivered uint64 // taken by the destination
	Failed    uint64 // refused by the destination
	Dropped   uint64 // to make room, or at the end of Shutdown
	Pending   uint64 // waiting, or being written now
	Blocked   uint64 // held by writes that wait for room
}

// NewQueue returns a queue in front of dst.
func NewQueue(dst notifications.Sink, opts *QueueOptions) *Queue {
	q := &Queue{dst: dst}
	if opts != nil {
		q.opts = *opts
	}
	q.opts.Capacity = cmp.Or(q.opts.Capacity, 10_000)
	q.opts.MaxBatch = cmp.Or(q.opts.MaxBatch, 1)
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// Write puts batch into the queue. It consults ctx only when it has to wait.
//
// Errors: ErrFull with [Reject]; the cause of ctx's end with [Block]; ErrClosed once
// Shutdown was called; a permanent one if batch alone exceeds the capacity.
func (q *Queue) Write(ctx context.Context, batch []*notifications.Event) error {
	q.mu.Lock()
	blocked, dropped, err := q.offer(batch)
	q.mu.Unlock()
	q.report(dropped, notifications.ErrFull)
	if blocked != nil {
		return q.wait(ctx, blocked)
	}
	return err
}

// offer accepts or refuses batch, or returns what to wait for. It is called with q.mu
// held, as everything is that works on the fields behind it.
func (q *Queue) offer(batch []*notifications.Event) (blocked *blockedWrite, dropped []*notifications.Event, err error) {
	switch {
	case q.closed:
		err = notifications.ErrClosed
	case len(batch) == 0:
	case len(batch) > q.opts.Capacity:
		err = notifications.Permanent(fmt.Errorf("a batch of %d events for a queue of %d", len(batch), q.opts.Capacity))
	case len(q.blocked) == 0 && q.hasRoom(batch):
		q.accept(batch)
	case q.opts.OnFull == Reject:
		err = notifications.ErrFull
	case q.opts.OnFull == DropOldest:
		dropped = q.makeRoom(batch)
		q.accept(batch)
	default:
		blocked = &blockedWrite{batch: batch, done: make(chan struct{})}
		q.blocked = append(q.blocked, blocked)
	}
	if err != nil {
		q.stats.Rejected += uint64(len(batch))
	}
	return blocked, dropped, err
}

func (q *Queue) hasRoom(batch []*notifications.Event) bool {
	return q.waiting.n+len(batch) <= q.opts.Capacity
}

// accept puts batch into the queue and sees that somebody works on it.
func (q *Queue) accept(batch []*notifications.Event) {
	for _, e := range batch {
		q.waiting.push(e)
	}
	q.stats.Accepted += uint64(len(batch))
	if !q.running {
		q.running = true
		go q.drain()
	}
}

// makeRoom drops what has waited longest until batch fits, and returns it if anyone
// wants to know.
func (q *Queue) makeRoom(batch []*notifications.Event) (dropped []*notifications.Event) {
	for !q.hasRoom(batch) {
		e := q.waiting.pop()
		q.stats.Dropped++
		if q.opts.OnDrop != nil {
			dropped = append(dropped, e)
		}
	}
	return dropped
}

// report tells of dropped events. It is called without q.mu.
func (q *Queue) report(dropped []*notifications.Event, err error) {
	if len(dropped) > 0 && q.opts.OnDrop != nil {
		q.opts.OnDrop(dropped, err)
	}
}

// wait waits until there was room for w, the queue closes or ctx ends.
func (q *Queue) wait(ctx context.Context, w *blockedWrite) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.blocked, w)
	if i < 0 { // meanwhile there was room, or the queue closed
		return w.err
	}
	q.blocked = slices.Delete(q.blocked, i, i+1)
	q.stats.Rejected += uint64(len(w.batch))
	q.unblock() // those behind it may be smaller
	return context.Cause(ctx)
}

// unblock accepts the writes that wait, in their order, as far as there is room.
func (q *Queue) unblock() {
	n := 0
	for _, w := range q.blocked {
		if !q.hasRoom(w.batch) {
			break
		}
		q.accept(w.batch)
		close(w.done)
		n++
	}
	q.blocked = slices.Delete(q.blocked, 0, n)
}

// drain writes what waits to the destination until nothing does.
func (q *Queue) drain() {
	for {
		batch := q.take()
		if len(batch) == 0 {
			return
		}
		err := q.dst.Write(q.ctx, batch)
		q.settle(batch, err)
		clear(batch)
	}
}

// take returns the next events to write. Without any the goroutine is over.
func (q *Queue) take() []*notifications.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batch = q.batch[:0]
	for q.waiting.n > 0 && len(q.batch) < q.opts.MaxBatch {
		q.batch = append(q.batch, q.waiting.pop())
	}
	q.unblock()
	if len(q.batch) == 0 {
		q.running = false
		if q.idle != nil {
			close(q.idle)
		}
	}
	return q.batch
}

// settle counts what became of batch, and gives up the rest once Shutdown has waited
// enough.
func (q *Queue) settle(batch []*notifications.Event, err error) {
	q.mu.Lock()
	n := uint64(len(batch))
	var rest []*notifications.Event
	switch {
	case err == nil:
		q.stats.Delivered += n
	case q.ctx.Err() == nil:
		q.stats.Failed += n
	default:
		q.stats.Dropped += n
		q.left += len(batch)
	}
	if q.ctx.Err() != nil {
		rest = q.giveUp()
	}
	q.mu.Unlock()
	if err != nil {
		q.report(batch, err)
	}
	q.report(rest, notifications.ErrClosed)
}

// giveUp drops everything that waits.
func (q *Queue) giveUp() []*notifications.Event {
	rest := make([]*notifications.Event, 0, q.waiting.n)
	for q.waiting.n > 0 {
		rest = append(rest, q.waiting.pop())
	}
	q.stats.Dropped += uint64(len(rest))
	q.left += len(rest)
	return rest
}

// Wants tells whether the destination wants e.
func (q *Queue) Wants(e *notifications.Event) bool { return notifications.Wants(q.dst, e) }

// Stats counts what happened so far.
func (q *Queue) Stats() QueueStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Pending = s.Accepted - s.Delivered - s.Failed - s.Dropped
	for _, w := range q.blocked {
		s.Blocked += uint64(len(w.batch))
	}
	return s
}

// Shutdown refuses new events, also those that wait for room, and returns once all that
// were accepted were written. When ctx ends first it cancels the write in flight, gives
// up the rest and returns as soon as the destination has.
//
// Errors: [*LeftError] if it gave up any, once; a later call returns nil.
func (q *Queue) Shutdown(ctx context.Context) error {
	idle := q.close()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	q.cancel()
	<-idle
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.left == 0 {
		return nil
	}
	left := q.left
	q.left = 0
	return &LeftError{Events: left, Err: context.Cause(ctx)}
}

// close returns what is closed when the goroutine is gone for good.
func (q *Queue) close() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, w := range q.blocked {
		w.err = notifications.ErrClosed
		q.stats.Rejected += uint64(len(w.batch))
		close(w.done)
	}
	q.blocked = nil
	if q.idle == nil {
		q.idle = make(chan struct{})
		if !q.running {
			close(q.idle)
		}
	}
	return q.idle
}

// A LeftError says that a shutdown ended before everything was written.
type LeftError struct {
	Events int   // that were accepted and not written
	Err    error // why it did not wait for them
}

// Error says how many events were left.
func (e *LeftError) Error() string {
	return fmt.Sprintf("%d events left unwritten: %v", e.Events, e.Err)
}

// Unwrap returns why they were left.
func (e *LeftError) Unwrap() error { return e.Err }

// An eventRing is a first-in first-out list of events that grows as needed. The zero
// value is empty.
type eventRing struct {
	slots []*notifications.Event
	head  int // of the oldest
	n     int
}

func (r *eventRing) push(e *notifications.Event) {
	if r.n == len(r.slots) {
		grown := make([]*notifications.Event, max(16, 2*r.n))
		copy(grown[copy(grown, r.slots[r.head:]):], r.slots[:r.head])
		r.slots, r.head = grown, 0
	}
	r.slots[(r.head+r.n)%len(r.slots)] = e
	r.n++
}

func (r *eventRing) pop() *notifications.Event {
	e := r.slots[r.head]
	r.slots[r.head] = nil
	r.head = (r.head + 1) % len(r.slots)
	r.n--
	return e
}
