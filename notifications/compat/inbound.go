package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	events "github.com/docker/go-events"

	"github.com/regcast/regcast/notifications"
)

// DefaultTimeout bounds a write of an [Inbound] whose options do not say.
const DefaultTimeout = 10 * time.Second

// formatDistribution is the Provenance.Format of events that were converted.
const formatDistribution = "distribution"

// An Inbound is a go-events sink that writes to one of ours. It is safe for concurrent
// use.
type Inbound struct {
	dst     notifications.Sink
	timeout time.Duration

	mu     sync.Mutex
	closed bool
	writes sync.WaitGroup // going on
}

// InboundOptions are the options of an [Inbound]. nil means the defaults.
type InboundOptions struct {
	Timeout time.Duration // of one write, since go-events has no contexts; 0 is DefaultTimeout
}

var _ events.Sink = (*Inbound)(nil)

// NewInbound returns a go-events sink in front of dst. The caller closes it, and then
// shuts dst down.
func NewInbound(dst notifications.Sink, opts *InboundOptions) *Inbound {
	in := &Inbound{dst: dst, timeout: DefaultTimeout}
	if opts != nil && opts.Timeout > 0 {
		in.timeout = opts.Timeout
	}
	return in
}

// Write writes one event, as value or pointer: one of ours as it is, anything else by its
// JSON, which must be that of an event, as that of distribution's notifications.Event is.
//
// Errors: exactly [events.ErrSinkClosed] after Close or when dst is closed, as go-events
// compares it with ==; one for which [notifications.IsPermanent] is true if it is no
// event; that of dst otherwise. A RetryingSink of go-events in front of an Inbound would
// repeat what is permanent for ever: retry behind it.
func (in *Inbound) Write(event events.Event) error {
	if !in.enter() {
		return events.ErrSinkClosed
	}
	defer in.writes.Done()
	e, err := convert(event)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), in.timeout)
	defer cancel()
	err = in.dst.Write(ctx, []*notifications.Event{e})
	if errors.Is(err, notifications.ErrClosed) {
		return events.ErrSinkClosed
	}
	return err
}

// Close waits for the writes that are going on and makes later ones return
// [events.ErrSinkClosed]. It does not touch the sink behind. It always returns nil, at a
// second call too.
func (in *Inbound) Close() error {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.writes.Wait()
	return nil
}

// enter begins a write unless in is closed.
func (in *Inbound) enter() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.closed {
		in.writes.Add(1)
	}
	return !in.closed
}

func convert(event events.Event) (*notifications.Event, error) {
	switch e := event.(type) {
	case *notifications.Event:
		if e != nil {
			return e, nil
		}
	case notifications.Event:
		return &e, nil
	}
	raw, err := json.Marshal(event)
	if err != nil {
		return nil, notifications.Permanent(fmt.Errorf("encoding a %T: %w", event, err))
	}
	e, err := notifications.ParseEvent(string(raw))
	if err != nil {
		return nil, notifications.Permanent(fmt.Errorf("reading a %T as an event: %w", event, err))
	}
	e.Provenance.Format = formatDistribution
	return e, nil
}
