package sinks

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications"
)

// memoryCursor is a cursor of a Memory, held or not. All but the channel is under the
// engine's lock.
type memoryCursor struct {
	engine  *Memory
	name    string
	ledger  *Ledger
	retired bool
	held    *memoryHold // nil: nobody holds it
}

// memoryHold is what the holder of a cursor has: its Cursor. The next holder gets
// another, so that a former one cannot settle what is not his any more.
type memoryHold struct {
	*memoryCursor
	wake   chan struct{} // something may be free now; capacity 1
	closed chan struct{}
}

// Cursor opens the cursor of that name; see [Cursors].
func (m *Memory) Cursor(ctx context.Context, name string, opts *CursorOptions) (Cursor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !ValidCursorName(name) {
		return nil, fmt.Errorf("cursor %q: %w", name, ErrName)
	}
	if opts == nil {
		opts = new(CursorOptions)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, notifications.ErrClosed
	}
	c := m.cursors[name]
	switch {
	case c == nil:
		first, err := opts.From.Resolve(m.first, m.next, m.since)
		if err != nil {
			return nil, fmt.Errorf("cursor %q: %w", name, err)
		}
		c = &memoryCursor{engine: m, name: name, ledger: NewLedger(first - 1)}
		m.cursors[name] = c
	case c.held != nil:
		return nil, fmt.Errorf("cursor %q: %w", name, ErrInUse)
	}
	c.retired = false
	c.ledger.SetEnd(opts.To)
	m.evict(c, m.first-1, time.Now().UTC()) // what went while it was bounded and done
	c.held = &memoryHold{memoryCursor: c, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	return c.held, nil
}

// CursorInfos lists all cursors by name.
func (m *Memory) CursorInfos(context.Context) ([]CursorInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, notifications.ErrClosed
	}
	infos := make([]CursorInfo, 0, len(m.cursors))
	for _, name := range sortedKeys(m.cursors, "") {
		c := m.cursors[name]
		info := c.ledger.Info(m.next - 1)
		info.Name, info.Held = name, c.held != nil
		if info.Pending > 0 {
			info.OldestPending = m.at(info.LowWater + 1).stored
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// RetireCursor lets a cursor that nobody holds hold nothing back any more.
func (m *Memory) RetireCursor(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return notifications.ErrClosed
	}
	c := m.cursors[name]
	if c == nil {
		return fmt.Errorf("cursor %q: %w", name, ErrNotFound)
	}
	if c.held != nil {
		return fmt.Errorf("cursor %q: %w", name, ErrInUse)
	}
	c.retired = true
	return nil
}

// DeleteCursor forgets a cursor that nobody holds.
func (m *Memory) DeleteCursor(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return notifications.ErrClosed
	}
	if c := m.cursors[name]; c != nil && c.held != nil {
		return fmt.Errorf("cursor %q: %w", name, ErrInUse)
	}
	delete(m.cursors, name)
	return nil
}

func sortedKeys[V any](m map[string]V, prefix string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for k := range maps.Keys(m) {
			if strings.HasPrefix(k, prefix) && !yield(k) {
				return
			}
		}
	})
}

// signal wakes a waiting Claim.
func (c *memoryCursor) signal() {
	if c.held == nil {
		return
	}
	select {
	case c.held.wake <- struct{}{}:
	default:
	}
}

func (h *memoryHold) Name() string { return h.name }

func (h *memoryHold) Claim(ctx context.Context, into []Delivery) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, due, err := h.lend(into)
		if n > 0 || err != nil {
			return n, err
		}
		if err := h.wait(ctx, due); err != nil {
			return 0, err
		}
	}
}

// lend fills into with what is free; with nothing free it says when a parked event
// will be, zero for never.
func (h *memoryHold) lend(into []Delivery) (n int, due time.Time, err error) {
	m := h.engine
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := h.usable(); err != nil {
		return 0, due, err
	}
	now := time.Now()
	for n < len(into) {
		s, ok := h.ledger.Next(now, m.next-1)
		if !ok {
			break
		}
		d := &into[n]
		*d = m.delivery(s)
		d.Tries, d.Parked = h.ledger.Lend(s)
		n++
	}
	if n == 0 && h.ledger.Done() {
		return 0, due, io.EOF
	}
	due, _ = h.ledger.NextDue()
	return n, due, nil
}

// wait returns when something may be free.
func (h *memoryHold) wait(ctx context.Context, due time.Time) error {
	var timer <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-h.wake:
	case <-timer:
	case <-ctx.Done():
		return ctx.Err()
	case <-h.closed:
		return notifications.ErrClosed
	case <-h.engine.closed:
		return notifications.ErrClosed
	}
	return nil
}

// usable says whether the holder still holds its cursor.
func (h *memoryHold) usable() error {
	if h.held != h || h.engine.isClosed() {
		return notifications.ErrClosed
	}
	return nil
}

func (h *memoryHold) Settle(settlements ...Settlement) error {
	m := h.engine
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := h.usable(); err != nil {
		return err
	}
	for _, s := range settlements {
		if !h.ledger.Settle(s) {
			continue
		}
		if s.Outcome == DeadLettered {
			m.stats.CutDead += m.morgue.bury(h.name, s, m.at(s.Sequence).event, time.Now())
		}
	}
	h.signal()
	return nil
}

func (h *memoryHold) Revive(ctx context.Context, q DeadQuery) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m := h.engine
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := h.usable(); err != nil {
		return 0, err
	}
	q.Cursor = h.name
	letters, err := m.morgue.find(q)
	if err != nil {
		return 0, fmt.Errorf("revive for cursor %s: %w", h.name, err)
	}
	var ids []uint64
	for _, d := range letters {
		if d.Event != nil && d.Sequence >= m.first && h.ledger.Revive(d.Sequence) {
			ids = append(ids, d.ID)
		}
	}
	m.morgue.drop(ids...)
	h.signal()
	return len(ids), nil
}

func (h *memoryHold) Close() error {
	h.engine.mu.Lock()
	defer h.engine.mu.Unlock()
	if h.held != h {
		return nil
	}
	h.ledger.ReturnAll()
	h.held = nil
	close(h.closed)
	return nil
}
