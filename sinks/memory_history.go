package sinks

import (
	"context"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
)

// memoryHistory holds the attempts of a Memory, oldest first.
type memoryHistory struct {
	attempts []AttemptRecord
	lastID   uint64
}

// RecordAttempts keeps attempts; see [History].
func (m *Memory) RecordAttempts(attempts ...AttemptRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return
	}
	m.expireAttempts(time.Now())
	for i := range attempts {
		if !m.opts.History.Keeps(&attempts[i]) {
			continue
		}
		m.history.lastID++
		a := attempts[i]
		a.ID = m.history.lastID
		a.Excerpt = a.Excerpt[:min(len(a.Excerpt), MaxExcerpt)]
		var cut uint64
		m.history.attempts, cut = appendBounded(m.history.attempts, a, m.opts.MaxAttempts)
		m.stats.CutAttempts += cut
	}
}

// expireAttempts forgets the attempts that are too old.
func (m *Memory) expireAttempts(now time.Time) {
	before := now.Add(-HistoryAge)
	n := 0
	for n < len(m.history.attempts) && m.history.attempts[n].At.Before(before) {
		n++
	}
	m.history.attempts = slices.Delete(m.history.attempts, 0, n)
}

// Attempts lists attempts; see [History].
func (m *Memory) Attempts(_ context.Context, q AttemptQuery) ([]AttemptRecord, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, notifications.ErrClosed
	}
	m.expireAttempts(time.Now())
	all, limit := m.history.attempts, orDefault(q.Limit, defaultList)
	var found []AttemptRecord
	for i := 0; i < len(all) && len(found) < limit; i++ {
		a := &all[i]
		if !q.OldestFirst {
			a = &all[len(all)-1-i]
		}
		after := q.After == 0 || (a.ID > q.After) == q.OldestFirst && a.ID != q.After
		if after && q.Match(a) {
			found = append(found, *a)
		}
	}
	return found, nil
}
