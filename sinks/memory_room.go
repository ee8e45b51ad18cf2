package sinks

import (
	"fmt"
	"time"

	"github.com/regcast/regcast/notifications"
)

// Healthy returns notifications.ErrClosed after Shutdown, and nil before: nothing else can
// go wrong.
func (m *Memory) Healthy() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return notifications.ErrClosed
	}
	return nil
}

// Accepting says why events cannot be stored now: notifications.ErrClosed, or
// notifications.ErrFull as long as there is no room for what was refused last.
func (m *Memory) Accepting() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return notifications.ErrClosed
	}
	if m.refused.events > 0 {
		if _, _, err := m.room(m.refused.events, m.refused.bytes); err != nil {
			return err
		}
		m.refused.events = 0
	}
	return nil
}

// makeRoom lets the oldest events go until n events of together size bytes fit.
func (m *Memory) makeRoom(n int, size int64, now time.Time) error {
	if n > m.opts.MaxEvents || size > m.opts.MaxBytes {
		return notifications.Permanent(fmt.Errorf("store %d events of %d bytes: more than the engine holds", n, size))
	}
	last, bytes, err := m.room(n, size)
	if err != nil || last == m.first {
		return err
	}
	for _, c := range m.cursors {
		if c.retired {
			m.evict(c, last-1, now)
		}
	}
	for ; m.first < last; m.first++ {
		*m.at(m.first) = memoryEvent{}
	}
	m.stats.Bytes = bytes
	return nil
}

// room finds what has to go for n events of together size bytes: the events before last,
// which leaves bytes of the others. It returns notifications.ErrFull if they may not go.
func (m *Memory) room(n int, size int64) (last uint64, bytes int64, err error) {
	last, bytes = m.first, m.stats.Bytes
	for last < m.next && (int(m.next-last)+n > m.opts.MaxEvents || bytes+size > m.opts.MaxBytes) {
		bytes -= int64(m.at(last).size)
		last++
	}
	if last == m.first {
		return last, bytes, nil
	}
	for _, c := range m.cursors {
		if !c.retired && c.ledger.Floor() < last-1 {
			return last, bytes, notifications.ErrFull
		}
	}
	return last, bytes, nil
}

// evict cuts what c has not settled up to and including last.
func (m *Memory) evict(c *memoryCursor, last uint64, now time.Time) {
	first := c.ledger.Progress().Low() + 1
	if n := c.ledger.Cut(first, last, Evicted); n > 0 {
		m.stats.CutDead += m.morgue.evicted(c.name, first, last, n, now)
	}
}
