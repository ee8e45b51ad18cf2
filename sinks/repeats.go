package sinks

import (
	"hash/maphash"
	"time"

	"github.com/regcast/regcast/notifications"
)

// Repeats remembers, in a window, which events an engine has stored, by id and content,
// so that what a sender posts again is not stored again. It keeps hashes with a seed of
// its own, 24 bytes and two map entries each, and no event. Adding and forgetting take
// the same time however many events have the same id. A Repeats is not safe for
// concurrent use, except for [Repeats.Key].
type Repeats struct {
	seed  maphash.Seed
	max   int
	age   time.Duration
	known map[RepeatKey]struct{} // those in the window, each of them once
	ids   map[uint64]int         // hash of an id -> how many in the window have it
	ring  []repeat               // position p is at p % len
	tail  uint64                 // position of the oldest
	head  uint64                 // position of the next
}

type repeat struct {
	RepeatKey
	at time.Duration // since epoch of the Unix clock
}

// A RepeatKey is what a [Repeats] knows of an event.
type RepeatKey struct{ id, content uint64 }

// Repeated says how an event relates to those in the window.
type Repeated uint8

// What [Repeats.Add] finds.
const (
	Fresh     Repeated = iota // no event with its id
	Duplicate                 // one with its id and its content
	Conflict                  // only ones with its id and other content
)

// The dedup window of every engine, by default.
const (
	RepeatsMax = 200_000
	RepeatsAge = 10 * time.Minute
)

// NewRepeats returns an empty window of at most limit events (0: [RepeatsMax]), each for
// at most age (0: [RepeatsAge]).
func NewRepeats(limit int, age time.Duration) *Repeats {
	if limit <= 0 {
		limit = RepeatsMax
	}
	if age <= 0 {
		age = RepeatsAge
	}
	return &Repeats{
		seed: maphash.MakeSeed(), max: limit, age: age,
		known: make(map[RepeatKey]struct{}), ids: make(map[uint64]int),
	}
}

// Key returns the key of e, whose wire form is form. It is safe for concurrent use, and
// is apart from Add so that the work is done outside of the engine's lock.
func (r *Repeats) Key(e *notifications.Event, form []byte) RepeatKey {
	return RepeatKey{maphash.String(r.seed, e.ID), maphash.Bytes(r.seed, form)}
}

// Add looks k up among the events of the window at now, and adds it unless it is a
// [Duplicate].
func (r *Repeats) Add(k RepeatKey, now time.Time) Repeated {
	at := time.Duration(now.UnixNano())
	for r.tail < r.head && (r.slot(r.tail).at < at-r.age || r.head-r.tail >= uint64(r.max)) {
		r.forgetOldest()
	}
	if _, ok := r.known[k]; ok {
		return Duplicate
	}
	if r.head-r.tail == uint64(len(r.ring)) {
		r.grow()
	}
	*r.slot(r.head) = repeat{k, at}
	r.head++
	r.known[k] = struct{}{}
	r.ids[k.id]++
	if r.ids[k.id] > 1 {
		return Conflict
	}
	return Fresh
}

// Undo forgets the n events that were added last: they could not be stored.
func (r *Repeats) Undo(n int) {
	for ; n > 0 && r.head > r.tail; n-- {
		r.head--
		r.forget(r.slot(r.head).RepeatKey)
	}
}

// Len returns how many events are in the window.
func (r *Repeats) Len() int { return int(r.head - r.tail) }

func (r *Repeats) slot(position uint64) *repeat { return &r.ring[position%uint64(len(r.ring))] }

func (r *Repeats) forgetOldest() {
	r.forget(r.slot(r.tail).RepeatKey)
	r.tail++
}

func (r *Repeats) forget(k RepeatKey) {
	delete(r.known, k)
	if r.ids[k.id]--; r.ids[k.id] == 0 {
		delete(r.ids, k.id)
	}
}

func (r *Repeats) grow() {
	ring := make([]repeat, min(max(1024, 2*len(r.ring)), r.max))
	for p := r.tail; p < r.head; p++ {
		ring[p%uint64(len(ring))] = *r.slot(p)
	}
	r.ring = ring
}
