// Package outbox takes events on the path of a registry's request and writes them to a
// sink, without ever failing the request or delaying it for long.
//
// An [Outbox] stands between a bridge and whatever sink the registry was given:
//
//	bridge → outbox → journal
//
// It is one bounded first-in first-out queue, in memory. Its only goroutine exists while
// something waits, and writes what has gathered as one batch: while a slow sink syncs one
// batch, the next one grows. A batch that the sink does not take now is offered again
// until it does, with everything else behind it, so that no event overtakes another.
//
// Nothing that the sink does reaches the registry: while it fails or hangs nobody waits for
// it, and its panic is an error like others, but for one thing. A batch with which it
// panics again and again is halved until the culprits are alone, as if they had been
// refused for good.
//
// Nothing is lost without being counted: what finds no room, what the sink refuses for
// good, and what is left when Shutdown or the sink ends. Whoever makes an Outbox ends it
// with [Outbox.Shutdown], before the sink.
package outbox

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
)

// The bounds of an [Outbox] whose options do not say.
const (
	DefaultWait      = 50 * time.Millisecond
	DefaultMaxEvents = 10_000
	DefaultMaxBytes  = 64 << 20
)

// patience is how long one write may take before the sink counts as one that does not
// take events now.
const patience = time.Second

var errHangs = fmt.Errorf("the sink has not answered for %v", patience)

// Options bound an [Outbox]. The zero value, or nil, means the defaults.
type Options struct {
	// Wait bounds how long Write waits for a mutation to be written; 0 is DefaultWait,
	// negative: not at all.
	Wait time.Duration

	// MaxEvents and MaxBytes bound what waits, that being written now included; 0:
	// DefaultMaxEvents, DefaultMaxBytes. Bytes are of memory, roughly. Pulls take three
	// quarters of it at most: who reads a lot must not cost the events of changes.
	MaxEvents int
	MaxBytes  int

	// Accepting says why the sink would not take an event now, nil if it would. nil:
	// known only once a write has failed, or has taken too long.
	Accepting func() error

	// Registerer gets the metrics; nil: none. Several outboxes share a registry with one
	// value each of the same label, see prometheus.WrapRegistererWith.
	Registerer prometheus.Registerer

	Logger *slog.Logger // nil: nothing is logged
}

// An Outbox is a sink that has a bounded queue before another. It is safe for concurrent
// use.
type Outbox struct {
	dst     notifications.Sink
	opts    Options
	metrics *metrics
	ctx     context.Context // of all attempts; ends when Shutdown has waited enough
	cancel  context.CancelFunc
	batch   []*notifications.Event // the goroutine's buffer

	panicOnce sync.Once // the sink has panicked, and it was logged

	mu        sync.Mutex
	waiting   ring // that being written is at its head
	bytes     int  // what weighs all that waits
	accepted  uint64
	settled   uint64    // of those accepted, those that wait no more
	waiters   []*waiter // in the order of their events
	running   bool      // the goroutine exists
	idle      chan struct{}
	closed    bool      // by Shutdown
	dstClosed bool      // the sink has said so
	failing   error     // the last of the batch at the head, until it is taken
	began     time.Time // when the write under way did; zero: there is none
	full      bool      // there was no room for a change, and the queue is not half empty again
	crowded   bool      // the same for a pull
	left      int       // given up since Shutdown began
	leftErr   error     // why
}

// A waiter waits until as many events were settled.
type waiter struct {
	settled uint64
	done    chan struct{}
}

// New returns an Outbox before dst. opts may be nil.
func New(dst notifications.Sink, opts *Options) *Outbox {
	o := &Outbox{dst: dst}
	if opts != nil {
		o.opts = *opts
	}
	o.opts.Wait = cmp.Or(o.opts.Wait, DefaultWait)
	o.opts.MaxEvents = cmp.Or(o.opts.MaxEvents, DefaultMaxEvents)
	o.opts.MaxBytes = cmp.Or(o.opts.MaxBytes, DefaultMaxBytes)
	if o.opts.Logger == nil {
		o.opts.Logger = slog.New(slog.DiscardHandler)
	}
	o.metrics = newMetrics(o.opts.Registerer, o.length)
	o.ctx, o.cancel = context.WithCancel(context.Background())
	return o
}

// Write queues a batch, all or nothing. Unless it is all pulls, Write then waits until the
// batch was written, but not for longer than Options.Wait or than ctx lasts, and not at all
// while Accepting would return an error: the batch would not be written by then. Once it is
// queued the Outbox answers for it, and Write returns nil whatever becomes of it.
//
// Errors: ErrFull; ErrClosed after Shutdown, or once the sink has returned it; a permanent
// one if batch alone exceeds the bounds. Events that are refused so are counted as
// unrecorded.
func (o *Outbox) Write(ctx context.Context, batch []*notifications.Event) error {
	changes := slices.ContainsFunc(batch, mutates)
	waits := o.opts.Wait >= 0 && changes && o.Accepting() == nil
	w, err := o.offer(batch, changes, waits)
	if w != nil {
		o.wait(ctx, w)
	}
	return err
}

// Settle waits for what was queued so far as Write does for its batch. Who has to write
// several batches that nothing of others may come between writes them with a context that
// has ended, and waits once.
func (o *Outbox) Settle(ctx context.Context) {
	if o.opts.Wait < 0 || o.Accepting() != nil {
		return
	}
	if w := o.waiter(); w != nil {
		o.wait(ctx, w)
	}
}

