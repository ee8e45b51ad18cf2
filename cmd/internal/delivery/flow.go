package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// A Flow moves events from one cursor to an endpoint: what is new, or what a job delivers
// again. Its exported fields are set before use and stay.
type Flow struct {
	Name   string // of the cursor
	Logger *slog.Logger
	Claim  func(context.Context) (sinks.Cursor, error) // opens the cursor
	Adapt  func(*sinks.DeliverOptions)                 // what is its own in how to deliver; nil: nothing
	Ended  func()                                      // told once the cursor is at its end; nil: it has none

	cancel context.CancelFunc // ends run; drains first
	done   chan struct{}      // closed when run has returned; nil before begin

	mu     sync.Mutex
	cursor sinks.Cursor // nil while run could not take it back
}

// begin starts delivering to ep. drain is how long requests under way may go on after the
// flow was told to end. It is joined by Halt.
func (f *Flow) begin(ep *endpoints.Endpoint, drain time.Duration) {
	opts := ep.DeliverOptions()
	if opts.Drain = drain; drain == 0 {
		opts.Drain = -1 // Deliver takes 0 for its default
	}
	if f.Adapt != nil {
		f.Adapt(opts)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.done = cancel, make(chan struct{})
	go f.run(ctx, ep, opts)
}

// deliverAgain is how long to wait when delivering ended by an error of the engine.
const deliverAgain = 5 * time.Second

// run delivers until ctx or the cursor ends. An engine that fails (a disk that cannot be
// read) is tried again, with a cursor of its own so that no loan of the last try is left:
// what is stored is not given up on.
func (f *Flow) run(ctx context.Context, ep *endpoints.Endpoint, opts *sinks.DeliverOptions) {
	defer close(f.done)
	for {
		err := f.deliver(ctx, ep, opts)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if f.Ended != nil {
				f.Ended()
			}
			return
		}
		f.Logger.Error("delivering stopped, trying again", "error", err, "after", deliverAgain)
		select {
		case <-ctx.Done():
			return
		case <-time.After(deliverAgain):
		}
	}
}

// deliver is one try of run.
func (f *Flow) deliver(ctx context.Context, ep *endpoints.Endpoint, opts *sinks.DeliverOptions) error {
	cursor, err := f.Place(ctx)
	if err != nil {
		return err
	}
	err = sinks.Deliver(ctx, cursor, ep, opts)
	if err != nil {
		err = errors.Join(err, f.LetGo())
	}
	return err
}

// Place returns the place in the engine, which it takes first if need be.
func (f *Flow) Place(ctx context.Context) (sinks.Cursor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cursor == nil {
		cursor, err := f.Claim(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: opening its place in the engine: %w", f.Name, err)
		}
		f.cursor = cursor
	}
	return f.cursor, nil
}

// held returns the place in the engine, nil while the flow has none.
func (f *Flow) held() sinks.Cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cursor
}

// LetGo gives the place back.
func (f *Flow) LetGo() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cursor == nil {
		return nil
	}
	cursor := f.cursor
	f.cursor = nil
	if err := cursor.Close(); err != nil {
		return fmt.Errorf("%s: closing its place: %w", f.Name, err)
	}
	return nil
}

// end tells run to end; Halt waits for it.
func (f *Flow) end() {
	if f.cancel != nil {
		f.cancel()
	}
}

// Halt ends run and waits for it, but keeps the place.
func (f *Flow) Halt(ctx context.Context) error {
	if f.done == nil {
		return nil
	}
	f.cancel()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: waiting for requests under way: %w", f.Name, ctx.Err())
	}
}

// stop is Halt, and gives the place back.
func (f *Flow) stop(ctx context.Context) error {
	if err := f.Halt(ctx); err != nil {
		return err // run has the place still
	}
	return f.LetGo()
}
