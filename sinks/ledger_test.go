package sinks_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/sinks"
)

// naiveLedger is the model: where each event is, and everything by search.
type naiveLedger struct {
	events map[uint64]*naiveEvent
	last   uint64
	totals [sinks.Outcomes]uint64
}

type naiveEvent struct {
	settled, onLoan, parked bool
	dead                    bool
	until                   time.Time
	tries                   int
	wasParked               bool
}

func (m *naiveLedger) next(now time.Time) (uint64, bool) {
	oldest := uint64(math.MaxUint64)
	for s, e := range m.events {
		if e.parked && !e.until.After(now) {
			e.parked = false
		}
		if !e.settled && !e.onLoan && !e.parked {
			oldest = min(oldest, s)
		}
	}
	return oldest, oldest < math.MaxUint64
}

func (m *naiveLedger) settle(s sinks.Settlement) bool {
	e := m.events[s.Sequence]
	if e == nil || !e.onLoan || s.Outcome == sinks.Evicted || s.Outcome == sinks.Dropped || int(s.Outcome) >= sinks.Outcomes {
		return false
	}
	e.onLoan = false
	switch s.Outcome {
	case sinks.Parked:
		e.parked, e.until, e.wasParked = true, s.Until, true
		e.tries++
	case sinks.Released:
		e.tries++
	default:
		e.settled, e.dead = true, s.Outcome == sinks.DeadLettered
		m.totals[s.Outcome]++
	}
	return true
}

func (m *naiveLedger) revive(sequence uint64) {
	*m.events[sequence] = naiveEvent{wasParked: true}
	m.totals[sinks.DeadLettered]--
}

// dead returns an event that was given up on.
func (m *naiveLedger) dead() (sequence uint64, ok bool) {
	for s, e := range m.events {
		if e.dead {
			return s, true
		}
	}
	return 0, false
}

func (m *naiveLedger) cut(first, last uint64, o sinks.Outcome) (n uint64) {
	for s, e := range m.events {
		if s >= first && s <= last && !e.settled {
			*e = naiveEvent{settled: true}
			m.totals[o]++
			n++
		}
	}
	return n
}

func (m *naiveLedger) info(begin uint64) sinks.CursorInfo {
	info := sinks.CursorInfo{Begin: begin, LowWater: begin, Totals: m.totals}
	for m.events[info.LowWater+1] != nil && m.events[info.LowWater+1].settled {
		info.LowWater++
	}
	for _, e := range m.events {
		if !e.settled {
			info.Pending++
		}
		if e.parked {
			info.Parked++
		}
	}
	return info
}

func TestLedgerAgainstModel(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 5))
		begin := rng.Uint64N(2 * sinks.ProgressBlock)
		l := sinks.NewLedger(begin)
		m := &naiveLedger{events: map[uint64]*naiveEvent{}, last: begin}
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		some := func() uint64 { return begin + 1 + rng.Uint64N(m.last-begin+2) }
		for range 400 {
			now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
			switch rng.IntN(8) {
			case 0, 1:
				for range rng.IntN(9) {
					m.last++
					m.events[m.last] = new(naiveEvent)
				}
			case 2, 3, 4:
				want, ok := m.next(now)
				got, found := l.Next(now, m.last)
				if found != ok || ok && got != want {
					t.Fatalf("seed %d: next %d, %t; want %d, %t", seed, got, found, want, ok)
				}
				if !ok {
					continue
				}
				e := m.events[want]
				if tries, parked := l.Lend(got); tries != e.tries || parked != e.wasParked {
					t.Fatalf("seed %d: %d tries, parked %t; want %d, %t", seed, tries, parked, e.tries, e.wasParked)
				}
				e.onLoan = true
			case 5, 6:
				s := sinks.Settlement{Sequence: some(), Outcome: sinks.Outcome(rng.IntN(sinks.Outcomes + 1)), Until: now.Add(time.Duration(rng.IntN(20)-2) * time.Second)}
				if got, want := l.Settle(s), m.settle(s); got != want {
					t.Fatalf("seed %d: settle %+v: %t, want %t", seed, s, got, want)
				}
			case 7:
				switch rng.IntN(6) {
				case 0:
					l.ReturnAll()
					for _, e := range m.events {
						if e.onLoan {
							e.onLoan = false
							e.tries++
						}
					}
				case 1:
					first := some()
					last := min(first+rng.Uint64N(20), m.last)
					if got, want := l.Cut(first, last, sinks.Evicted), m.cut(first, last, sinks.Evicted); got != want {
						t.Fatalf("seed %d: cut %d to %d: %d, want %d", seed, first, last, got, want)
					}
				default:
					dead, ok := m.dead()
					if l.Revive(begin) || l.Revive(m.last+1) || ok && !l.Revive(dead) {
						t.Fatalf("seed %d: revived what is not dead, or not %d", seed, dead)
					}
					if ok {
						m.revive(dead)
					}
				}
			}
			m.next(now) // the model frees what is due only when asked
			l.Next(now, m.last)
			if diff := cmp.Diff(m.info(begin), l.Info(m.last)); diff != "" {
				t.Fatalf("seed %d: info (-want +got):\n%s", seed, diff)
			}
			checkDue(t, l, m)
		}
	}
}

