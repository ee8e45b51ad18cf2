package compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	events "github.com/docker/go-events"

	"github.com/regcast/regcast/notifications"
)

// An Outbound is a sink of ours that writes to one of go-events, one event after the
// other. It is safe for concurrent use; batches wait for each other.
type Outbound struct {
	dst  events.Sink
	opts OutboundOptions

	turn   chan struct{} // holds a token while a batch is being written
	closed chan struct{}
	shut   sync.Once
}

// OutboundOptions are the options of an [Outbound]. The zero value, as nil, delivers
// events as they are.
type OutboundOptions struct {
	// Convert makes what dst expects; nil delivers *notifications.Event. For the sinks
	// of distribution, decode the JSON of the event into its notifications.Event and
	// return that as a value, not as a pointer. Its errors are permanent.
	Convert func(*notifications.Event) (events.Event, error)

	// Closed is what else, beside [events.ErrSinkClosed], says that dst is closed. The
	// sinks of distribution return their package's ErrSinkClosed, which is another value.
	Closed error
}

var _ notifications.Sink = (*Outbound)(nil)

// NewOutbound returns a sink in front of dst. The caller shuts it down, and then closes
// dst.
func NewOutbound(dst events.Sink, opts *OutboundOptions) *Outbound {
	out := &Outbound{dst: dst, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	if opts != nil {
		out.opts = *opts
	}
	return out
}

// Write writes the events of batch in order and stops at the first that dst refuses; dst
// then has those before it. go-events knows no contexts: when ctx ends, Write returns,
// but the event that dst has not answered for is still there, and the next Write waits
// for it.
//
// Errors: ctx's; [notifications.ErrClosed] after Shutdown or when dst is closed; a
// permanent one if an event cannot be converted; that of dst otherwise.
func (out *Outbound) Write(ctx context.Context, batch []*notifications.Event) error {
	if err := out.acquire(ctx); err != nil {
		return err
	}
	if ctx.Done() == nil {
		defer out.release()
		return out.write(ctx, batch)
	}
	batch = slices.Clone(batch) // the caller's, who may be gone before dst
	answer := make(chan error, 1)
	go func() {
		defer out.release()
		answer <- out.write(ctx, batch)
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// acquire waits for the turn to write. Whoever gets it releases it.
func (out *Outbound) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case out.turn <- struct{}{}:
	case <-out.closed:
		return notifications.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-out.closed: // too, or while we waited
		out.release()
		return notifications.ErrClosed
	default:
		return nil
	}
}

func (out *Outbound) release() { <-out.turn }

// write is called by the holder of the turn.
func (out *Outbound) write(ctx context.Context, batch []*notifications.Event) error {
	for _, e := range batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		event, err := out.convert(e)
		if err != nil {
			return notifications.Permanent(fmt.Errorf("converting event %s: %w", e.ID, err))
		}
		err = out.dst.Write(event)
		switch {
		case err == nil:
		case errors.Is(err, events.ErrSinkClosed), out.opts.Closed != nil && errors.Is(err, out.opts.Closed):
			return notifications.ErrClosed
		default:
			return err
		}
	}
	return nil
}

func (out *Outbound) convert(e *notifications.Event) (events.Event, error) {
	if out.opts.Convert == nil {
		return e, nil
	}
	return out.opts.Convert(e)
}

// Shutdown makes later writes return [notifications.ErrClosed] and waits for the batch
// that is being written, if any. It does not close the sink behind. When ctx ends first,
// its error is returned; to get a dst that does not answer out of the way, close it and
// call Shutdown again. A second call is no error.
func (out *Outbound) Shutdown(ctx context.Context) error {
	out.shut.Do(func() { close(out.closed) })
	select {
	case out.turn <- struct{}{}:
		out.release()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
