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

	// Heard is called with what has come after the engine has had it, and must not wait;
	// nil: nobody. An event tells what has happened whether it could be stored or not, and
	// be it for the second time: whoever sent it may not have been told of the first.
	Heard func(events []*notifications.Event)

	mu   sync.Mutex
	next chan struct{} // closed when something is stored; nil while nobody waits
}

// Write stores events, and wakes.
func (n *News) Write(ctx context.Context, batch []*notifications.Event) error {
	err := n.Door.Write(ctx, batch)
	if err == nil {
		n.wake()
	}
	n.tell(batch)
	return err
}

// Record stores events and what could not be read, and wakes.
func (n *News) Record(ctx context.Context, events []*notifications.Event, bad []notifications.Quarantined) (notifications.Receipt, error) {
	receipt, err := n.Door.Record(ctx, events, bad)
	if receipt.Accepted > 0 {
		n.wake()
	}
	n.tell(events)
	return receipt, err
}

func (n *News) tell(events []*notifications.Event) {
	if n.Heard != nil && len(events) > 0 {
		n.Heard(events)
	}
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
