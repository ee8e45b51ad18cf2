package endpoints

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStorm(t *testing.T) {
	ten := strings.Repeat("x", 10)
	for _, c := range []struct {
		name   string
		events string // each different: "x" is rejected, "." accepted
		begins int    // with which event; -1: never
	}{
		{"ten in a row", ten, 9},
		{"nine in a row, again and again", strings.Repeat("xxxxxxxxx...........", 3), -1},
		{"half of twenty", strings.Repeat(".x", 10), 19},
		{"nine of twenty", ".x.x.x.x.x.x.x.x.x..", -1},
		{"ten of twenty-one", "x...........xxxxxxxxx", -1},
		{"after many that were accepted", strings.Repeat(".", 1000) + ten, 1009},
		{"one in three", strings.Repeat("..x", 100), -1},
	} {
		var s storm
		now, began := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC), -1
		for i, e := range c.events {
			if e == '.' {
				s.accepted(1, now)
			} else if s.rejected(uint64(i+1), true, now, now) {
				began = i
				break
			}
		}
		if began != c.begins || s.raging() != (began >= 0) {
			t.Errorf("%s: begins with event %d, rages %t, want %d", c.name, began, s.raging(), c.begins)
		}
	}
}

func TestStormCountsAnEventOnce(t *testing.T) {
	var s storm
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	for range 100 {
		for sequence := range uint64(9) {
			if s.rejected(sequence, true, now, now) || s.rejected(sequence, false, now, now) {
				t.Fatal("nine events are a storm")
			}
		}
	}
	if s.rejected(100, false, now, now) {
		t.Fatal("a second rejection of an event that is forgotten counts")
	}
	if !s.rejected(101, true, now, now) {
		t.Fatal("the tenth event does not count")
	}
}

func TestStormStreak(t *testing.T) {
	var s storm
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	for sequence := range uint64(40) { // long ago, and accepted in between
		s.rejected(sequence, true, now, now)
		s.buried(sequence)
		s.accepted(4, now)
	}
	s.accepted(20, now)
	for sequence := uint64(100); sequence < 109; sequence++ {
		s.rejected(sequence, true, now, now)
		if sequence%2 == 0 && s.buried(sequence) {
			t.Errorf("the dead letter of %d is a mistake before there is a storm", sequence)
		}
	}
	if s.buried(7) {
		t.Error("an event that is forgotten is part of the streak")
	}
	if !s.rejected(109, true, now, now) {
		t.Fatal("no storm")
	}
	if got, want := s.streak(), []uint64{100, 102, 104, 106, 108}; !slices.Equal(got, want) {
		t.Errorf("streak %v, want %v", got, want)
	}
	if !s.buried(101) || s.buried(101) || s.buried(100) {
		t.Error("a dead letter that was on its way is to be told once")
	}

	s.accepted(1, now.Add(time.Hour))
	if s.raging() || s.streak() != nil {
		t.Error("one acceptance does not end the storm")
	}
	for sequence := uint64(200); sequence < 209; sequence++ {
		// Rejected in the storm already, which does not count.
		if s.rejected(sequence, false, now, now.Add(2*time.Hour)) {
			t.Fatalf("%d is a storm", sequence)
		}
	}
	if !s.rejected(209, false, now, now.Add(2*time.Hour)) {
		t.Error("events that were rejected in an earlier storm make none")
	}
}
