package sinks

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
)

// defaultList is how many entries a listing returns when its query does not say.
const defaultList = 1000

// memoryMorgue holds the dead letters of a Memory, oldest first.
type memoryMorgue struct {
	letters []DeadLetter
	lastID  uint64
	max     int
}

// bury adds the dead letter of s, which is about e, and says how many had to go for it.
func (g *memoryMorgue) bury(cursor string, s Settlement, e *notifications.Event, now time.Time) (cut uint64) {
	d := DeadLetter{Reason: DeadManual}
	if s.Dead != nil {
		d = *s.Dead
	}
	d.Cursor, d.Sequence, d.Last, d.Count, d.Event, d.Buried = cursor, s.Sequence, 0, 1, e, now.UTC()
	d.Excerpt = bytes.Clone(d.Excerpt[:min(len(d.Excerpt), MaxExcerpt)])
	return g.add(d)
}

// evicted records that count pending events from first to last were cut. Cuts that
// follow each other are one record.
func (g *memoryMorgue) evicted(cursor string, first, last, count uint64, now time.Time) (cut uint64) {
	for i := len(g.letters) - 1; i >= 0; i-- {
		d := &g.letters[i]
		if d.Cursor != cursor {
			continue
		}
		if d.Reason == DeadEvicted && d.Last == first-1 {
			d.Last, d.Buried = last, now
			d.Count += count
			return 0
		}
		break
	}
	return g.add(DeadLetter{Cursor: cursor, Reason: DeadEvicted, Sequence: first, Last: last, Count: count, Buried: now})
}

func (g *memoryMorgue) add(d DeadLetter) (cut uint64) {
	g.lastID++
	d.ID = g.lastID
	g.letters, cut = appendBounded(g.letters, d, g.max)
	return cut
}

// appendBounded appends v to list, from which the oldest goes if it is full.
func appendBounded[T any](list []T, v T, limit int) ([]T, uint64) {
	if len(list) < limit {
		return append(list, v), 0
	}
	var zero T
	list[0] = zero
	return append(list[1:], v), 1
}

// DeadLetters lists dead letters, oldest first.
func (m *Memory) DeadLetters(_ context.Context, q DeadQuery) ([]DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, notifications.ErrClosed
	}
	m.expireDead(time.Now())
	return m.morgue.find(q)
}

// find lists what q selects, oldest first.
func (g *memoryMorgue) find(q DeadQuery) (found []DeadLetter, err error) {
	match, err := q.matcher()
	if err != nil {
		return nil, err
	}
	limit := orDefault(q.Limit, defaultList)
	for i := range g.letters {
		if len(found) == limit {
			break
		}
		if d := &g.letters[i]; match(d) {
			found = append(found, *d)
		}
	}
	return found, nil
}

// drop forgets the letters with these IDs and says how many there were.
func (g *memoryMorgue) drop(ids ...uint64) int {
	before := len(g.letters)
	set := setOf(ids)
	g.letters = slices.DeleteFunc(g.letters, func(d DeadLetter) bool { return set[d.ID] })
	return before - len(g.letters)
}

// expireDead forgets the dead letters that are older than MaxDeadAge.
func (m *Memory) expireDead(now time.Time) {
	before := now.Add(-m.opts.MaxDeadAge)
	n := 0
	for n < len(m.morgue.letters) && m.morgue.letters[n].Buried.Before(before) {
		n++
	}
	m.morgue.letters = slices.Delete(m.morgue.letters, 0, n)
	m.stats.CutDead += uint64(n)
}

// DropDead forgets the dead letters with these IDs.
func (m *Memory) DropDead(_ context.Context, ids ...uint64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return 0, notifications.ErrClosed
	}
	return m.morgue.drop(ids...), nil
}

func setOf(ids []uint64) map[uint64]bool {
	set := make(map[uint64]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// DeadCount counts the dead letters of a cursor, by reason.
func (m *Memory) DeadCount(_ context.Context, cursor string) (map[DeadReason]uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, notifications.ErrClosed
	}
	m.expireDead(time.Now())
	counts := make(map[DeadReason]uint64)
	for _, d := range m.morgue.letters {
		if d.Cursor == cursor {
			counts[d.Reason]++
		}
	}
	return counts, nil
}

// DeadCursor opens a cursor over dead letters; see [Morgue].
func (m *Memory) DeadCursor(ctx context.Context, name string, q DeadQuery) (Cursor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !ValidCursorName(name) {
		return nil, fmt.Errorf("cursor %q: %w", name, ErrName)
	}
	if _, err := q.matcher(); err != nil {
		return nil, fmt.Errorf("cursor %q: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, notifications.ErrClosed
	}
	if m.replaying[name] {
		return nil, fmt.Errorf("cursor %q: %w", name, ErrInUse)
	}
	m.replaying[name] = true
	return NewDeadCursor(m, DeadCursorOptions{Name: name, Query: q, Newest: m.morgue.lastID, Ended: m.closed, Closed: func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.replaying, name)
	}}), nil
}

// memoryWard holds the quarantined bodies of a Memory, oldest first.
type memoryWard struct {
	bodies []notifications.Quarantined
	lastID uint64
	max    int
}

// add keeps bad and says how many bodies had to go for it.
func (w *memoryWard) add(bad []notifications.Quarantined, now time.Time) (cut uint64) {
	for _, q := range bad {
		w.lastID++
		q.ID = w.lastID
		if q.Received.IsZero() {
			q.Received = now
		}
		q.Body = bytes.Clone(q.Body[:min(len(q.Body), notifications.MaxQuarantinedBody)])
		var n uint64
		w.bodies, n = appendBounded(w.bodies, q, w.max)
		cut += n
	}
	return cut
}

// Quarantined lists bodies with an ID above after, oldest first.
func (m *Memory) Quarantined(_ context.Context, after uint64, limit int) ([]notifications.Quarantined, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, notifications.ErrClosed
	}
	i, _ := slices.BinarySearchFunc(m.ward.bodies, after+1, func(q notifications.Quarantined, id uint64) int {
		return int(q.ID - id)
	})
	found := m.ward.bodies[i:]
	return slices.Clone(found[:min(len(found), orDefault(limit, defaultList))]), nil
}

// DropQuarantined forgets the bodies with these IDs.
func (m *Memory) DropQuarantined(_ context.Context, ids ...uint64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return 0, notifications.ErrClosed
	}
	before := len(m.ward.bodies)
	drop := setOf(ids)
	m.ward.bodies = slices.DeleteFunc(m.ward.bodies, func(q notifications.Quarantined) bool { return drop[q.ID] })
	return before - len(m.ward.bodies), nil
}