// wait returns when w is done, after Options.Wait or when ctx ends.
func (o *Outbox) wait(ctx context.Context, w *waiter) {
	timer := time.NewTimer(o.opts.Wait)
	defer timer.Stop()
	select {
	case <-w.done:
		return
	case <-timer.C:
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(o.waiters, w); i >= 0 {
		o.waiters = slices.Delete(o.waiters, i, i+1)
	}
}

// offer queues or refuses batch, and returns what to wait for if waits says so.
func (o *Outbox) offer(batch []*notifications.Event, changes, waits bool) (*waiter, error) {
	bytes := 0
	for _, e := range batch {
		bytes += weight(e)
	}
	fillsUp := ""
	defer func() {
		if fillsUp != "" { // said without the lock
			o.opts.Logger.Error(fillsUp)
		}
	}()
	maxEvents, maxBytes := o.opts.MaxEvents, o.opts.MaxBytes
	if !changes {
		maxEvents, maxBytes = maxEvents-maxEvents/4, maxBytes-maxBytes/4
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed || o.dstClosed:
		o.metrics.closed.Add(float64(len(batch)))
		return nil, notifications.ErrClosed
	case len(batch) == 0:
		return nil, nil
	case len(batch) > maxEvents || bytes > maxBytes:
		o.metrics.full.Add(float64(len(batch)))
		return nil, notifications.Permanent(fmt.Errorf("a batch of %d events and %d bytes for an outbox of %d and %d",
			len(batch), bytes, maxEvents, maxBytes))
	case o.waiting.n+len(batch) > maxEvents || o.bytes+bytes > maxBytes:
		o.metrics.full.Add(float64(len(batch)))
		fillsUp = o.noteFull(changes)
		return nil, notifications.ErrFull
	}
	return o.accept(batch, waits), nil
}

// noteFull notes that there is no room and returns what is to be said of it, "" if that was
// said already.
func (o *Outbox) noteFull(changes bool) string {
	switch {
	case changes && !o.full:
		o.full = true
		return "no room for events, they go unrecorded"
	case !changes && !o.crowded:
		o.crowded = true
		return "no room for events of pulls, they go unrecorded"
	}
	return ""
}

// accept puts batch into the queue and sees that somebody works on it. It is called with
// o.mu held.
func (o *Outbox) accept(batch []*notifications.Event, waits bool) *waiter {
	for _, e := range batch {
		entry := entry{e, weight(e)}
		o.waiting.push(entry)
		o.bytes += entry.weight
	}
	o.accepted += uint64(len(batch))
	if !o.running {
		o.running = true
		go o.drain()
	}
	if !waits {
		return nil
	}
	return o.await()
}

// waiter returns one for all that waits, nil if nothing does.
func (o *Outbox) waiter() *waiter {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.settled == o.accepted {
		return nil
	}
	return o.await()
}

// await returns a waiter for all that was accepted. It is called with o.mu held.
func (o *Outbox) await() *waiter {
	w := &waiter{settled: o.accepted, done: make(chan struct{})}
	o.waiters = append(o.waiters, w)
	return w
}

// mutates tells whether somebody who reads the registry could see that e happened.
func mutates(e *notifications.Event) bool { return e.Action != notifications.ActionPull }

// Wants tells whether the sink wants e, and that it does if it panics.
func (o *Outbox) Wants(e *notifications.Event) (wants bool) {
	defer func() {
		if v := recover(); v != nil {
			_ = o.panicked(v)
			wants = true
		}
	}()
	return notifications.Wants(o.dst, e)
}

// Accepting says why an event would not be written or queued now, nil as far as it would:
// the sink's last error while it does not take what waits longest, an error while it has
// been busy with that for more than a second, ErrFull while there is no room, ErrClosed, or
// what Options.Accepting says.
func (o *Outbox) Accepting() error {
	if err := o.accepting(); err != nil || o.opts.Accepting == nil {
		return err
	}
	return o.opts.Accepting()
}

func (o *Outbox) accepting() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed || o.dstClosed:
		return notifications.ErrClosed
	case o.failing != nil:
		return o.failing
	case !o.began.IsZero() && time.Since(o.began) > patience:
		return errHangs
	case o.full || o.waiting.n >= o.opts.MaxEvents || o.bytes >= o.opts.MaxBytes:
		return notifications.ErrFull
	}
	return nil
}

// Shutdown refuses new events and returns once all that wait were written. When ctx ends
// first it cancels the write under way, counts the rest as unrecorded and returns ctx's
// error as soon as the sink has returned. A later call returns nil.
func (o *Outbox) Shutdown(ctx context.Context) error {
	idle := o.close()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	o.cancel()
	<-idle
	o.mu.Lock()
	defer o.mu.Unlock()
	left, err := o.left, o.leftErr
	o.left, o.leftErr = 0, nil
	if left == 0 {
		return nil
	}
	return fmt.Errorf("%d events left unrecorded: %w", left, cmp.Or(err, context.Cause(ctx)))
}

// close returns what is closed when the goroutine is gone for good.
func (o *Outbox) close() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.idle == nil {
		o.idle = make(chan struct{})
		if !o.running {
			close(o.idle)
		}
	}
	return o.idle
}

func (o *Outbox) length() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.waiting.n
}
