package records

import (
	"context"
	"sync"

	"github.com/regcast/regcast/notifications"
)

// A Door is how events come into an engine.
type Door interface {
	notifications.Sink
	notifications.Recorder
}

// News is the door of an engine, and wakes those who wait for events.
type News struct {
	Door

	mu   sync.Mutex
	next chan struct{} // closed when something is stored; nil while nobody waits
}

// Write stores events, and wakes.
func (n *News) Write(ctx context.Context, batch []*notifications.Event) error {
	err := n.Door.Write(ctx, batch)
	if err == nil {
		n.wake()
	}
	return err
}

// Record stores events and what could not be read, and wakes.
func (n *News) Record(ctx context.Context, events []*notifications.Event, bad []notifications.Quarantined) (notifications.Receipt, error) {
	receipt, err := n.Door.Record(ctx, events, bad)
	if receipt.Accepted > 0 {
		n.wake()
	}
	return receipt, err
}

func (n *News) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

// wait returns what is closed when something is stored after this call.
func (n *News) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}
