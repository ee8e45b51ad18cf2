package sinks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
)

// MemoryOptions bound a [Memory]. The zero value means the defaults.
type MemoryOptions struct {
	MaxEvents      int           // events kept; 0: 100 000
	MaxBytes       int64         // of their wire form; 0: 64 MiB
	RepeatsMax     int           // events whose repeats are recognised; 0: [RepeatsMax]
	RepeatsAge     time.Duration // for how long; 0: [RepeatsAge]
	MaxDead        int           // dead letters kept; 0: 10 000. Beyond it the oldest goes
	MaxDeadAge     time.Duration // how long each is kept; 0: [DeadAge]
	MaxQuarantined int           // unreadable bodies kept; 0: 1000. Beyond it the oldest goes
	MaxStates      int           // values of the state store; 0: 10 000
	History        HistoryMode   // attempts kept; "": all
	MaxAttempts    int           // of these; 0: 10 000. Beyond it the oldest goes
}

// MemoryStats counts what a [Memory] holds and what its bounds have cut.
type MemoryStats struct {
	Events         int    // in the ring
	Bytes          int64  // of their wire form
	Conflicts      uint64 // events stored although their id was there, because their content differs
	CutDead        uint64 // dead letters that went for newer ones, or by age
	CutQuarantined uint64 // quarantined bodies that went for newer ones
	CutAttempts    uint64 // attempts that went for newer ones
}

// Memory is the [Engine] that survives nothing: a bounded ring of events, for programs
// that may forget at a restart, and for tests. It is a [History] and a [Searcher] too.
// Events stay as history until the ring
// needs their room; when it does and a cursor that is not retired has not settled the
// oldest, Write and Record return notifications.ErrFull: every such cursor is treated as
// Required, and one event that stays parked fills the ring in the end. It starts no
// goroutine.
type Memory struct {
	opts MemoryOptions

	mu          sync.Mutex
	closed      chan struct{}
	ring        []memoryEvent // sequence s is at s % len
	first, next uint64        // what is stored: first <= s < next
	repeats     *Repeats
	cursors     map[string]*memoryCursor
	morgue      memoryMorgue
	replaying   map[string]bool // names of open cursors over dead letters
	history     memoryHistory
	ward        memoryWard
	states      map[string][]byte
	stats       MemoryStats

	refused struct { // what there was no room for; zero once there is
		events int
		bytes  int64
	}
}

type memoryEvent struct {
	event  *notifications.Event
	stored time.Time
	size   int
}

// NewMemory returns an empty engine. nil opts mean the defaults. Who made it shuts it
// down.
func NewMemory(opts *MemoryOptions) *Memory {
	var o MemoryOptions
	if opts != nil {
		o = *opts
	}
	o.MaxEvents = orDefault(o.MaxEvents, 100_000)
	o.MaxBytes = orDefault(o.MaxBytes, 64<<20)
	o.MaxDead = orDefault(o.MaxDead, 10_000)
	o.MaxQuarantined = orDefault(o.MaxQuarantined, 1000)
	o.MaxDeadAge = orDefault(o.MaxDeadAge, DeadAge)
	o.MaxStates = orDefault(o.MaxStates, 10_000)
	o.MaxAttempts = orDefault(o.MaxAttempts, 10_000)
	return &Memory{
		opts:      o,
		closed:    make(chan struct{}),
		first:     1,
		next:      1,
		repeats:   NewRepeats(o.RepeatsMax, o.RepeatsAge),
		cursors:   make(map[string]*memoryCursor),
		morgue:    memoryMorgue{max: o.MaxDead},
		replaying: make(map[string]bool),
		ward:      memoryWard{max: o.MaxQuarantined},
		states:    make(map[string][]byte),
	}
}

// orDefault returns v, or def if v is not positive.
func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Write is Record without a receipt.
func (m *Memory) Write(ctx context.Context, batch []*notifications.Event) error {
	_, err := m.Record(ctx, batch, nil)
	return err
}

// Record stores events and bad, all or nothing. A batch that could not fit an empty
// ring is refused with a permanent error.
func (m *Memory) Record(ctx context.Context, events []*notifications.Event, bad []notifications.Quarantined) (notifications.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return notifications.Receipt{}, err
	}
	in := intakes.Get().(*memoryIntake)
	defer in.done()
	in.read(events, m.repeats)

	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return notifications.Receipt{}, notifications.ErrClosed
	}
	now := time.Now().UTC()
	conflicts := in.sift(m.repeats, now)
	if err := m.makeRoom(in.fresh, in.bytes, now); err != nil {
		m.repeats.Undo(in.fresh)
		if errors.Is(err, notifications.ErrFull) {
			m.refused.events, m.refused.bytes = in.fresh, in.bytes
		}
		return notifications.Receipt{}, err
	}
	for i, e := range events {
		if in.news[i].fresh {
			m.push(memoryEvent{e, now, in.news[i].size})
		}
	}
	m.stats.Conflicts += conflicts
	m.stats.CutQuarantined += m.ward.add(bad, now)
	if in.fresh > 0 {
		for _, c := range m.cursors {
			c.signal()
		}
	}
	return notifications.Receipt{Accepted: in.fresh, Duplicates: len(events) - in.fresh, Quarantined: len(bad)}, nil
}

