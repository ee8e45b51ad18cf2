package notificationstest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
)

// A Slow sink takes its time with every write. Writes do not wait for each other.
type Slow struct {
	dst   notifications.Sink
	delay time.Duration

	mu             sync.Mutex
	inFlight, peak int
}

// NewSlow returns a sink in front of dst that waits for delay before each write. A nil
// dst takes everything.
func NewSlow(dst notifications.Sink, delay time.Duration) *Slow {
	return &Slow{dst: dst, delay: delay}
}

// Write waits and hands batch over. When ctx ends first, its error is returned and batch
// does not reach dst.
func (s *Slow) Write(ctx context.Context, batch []*notifications.Event) error {
	s.enter(1)
	defer s.enter(-1)
	timer := time.NewTimer(s.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return pass(ctx, s.dst, batch)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Slow) enter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight += n
	s.peak = max(s.peak, s.inFlight)
}

// Peak is how many writes were in flight at once, at the most.
func (s *Slow) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// A Gate is a sink that holds every write until it is opened.
type Gate struct {
	dst notifications.Sink

	mu      sync.Mutex
	open    chan struct{} // closed while the gate is open
	held    int
	changed chan struct{} // closed when held grows; nil while nobody waits
}

// NewGate returns a shut gate in front of dst. A nil dst takes everything.
func NewGate(dst notifications.Sink) *Gate {
	return &Gate{dst: dst, open: make(chan struct{})}
}

// Open lets the writes that are held and all later ones pass.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isOpen() {
		close(g.open)
	}
}

// Shut holds writes again.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOpen() {
		g.open = make(chan struct{})
	}
}

func (g *Gate) isOpen() bool {
	select {
	case <-g.open:
		return true
	default:
		return false
	}
}

// Write waits for the gate to open and hands batch over. When ctx ends first, its error
// is returned and batch does not reach dst.
func (g *Gate) Write(ctx context.Context, batch []*notifications.Event) error {
	select {
	case <-g.arrive():
		g.leave()
		return pass(ctx, g.dst, batch)
	case <-ctx.Done():
		g.leave()
		return ctx.Err()
	}
}

func (g *Gate) arrive() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held++
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
	return g.open
}

func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held--
}

// WaitHeld waits until at least n writes are held at the gate. When ctx ends first, its
// error is returned.
func (g *Gate) WaitHeld(ctx context.Context, n int) error {
	for {
		changed := g.fewerThan(n)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d writes at the gate: %w", n, context.Cause(ctx))
		}
	}
}

// fewerThan returns nil if n writes are held, else what is closed when one arrives.
func (g *Gate) fewerThan(n int) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held >= n {
		return nil
	}
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.changed
}
