package sinks

import (
	"cmp"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
)

// A batch is frozen once it is formed: it is offered again and again as it is, until it
// is done with or split.
type batch struct {
	items   []*item // by sequence
	events  []*notifications.Event
	attempt Attempt
	past    past      // of its events, before they were in this batch
	since   time.Time // when it was ready to be offered
	next    *batch    // to be offered when this one is done with: the rest of what was split
	err     error     // the sink's answer
}

func (b *batch) sort() {
	slices.SortFunc(b.items, func(x, y *item) int { return cmp.Compare(x.Sequence, y.Sequence) })
}

// freeze makes b ready for its first attempt.
func (b *batch) freeze(replay string, now time.Time) {
	b.events = b.events[:0]
	first, last := b.items[0], b.items[len(b.items)-1]
	b.attempt = Attempt{
		Events: len(b.items), First: first.Sequence, Last: last.Sequence, Sequences: b.attempt.Sequences[:0],
		Stored: first.Stored, Replay: replay,
		FirstTried: b.past.first, Held: b.past.held,
	}
	if first.Parked { // alone, and the same batch as before
		b.attempt.Number, b.past.attempts = b.past.attempts, 0
	}
	for _, it := range b.items {
		b.events = append(b.events, it.Event)
		b.attempt.Sequences = append(b.attempt.Sequences, it.Sequence)
		b.attempt.Bytes += it.Size
		b.attempt.OutOfOrder = b.attempt.OutOfOrder || it.Parked
	}
	b.since = now
}

// offered counts the attempt that begins now.
func (b *batch) offered(now time.Time) {
	a := &b.attempt
	a.Number++
	a.Started = now
	if a.FirstTried.IsZero() {
		a.FirstTried = now
	} else {
		a.Held += now.Sub(b.since)
	}
}

// withdraw takes the last attempt back: it was not the batch's fault.
func (b *batch) withdraw(now time.Time) {
	a := &b.attempt
	a.Number--
	if a.FirstTried.Equal(a.Started) {
		a.FirstTried = time.Time{}
	} else {
		a.Held += now.Sub(a.Started)
	}
	b.since = now
}

// history is what the events of b take along when they leave it undelivered.
func (b *batch) history() past {
	return past{attempts: b.past.attempts + b.attempt.Number, first: b.attempt.FirstTried, held: b.attempt.Held}
}

// cut says how many events of b, from the first, make the first part when it is split:
// as many as have at most maxBytes together, or half if maxBytes is 0.
func (b *batch) cut(maxBytes int) int {
	if maxBytes <= 0 {
		return len(b.items) / 2
	}
	bytes := 0
	for i, it := range b.items {
		if bytes += it.Size; bytes > maxBytes {
			return max(i, 1)
		}
	}
	return len(b.items)
}

// batchQueue is first in, first out.
type batchQueue []*batch

func (q *batchQueue) push(b *batch) { *q = append(*q, b) }

func (q *batchQueue) pop() *batch {
	b := (*q)[0]
	(*q)[0] = nil
	*q = (*q)[1:]
	return b
}
