package sinktest

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

var modelTests = []engineTest{
	{name: "model/seed 1", run: func(tr *trial) { testModel(tr, 1) }},
	{name: "model/seed 2", run: func(tr *trial) { testModel(tr, 2) }},
	{name: "model/seed 3", run: func(tr *trial) { testModel(tr, 3) }},
}

// model is what a cursor must be, said in the simplest way: the place of every event
// since its start, by sequence number.
type model struct {
	tr     *trial
	rng    *rand.Rand
	cursor sinks.Cursor
	first  uint64 // sequence of event 0
	places []place
	totals [sinks.Outcomes]uint64
}

type place uint8

const (
	free place = iota
	onLoan
	parked
	settled
	dead
)

// testModel does at random what a holder does, and compares after each step.
func testModel(tr *trial, seed uint64) {
	c := tr.cursor("c", nil)
	m := &model{tr: tr, rng: rand.New(rand.NewPCG(seed, 2)), cursor: c, first: tr.info("c").LowWater + 1}
	for range 300 {
		switch m.rng.IntN(12) {
		case 0, 1, 2:
			n := 1 + m.rng.IntN(20)
			tr.push(len(m.places), n)
			m.places = append(m.places, make([]place, n)...)
		case 3, 4, 5, 6:
			m.claim(1 + m.rng.IntN(16))
		case 7, 8, 9, 10:
			m.settle()
		case 11:
			switch m.rng.IntN(4) {
			case 0:
				m.change()
			case 1:
				m.revive()
			}
		}
		m.compare()
	}
	want := m.totals[sinks.DeadLettered]
	tr.dead(sinks.DeadQuery{Cursor: "c", Reason: sinks.DeadManual, Limit: 10_000}, int(want))
	if dead, err := tr.engine.DeadCount(tr.Context(), "c"); err != nil || dead[sinks.DeadManual] != want || len(dead) > 1 {
		tr.Errorf("dead letters %v, %v; want %d", dead, err, want)
	}
}

// all returns the events at p, oldest first.
func (m *model) all(p place) []int {
	var ns []int
	for n, at := range m.places {
		if at == p {
			ns = append(ns, n)
		}
	}
	return ns
}

func (m *model) claim(n int) {
	m.tr.Helper()
	want := m.all(free)
	want = want[:min(n, len(want))]
	for i, d := range m.tr.claim(m.cursor, len(want)) {
		if n := notificationstest.Number(d.Event); n != want[i] || d.Sequence != m.first+uint64(n) {
			m.tr.Fatalf("claimed event %d with sequence %d, want event %d with %d", n, d.Sequence, want[i], m.first+uint64(want[i]))
		}
		m.places[want[i]] = onLoan
	}
}

// settle ends some loans in some way, in any order, and settles what is not on loan.
func (m *model) settle() {
	m.tr.Helper()
	var ends []sinks.Settlement
	for _, n := range m.rng.Perm(len(m.places)) {
		if len(ends) == 8 {
			break
		}
		o := []sinks.Outcome{sinks.Delivered, sinks.Delivered, sinks.Filtered, sinks.DeadLettered, sinks.Parked, sinks.Released}[m.rng.IntN(6)]
		end := sinks.Settlement{Sequence: m.first + uint64(n), Outcome: o}
		to := settled
		switch o {
		case sinks.DeadLettered:
			end.Dead = &sinks.DeadLetter{Reason: sinks.DeadManual, Count: 1}
		case sinks.Parked:
			end.Until, to = time.Now().Add(time.Hour), parked
			if m.rng.IntN(2) == 0 {
				end.Until, to = time.Now().Add(-time.Second), free
			}
		case sinks.Released:
			to = free
		}
		ends = append(ends, end)
		if m.places[n] == onLoan {
			m.places[n] = to
			if to == settled {
				m.totals[o]++
			}
			if o == sinks.DeadLettered {
				m.places[n] = dead
			}
		}
	}
	m.tr.must(m.cursor.Settle(ends...))
}

// revive brings back some of the dead, and tries to bring back what is not dead.
func (m *model) revive() {
	m.tr.Helper()
	q := sinks.DeadQuery{Limit: 1000}
	revived := 0
	for _, n := range m.rng.Perm(len(m.places)) {
		if len(q.Sequences) == 6 {
			break
		}
		q.Sequences = append(q.Sequences, m.first+uint64(n))
		if m.places[n] == dead {
			m.places[n] = free
			revived++
		}
	}
	if len(q.Sequences) > 0 {
		m.tr.revive(m.cursor, q, revived)
		m.totals[sinks.DeadLettered] -= uint64(revived)
	}
}

// change gives the cursor to another holder, in the same engine or a reopened one.
func (m *model) change() {
	m.tr.Helper()
	m.tr.must(m.cursor.Close())
	if !m.tr.suite.Volatile && m.rng.IntN(2) == 0 {
		m.tr.reopen()
	}
	m.cursor = m.tr.cursor("c", nil)
	for n, at := range m.places {
		if at == onLoan {
			m.places[n] = free
		}
	}
}

func (m *model) compare() {
	m.tr.Helper()
	info := m.tr.info("c")
	low := slices.IndexFunc(m.places, func(p place) bool { return p != settled && p != dead })
	if low < 0 {
		low = len(m.places)
	}
	var sum uint64
	for _, n := range info.Totals {
		sum += n
	}
	if sum+info.Pending != uint64(len(m.places)) || info.Totals != m.totals {
		m.tr.Fatalf("totals %v and %d pending of %d stored, want %v", info.Totals, info.Pending, len(m.places), m.totals)
	}
	if want := m.first + uint64(low) - 1; info.LowWater != want {
		m.tr.Fatalf("low water %d, want %d", info.LowWater, want)
	}
}