// checkDue compares when the first parked event is due.
func checkDue(t *testing.T, l *sinks.Ledger, m *naiveLedger) {
	t.Helper()
	var want time.Time
	for _, e := range m.events {
		if e.parked && (want.IsZero() || e.until.Before(want)) {
			want = e.until
		}
	}
	if got, ok := l.NextDue(); ok == want.IsZero() || ok && !got.Equal(want) {
		t.Fatalf("next due %v, %t; want %v", got, ok, want)
	}
}

func TestLedgerEnd(t *testing.T) {
	l := sinks.NewLedger(10)
	l.SetEnd(12)
	if info := l.Info(100); info.Pending != 2 {
		t.Errorf("%d pending, want 2", info.Pending)
	}
	for want := uint64(11); want <= 12; want++ {
		s, ok := l.Next(time.Time{}, 100)
		if s != want || !ok {
			t.Fatalf("next %d, %t; want %d", s, ok, want)
		}
		l.Lend(s)
		if l.Done() || l.Floor() != s-1 {
			t.Errorf("done %t, floor %d with %d on loan", l.Done(), l.Floor(), s)
		}
		l.Settle(sinks.Settlement{Sequence: s})
	}
	if s, ok := l.Next(time.Time{}, 100); ok {
		t.Errorf("lent %d past the end", s)
	}
	if !l.Done() || l.Floor() < 1000 {
		t.Errorf("done %t, floor %d; want done, without use for anything", l.Done(), l.Floor())
	}
	l.SetEnd(0)
	if s, ok := l.Next(time.Time{}, 100); !ok || s != 13 {
		t.Errorf("next %d, %t without an end; want 13", s, ok)
	}
}

func TestLedgerRestores(t *testing.T) {
	var totals [sinks.Outcomes]uint64
	totals[sinks.Delivered] = 5
	l := sinks.RestoreLedger(10, 14, totals)
	l.Progress().Settle(16)
	until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l.RestoreParked(17, until, 3)
	l.RestoreParked(16, until, 3) // settled: nothing to park
	if diff := cmp.Diff(sinks.CursorInfo{Begin: 10, LowWater: 14, Pending: 5, Parked: 1, Totals: totals}, l.Info(20)); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	var lent []uint64
	for s, ok := l.Next(until.Add(-1), 20); ok; s, ok = l.Next(until.Add(-1), 20) {
		l.Lend(s)
		lent = append(lent, s)
	}
	if diff := cmp.Diff([]uint64{15, 18, 19, 20}, lent); diff != "" {
		t.Errorf("lent (-want +got):\n%s", diff)
	}
	if s, ok := l.Next(until, 20); !ok || s != 17 {
		t.Fatalf("next %d, %t; want the parked one", s, ok)
	}
	if tries, parked := l.Lend(17); tries != 3 || !parked {
		t.Errorf("%d tries, parked %t; want 3, true", tries, parked)
	}
}

// TestLedgerRevive: only what was settled as dead within the bounds comes back, and what
// an engine could not write is undone by Cut.
func TestLedgerRevive(t *testing.T) {
	const many = 3*sinks.ProgressBlock + 10
	l := sinks.NewLedger(5)
	for s, ok := l.Next(time.Time{}, many); ok; s, ok = l.Next(time.Time{}, many) {
		l.Lend(s)
		o := sinks.Delivered
		if s == 7 || s == many-1 {
			o = sinks.DeadLettered
		}
		l.Settle(sinks.Settlement{Sequence: s, Outcome: o})
	}
	before := l.Info(many)
	for _, s := range []uint64{0, 5, many + 1} {
		if l.Revive(s) {
			t.Errorf("revived %d, which is not the cursor's", s)
		}
	}
	l.SetEnd(100)
	if l.Revive(many - 1) {
		t.Error("revived an event past the end")
	}
	l.SetEnd(0)
	if !l.Revive(7) || l.Revive(7) {
		t.Fatal("event 7 is not revived once")
	}
	if info := l.Info(many); info.LowWater != 6 || info.Pending != 1 || info.Totals[sinks.DeadLettered] != 1 {
		t.Errorf("%+v, want event 7 pending", info)
	}
	if s, ok := l.Next(time.Time{}, many); !ok || s != 7 {
		t.Errorf("next %d, %t; want 7", s, ok)
	}
	if tries, parked := l.Lend(7); tries != 0 || !parked {
		t.Errorf("%d tries, overtaken %t; want 0, true", tries, parked)
	}
	if s, ok := l.Next(time.Time{}, many); ok {
		t.Errorf("%d is free too", s)
	}
	if n := l.Cut(7, 7, sinks.DeadLettered); n != 1 {
		t.Errorf("cut %d, want 1", n)
	}
	if diff := cmp.Diff(before, l.Info(many)); diff != "" {
		t.Errorf("after it was undone (-want +got):\n%s", diff)
	}
}
