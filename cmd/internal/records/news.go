package records

import (
	"context"
	"sync"

	"github.com/regcast/regcast/notifications"
)

// News is an engine's Recorder that wakes those who wait for events.
type News struct {
	notifications.Recorder

	mu   sync.Mutex
	next chan struct{} // closed when something is recorded; nil while nobody waits
}

// Record records, and wakes.
func (n *News) Record(ctx context.Context, events []*notifications.Event, bad []notifications.Quarantined) (notifications.Receipt, error) {
	receipt, err := n.Recorder.Record(ctx, events, bad)
	if receipt.Accepted > 0 {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.next != nil {
			close(n.next)
			n.next = nil
		}
	}
	return receipt, err
}

// wait returns what is closed when something is recorded after this call.
func (n *News) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}
