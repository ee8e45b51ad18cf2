package endpoints

import (
	"testing"
	"time"
)

func TestHolds(t *testing.T) {
	start := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	var h holds
	for _, n := range []struct {
		minute int
		held   bool
	}{{10, true}, {12, true}, {20, false}, {21, false}, {40, true}, {45, false}, {60, true}} {
		h.note(n.held, at(n.minute))
	}
	for _, c := range []struct{ from, now, want int }{
		{0, 70, 25}, {15, 70, 20}, {20, 70, 15}, {30, 60, 5}, {42, 70, 13}, {65, 70, 5}, {70, 70, 0},
	} {
		if got := h.within(at(c.from), at(c.now)); got != time.Duration(c.want)*time.Minute {
			t.Errorf("from minute %d to %d: held for %v, want %d minutes", c.from, c.now, got, c.want)
		}
	}
}

func TestHoldsForgetTheShortest(t *testing.T) {
	start := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	var h holds
	h.note(true, start)
	now := start.Add(10 * time.Hour)
	h.note(false, now)
	for range 10 * maxHolds {
		now = now.Add(time.Second)
		h.note(true, now)
		now = now.Add(time.Second)
		h.note(false, now)
	}
	if len(h.past) > maxHolds {
		t.Errorf("%d holds are remembered", len(h.past))
	}
	if got := h.within(start, now); got < 10*time.Hour {
		t.Errorf("held for %v: the long one is forgotten", got)
	}
}