// memoryIntake is the work space of one Record.
type memoryIntake struct {
	news  []memoryNews // one per event
	form  []byte
	fresh int
	bytes int64 // of the fresh
}

type memoryNews struct {
	key   RepeatKey
	size  int
	fresh bool
}

var intakes = sync.Pool{New: func() any { return new(memoryIntake) }}

// done gives the work space back, unless it has grown out of the ordinary.
func (in *memoryIntake) done() {
	if cap(in.form) <= 64<<10 && cap(in.news) <= 1<<10 {
		intakes.Put(in)
	}
}

// read does what needs no lock.
func (in *memoryIntake) read(events []*notifications.Event, r *Repeats) {
	in.news = in.news[:0]
	for _, e := range events {
		in.form = e.AppendJSON(in.form[:0])
		in.news = append(in.news, memoryNews{key: r.Key(e, in.form), size: len(in.form)})
	}
}

// sift finds out what is fresh, and says how much of it has the id of another event.
func (in *memoryIntake) sift(r *Repeats, now time.Time) (conflicts uint64) {
	in.fresh, in.bytes = 0, 0
	for i := range in.news {
		n := &in.news[i]
		found := r.Add(n.key, now)
		if n.fresh = found != Duplicate; !n.fresh {
			continue
		}
		in.fresh++
		in.bytes += int64(n.size)
		if found == Conflict {
			conflicts++
		}
	}
	return conflicts
}

// push appends e, for which there is room.
func (m *Memory) push(e memoryEvent) {
	if n := len(m.ring); int(m.next-m.first) == n {
		ring := make([]memoryEvent, min(max(64, 2*n), m.opts.MaxEvents))
		for s := m.first; s < m.next; s++ {
			ring[s%uint64(len(ring))] = *m.at(s)
		}
		m.ring = ring
	}
	if m.next > m.first { // the wall clock may have been set back; Since needs order
		if before := m.at(m.next - 1).stored; e.stored.Before(before) {
			e.stored = before
		}
	}
	m.next++
	*m.at(m.next - 1) = e
	m.stats.Bytes += int64(e.size)
}

func (m *Memory) at(sequence uint64) *memoryEvent {
	return &m.ring[sequence%uint64(len(m.ring))]
}

// since finds the first event stored at t or later.
func (m *Memory) since(t time.Time) (uint64, error) {
	first, next := m.first, m.next
	for first < next {
		middle := first + (next-first)/2
		if m.at(middle).stored.Before(t) {
			first = middle + 1
		} else {
			next = middle
		}
	}
	return first, nil
}

// Stats returns what the engine holds and has cut.
func (m *Memory) Stats() MemoryStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Events = int(m.next - m.first)
	return s
}

// State returns the value under key, or ErrNotFound.
func (m *Memory) State(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, notifications.ErrClosed
	}
	v, ok := m.states[key]
	if !ok {
		return nil, fmt.Errorf("state %q: %w", key, ErrNotFound)
	}
	return slices.Clone(v), nil
}

// SetState stores value under key; nil deletes.
func (m *Memory) SetState(_ context.Context, key string, value []byte) error {
	if err := CheckState(key, value); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return notifications.ErrClosed
	}
	if value == nil {
		delete(m.states, key)
		return nil
	}
	if _, ok := m.states[key]; !ok && len(m.states) >= m.opts.MaxStates {
		return fmt.Errorf("state %q: %w", key, notifications.ErrFull)
	}
	m.states[key] = append([]byte{}, value...)
	return nil
}

// StateKeys lists the keys that begin with prefix, sorted.
func (m *Memory) StateKeys(_ context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return nil, notifications.ErrClosed
	}
	return sortedKeys(m.states, prefix), nil
}

// Shutdown forgets everything. It does not wait.
func (m *Memory) Shutdown(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.isClosed() {
		close(m.closed)
	}
	m.ring, m.cursors, m.states = nil, nil, nil
	m.history = memoryHistory{}
	m.first = m.next
	return nil
}

func (m *Memory) isClosed() bool {
	select {
	case <-m.closed:
		return true
	default:
		return false
	}
}
