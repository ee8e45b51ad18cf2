package notificationstest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/regcast/regcast/notifications"
)

// A Recorder is a sink that takes everything and remembers it. The zero value is ready
// to use.
type Recorder struct {
	mu      sync.Mutex
	closed  bool
	batches [][]*notifications.Event
	events  int
	changed chan struct{} // closed at the next Write; nil while nobody waits
}

// Write remembers a copy of batch. An empty batch is remembered too.
// Errors: ctx's if it has ended before; [notifications.ErrClosed] after Close.
func (r *Recorder) Write(ctx context.Context, batch []*notifications.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return notifications.ErrClosed
	}
	r.batches = append(r.batches, slices.Clone(batch))
	r.events += len(batch)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return nil
}

// Close makes every later Write return [notifications.ErrClosed].
func (r *Recorder) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// Batches returns what was written, one slice for each Write, in order.
func (r *Recorder) Batches() [][]*notifications.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

// Events returns all events that were written, in order, repeats included.
func (r *Recorder) Events() []*notifications.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.batches...)
}

// Len counts the events that were written.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

// Reset forgets what was written.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches, r.events = nil, 0
}

// Wait waits until at least n events were written and returns all that were. When ctx
// ends first it returns what there is, with ctx's error.
func (r *Recorder) Wait(ctx context.Context, n int) ([]*notifications.Event, error) {
	for {
		changed := r.fewerThan(n)
		if changed == nil {
			return r.Events(), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			events := r.Events()
			return events, fmt.Errorf("waiting for %d events, have %d: %w", n, len(events), context.Cause(ctx))
		}
	}
}

// fewerThan returns nil if there are n events, else what is closed when one is added.
func (r *Recorder) fewerThan(n int) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events >= n {
		return nil
	}
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}
