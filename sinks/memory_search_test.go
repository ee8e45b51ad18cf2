package sinks_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// TestMemorySearchIsBounded: a page may end before it has found what it may hold.
func TestMemorySearchIsBounded(t *testing.T) {
	const count = 21_000
	m := sinks.NewMemory(nil)
	for n := 0; n < count; n += 1000 {
		if err := m.Write(t.Context(), notificationstest.Pushes(n, 1000, "team/a")); err != nil {
			t.Fatal(err)
		}
	}
	for _, oldest := range []bool{true, false} {
		q := sinks.EventQuery{Tag: "v12345", OldestFirst: oldest}
		var found []uint64
		pages := 0
		for pages = 1; ; pages++ {
			page, err := m.Events(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page.Events {
				found = append(found, d.Sequence)
			}
			if q.After = page.Next; q.After == 0 {
				break
			}
		}
		if !slices.Equal(found, []uint64{12346}) || pages != 3 {
			t.Errorf("found %v in %d pages, want event 12346 in 3", found, pages)
		}
	}
}

func TestMemoryForgetsAttempts(t *testing.T) {
	m := sinks.NewMemory(&sinks.MemoryOptions{MaxAttempts: 10, History: sinks.HistoryFailures})
	for n := range 15 {
		m.RecordAttempts(
			sinks.AttemptRecord{At: time.Now(), Sequences: []uint64{1}, Number: n, Error: "500"},
			sinks.AttemptRecord{At: time.Now(), Sequences: []uint64{1}, Number: 100},
		)
	}
	got, err := m.Attempts(t.Context(), sinks.AttemptQuery{OldestFirst: true})
	if err != nil || len(got) != 10 || got[0].Number != 5 || got[9].Number != 14 {
		t.Errorf("%+v, %v; want the newest 10 failures", got, err)
	}
	if cut := m.Stats().CutAttempts; cut != 5 {
		t.Errorf("%d counted as cut, want 5", cut)
	}
}

func TestMemoryForgetsOldDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, cur := stored(t, notificationstest.Pushes(0, 2, "team/a"))
		into := make([]sinks.Delivery, 1)
		for range 2 {
			if _, err := cur.Claim(t.Context(), into); err != nil {
				t.Fatal(err)
			}
			if err := cur.Settle(sinks.Settlement{Sequence: into[0].Sequence, Outcome: sinks.DeadLettered}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(sinks.DeadAge/2 + time.Hour)
		}
		letters, err := m.DeadLetters(t.Context(), sinks.DeadQuery{})
		if err != nil || len(letters) != 1 || letters[0].Sequence != 2 || m.Stats().CutDead != 1 {
			t.Errorf("%+v, %v, %d cut; want the second letter", letters, err, m.Stats().CutDead)
		}
	})
}
