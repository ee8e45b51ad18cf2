package journal

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	// settleRide is how old settlements are before a commit takes them along, and
	// settleAlone before they get one of their own. The promise is 100 ms.
	settleRide  = 15 * time.Millisecond
	settleAlone = 60 * time.Millisecond
	settleAgain = time.Second // after a commit that failed

	gatherBytes = 16 << 20 // of events in one commit, unless one batch is larger
	queuedBytes = 64 << 20 // of events that wait for a commit; more are refused with ErrFull
)

// A request is something for the next commit.
type request struct {
	events []*notifications.Event
	json   []byte // of the events, one after the other
	ends   []int  // where in json each event ends
	prints []print
	keys   []sinks.RepeatKey
	fresh  []bool // set by the appender
	bad    []notifications.Quarantined
	at     int64 // microseconds; when it was handed over

	op        func(*conn) error // anything else to do in the transaction
	outside   func() error      // to do between two transactions
	committed func()            // called by the appender once it is synced
	flush     bool              // take all settlements along
	probe     bool              // op tries out whether events could be stored

	receipt notifications.Receipt // set before done
	done    chan error            // of capacity 1
}

func newRequest() *request { return &request{done: make(chan error, 1)} }

// encode does what can be done outside of the appender.
func (r *request) encode(a *appender, events []*notifications.Event, bad []notifications.Quarantined) {
	r.at = time.Now().UnixMicro()
	r.events, r.bad = slices.Clone(events), slices.Clone(bad)
	for i := range r.bad {
		q := &r.bad[i]
		q.Body = append([]byte{}, q.Body[:min(len(q.Body), notifications.MaxQuarantinedBody)]...)
		if q.Received.IsZero() {
			q.Received = time.UnixMicro(r.at)
		}
	}
	r.ends = make([]int, len(events))
	r.prints = make([]print, len(events))
	r.keys = make([]sinks.RepeatKey, len(events))
	r.fresh = make([]bool, len(events))
	size := 0
	for _, e := range events {
		size += e.Size()
	}
	r.json = make([]byte, 0, size)
	for i, e := range events {
		from := len(r.json)
		r.json = e.AppendJSON(r.json)
		r.ends[i] = len(r.json)
		r.prints[i] = printOf(e.ID, r.json[from:])
		r.keys[i] = r.prints[i].key(a.repeats)
	}
}

func (r *request) event(i int) (json []byte) {
	from := 0
	if i > 0 {
		from = r.ends[i-1]
	}
	return r.json[from:r.ends[i]]
}

// size is what the request takes at most, in bytes.
func (r *request) size() int {
	n := len(r.json) + len(r.events)*eventCost
	for i := range r.bad {
		n += quarantineCost(&r.bad[i])
	}
	return n
}

// An appender owns the writing connection, the sequence numbers and the window of
// repeats. Everything that is to be written goes through its queue; its one goroutine
// takes what has gathered and commits it in one transaction.
type appender struct {
	j       *Journal
	db      *conn
	repeats *sinks.Repeats

	mu     sync.Mutex
	queue  []*request
	queued int       // bytes
	dirty  []*place  // with settlements to be written
	since  time.Time // when the first of dirty became so
	closed bool
	failed error // why the last commit failed, nil if it did not

	wake chan struct{} // of capacity 1: something was added

	// Owned by the goroutine.
	head                  // changed only by a commit that succeeded
	places      []*place  // all cursors
	bodies      [4][]byte // buffers
	deadChanged bool      // the dead letters in the file, since they were counted
	notices     notices
	unwritten   error // set when run returns although settlements could not be written
}

func newAppender(j *Journal, db *conn) *appender {
	a := &appender{j: j, db: db, repeats: sinks.NewRepeats(0, 0), wake: make(chan struct{}, 1)}
	a.notices = a.newNotices()
	return a
}

// do hands over r and waits until it is committed or refused.
func (a *appender) do(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := r.size()
	if int64(n) > a.j.opts.RetentionBytes {
		return notifications.Permanent(fmt.Errorf("%d bytes at once are more than retention_bytes", n))
	}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return notifications.ErrClosed
	}
	if n > 0 && a.queued > 0 && a.queued+n > queuedBytes {
		a.mu.Unlock()
		return fmt.Errorf("%w: %d MiB wait to be written", notifications.ErrFull, a.queued>>20)
	}
	a.queue = append(a.queue, r)
	a.queued += n
	a.mu.Unlock()
	a.nudge()
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write has f run in the next transaction.
func (a *appender) write(ctx context.Context, f func(*conn) error) error {
	r := newRequest()
	r.op = f
	return a.do(ctx, r)
}

// flush makes durable what is settled so far.
func (a *appender) flush(ctx context.Context) error {
	r := newRequest()
	r.flush = true
	return a.do(ctx, r)
}

// settled notes that p has settlements to be written. It is called once until they are
// collected.
func (a *appender) settled(p *place) {
	a.mu.Lock()
	first := len(a.dirty) == 0
	if first {
		a.since = time.Now()
	}
	a.dirty = append(a.dirty, p)
	a.mu.Unlock()
	if first {
		a.nudge()
	}
}

func (a *appender) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *appender) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.nudge()
}

func (a *appender) health() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

// pending tells whether there are settlements to be written.
func (a *appender) pending() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.dirty) > 0
}

// run commits until the appender is closed and nothing is left.
func (a *appender) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		batch, settle, wait, closed := a.take()
		switch {
		case len(batch) > 0 || settle:
			a.commit(a.aside(batch), settle)
			if len(batch) > 1 {
				// Let those who were just answered hand over what they have next, so
				// that it shares a sync; a single writer waits for nothing.
				runtime.Gosched()
			}
			if err := a.health(); closed && len(batch) == 0 && err != nil && a.pending() {
				a.unwritten = fmt.Errorf("what was settled last will be delivered again: %w", err)
				return
			}
		case closed:
			return
		default:
			timer.Reset(wait)
			select {
			case <-a.wake:
			case <-timer.C:
			}
		}
	}
}

// aside does what is not for the transaction, and returns the rest of batch.
func (a *appender) aside(batch []*request) []*request {
	rest := batch[:0]
	for _, r := range batch {
		if r.outside != nil {
			r.done <- r.outside()
		} else {
			rest = append(rest, r)
		}
	}
	return rest
}

// take returns what the next commit has to hold, requests and whether settlements, or
// how long nothing will be due.
func (a *appender) take() (batch []*request, settle bool, wait time.Duration, closed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, size, flush := 0, 0, a.closed
	for ; n < len(a.queue) && (n == 0 || size < gatherBytes); n++ {
		size += a.queue[n].size()
		flush = flush || a.queue[n].flush
	}
	a.queued -= size
	batch = a.queue[:n:n]
	if a.queue = a.queue[n:]; len(a.queue) == 0 {
		a.queue = nil
	}
	wait = time.Hour
	if len(a.dirty) > 0 {
		alone := settleAlone
		if a.failed != nil {
			alone = settleAgain
		}
		age := time.Since(a.since)
		settle = flush || age >= alone || n > 0 && age >= settleRide
		wait = alone - age
	}
	return batch, settle, wait, a.closed
}
