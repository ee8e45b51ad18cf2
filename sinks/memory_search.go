package sinks

import (
	"context"
	"fmt"

	"github.com/regcast/regcast/notifications"
)

// searchStep is how many events one Events looks at while the engine is locked.
const searchStep = 10_000

// Event returns the newest event with that id; see [Searcher].
func (m *Memory) Event(_ context.Context, id string) (Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return Delivery{}, notifications.ErrClosed
	}
	for s := m.next; s > m.first; s-- {
		if m.at(s-1).event.ID == id {
			return m.delivery(s - 1), nil
		}
	}
	return Delivery{}, fmt.Errorf("event %s: %w", id, ErrNotFound)
}

// Events lists events; see [Searcher].
func (m *Memory) Events(_ context.Context, q EventQuery) (EventPage, error) {
	match, err := q.Matcher()
	if err != nil {
		return EventPage{}, fmt.Errorf("search events: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return EventPage{}, notifications.ErrClosed
	}
	first, next := m.first, m.next // of what is left to look at
	if !q.Since.IsZero() {
		first, _ = m.since(q.Since)
	}
	if !q.Until.IsZero() {
		next, _ = m.since(q.Until)
	}
	switch {
	case q.After != 0 && q.OldestFirst:
		first = max(first, min(q.After, next)+1)
	case q.After != 0:
		next = min(next, q.After)
	}
	var page EventPage
	limit := orDefault(q.Limit, defaultList)
	for looked := 0; first < next && looked < searchStep && len(page.Events) < limit; looked++ {
		if q.OldestFirst {
			page.Next = first
			first++
		} else {
			next--
			page.Next = next
		}
		if match.Match(m.at(page.Next).event) {
			page.Events = append(page.Events, m.delivery(page.Next))
		}
	}
	if first >= next {
		page.Next = 0
	}
	return page, nil
}

// Settled tells whether a cursor is done with an event; see [Searcher].
func (m *Memory) Settled(_ context.Context, cursor string, sequence uint64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return false, notifications.ErrClosed
	}
	c := m.cursors[cursor]
	if c == nil {
		return false, fmt.Errorf("cursor %q: %w", cursor, ErrNotFound)
	}
	return c.ledger.Progress().Settled(sequence), nil
}

// delivery returns what is stored with that sequence. The caller holds mu.
func (m *Memory) delivery(sequence uint64) Delivery {
	e := m.at(sequence)
	return Delivery{Event: e.event, Sequence: sequence, Stored: e.stored, Size: e.size}
}
