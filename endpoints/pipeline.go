package endpoints

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A Pipeline is an endpoint that needs no engine: filter, queue, retrier and webhook in
// one sink. Write returns as soon as the events are in the queue; they are in memory
// only and are lost with the process. They are delivered one batch after the other, in
// the order of their Writes, and retried until the endpoint accepts them. What it
// refuses for good is counted, logged and given up; so is what it answers with 410 or
// "webhook-delivery: disable", since there is no engine to keep it until somebody enables
// the endpoint again.
//
// It is safe for concurrent use. Who made it calls Shutdown.
type Pipeline struct {
	filter   *sinks.Filter
	queue    *sinks.Queue
	retrier  *sinks.Retrier
	endpoint *Endpoint
	filtered atomic.Uint64 // events that nobody wants
	failing  atomic.Bool   // the last attempt failed

	mu   sync.Mutex
	dead map[sinks.DeadReason]uint64
}

// New returns a pipeline to the endpoint of that name and URL, which are those of
// [NewEndpoint]. Options.Ordering and Concurrency mean nothing to it: it has one request
// in flight. Nothing is connected yet.
// Errors: all that is wrong with the arguments, see [OptionError].
func New(name, rawURL string, opts *Options) (*Pipeline, error) {
	e, err := NewEndpoint(name, rawURL, opts)
	if err != nil {
		return nil, err
	}
	o := e.opts
	p := &Pipeline{endpoint: e, dead: make(map[sinks.DeadReason]uint64)}
	p.retrier = sinks.NewRetrier(sinkFunc(p.attempt), &sinks.RetrierOptions{
		Backoff:       sinks.Backoff{Initial: o.Retry.Initial, Max: o.Retry.Max},
		MaxRetryAfter: o.Retry.RetryAfterMax,
		OnReject:      p.reject,
	})
	queue := o.Queue
	queue.MaxBatch = cmp.Or(queue.MaxBatch, o.Batch.MaxEvents)
	p.queue = sinks.NewQueue(p.retrier, &queue)
	p.filter = sinks.NewFilter(p.queue, o.Match)
	e.meter.observeState(p.state)
	e.meter.observeStanding(p.standing)
	return p, nil
}

// Write puts the events of batch that match into the queue.
// Errors: those of [sinks.Queue.Write].
func (p *Pipeline) Write(ctx context.Context, batch []*notifications.Event) error {
	if err := p.filter.Write(ctx, batch); err != nil {
		return err
	}
	if m := p.endpoint.opts.Match; m != nil {
		for _, e := range batch {
			if !m.Match(e) {
				p.filtered.Add(1)
			}
		}
	}
	return nil
}

// Wants tells whether the matcher may select e.
func (p *Pipeline) Wants(e *notifications.Event) bool { return p.filter.Wants(e) }

// Stats counts what happened to events in the queue. Dead letters are among the
// delivered.
func (p *Pipeline) Stats() sinks.QueueStats { return p.queue.Stats() }

// Shutdown refuses new events and waits until those in the queue are delivered; when ctx
// ends first, what is left is lost. Then it closes connections.
// Errors: those of [sinks.Queue.Shutdown] and [Endpoint.Shutdown].
func (p *Pipeline) Shutdown(ctx context.Context) error {
	return errors.Join(p.queue.Shutdown(ctx), p.endpoint.Shutdown(ctx))
}

func (p *Pipeline) attempt(ctx context.Context, batch []*notifications.Event) error {
	err := p.endpoint.Write(ctx, batch)
	p.failing.Store(err != nil && !notifications.IsPermanent(err))
	return err
}

// reject halves a refused batch, so that one event does not take others with it, and
// gives up a single event.
func (p *Pipeline) reject(ctx context.Context, batch []*notifications.Event, err error) error {
	e := asDeliveryError(err)
	if half := len(batch) / 2; half > 0 && e.Class != Gone {
		return errors.Join(p.retrier.Write(ctx, batch[:half]), p.retrier.Write(ctx, batch[half:]))
	}
	reason := sinks.DeadRejected
	switch e.Class {
	case TooLarge:
		reason = sinks.DeadTooLarge
	case Aborted:
		reason = sinks.DeadAborted
	}
	p.mu.Lock()
	p.dead[reason] += uint64(len(batch))
	p.mu.Unlock()
	p.endpoint.opts.Logger.WarnContext(ctx, "events refused for good and given up",
		slog.Int("events", len(batch)), slog.String("first", batch[0].ID), slog.Any("error", err))
	return nil
}

func (p *Pipeline) state() StateName {
	if p.failing.Load() {
		return StateRetrying
	}
	return StateOK
}

// standing is what a ledger would say.
func (p *Pipeline) standing() standing {
	p.mu.Lock()
	dead := maps.Clone(p.dead)
	p.mu.Unlock()
	total := uint64(0)
	for _, n := range dead {
		total += n
	}
	q := p.queue.Stats()
	s := standing{dead: dead}
	s.Pending = uint64(q.Pending)
	s.Totals[sinks.Filtered] = p.filtered.Load()
	s.Totals[sinks.DeadLettered] = total
	s.Totals[sinks.Delivered] = max(q.Delivered, total) - total
	s.Totals[sinks.Dropped] = q.Dropped + q.Failed
	return s
}

// sinkFunc is a function as a Sink.
type sinkFunc func(context.Context, []*notifications.Event) error

func (f sinkFunc) Write(ctx context.Context, batch []*notifications.Event) error {
	return f(ctx, batch)
}
