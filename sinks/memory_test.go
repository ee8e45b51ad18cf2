package sinks_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/sinktest"
)

func TestMemory(t *testing.T) {
	sinktest.TestEngine(t, sinktest.EngineSuite{
		Open: func(*testing.T, string) sinks.Engine { return sinks.NewMemory(nil) },
		OpenSmall: func(*testing.T, string) sinks.Engine {
			return sinks.NewMemory(&sinks.MemoryOptions{MaxEvents: 64})
		},
		Volatile: true,
		Bubble:   true,
	})
}

func TestMemoryForgetsRepeatsAfterTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sinks.NewMemory(&sinks.MemoryOptions{RepeatsAge: time.Minute})
		for i, want := range []int{1, 0, 1} {
			receipt, err := m.Record(t.Context(), notificationstest.Pushes(0, 1, "team/a"), nil)
			if err != nil || receipt.Accepted != want {
				t.Errorf("write %d: %+v, %v; want %d accepted", i, receipt, err, want)
			}
			time.Sleep(40 * time.Second)
		}
	})
}

func TestMemoryBoundsBytes(t *testing.T) {
	events := notificationstest.Pushes(10, 20, "team/a")
	size := int64(events[0].Size())
	m := sinks.NewMemory(&sinks.MemoryOptions{MaxBytes: 10 * size})
	cur, err := m.Cursor(t.Context(), "c", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cur.Close()
	if err := m.Write(t.Context(), events[:11]); !notifications.IsPermanent(err) {
		t.Errorf("a batch that never fits: %v, want a permanent error", err)
	}
	if err := m.Write(t.Context(), events[:10]); err != nil {
		t.Fatal(err)
	}
	if err := m.Write(t.Context(), events[10:11]); !errors.Is(err, notifications.ErrFull) {
		t.Errorf("a byte too many: %v, want ErrFull", err)
	}
	if err := m.Accepting(); !errors.Is(err, notifications.ErrFull) || m.Healthy() != nil {
		t.Errorf("full: Accepting = %v, Healthy = %v", err, m.Healthy())
	}
	if got := m.Stats(); got.Events != 10 || got.Bytes != 10*size {
		t.Errorf("%+v, want 10 events of %d bytes", got, size)
	}
	into := make([]sinks.Delivery, 3)
	n, err := cur.Claim(t.Context(), into)
	if n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for _, d := range into {
		if err := cur.Settle(sinks.Settlement{Sequence: d.Sequence}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Accepting(); err != nil {
		t.Errorf("with room again: Accepting = %v", err)
	}
	if err := m.Write(t.Context(), events[10:13]); err != nil {
		t.Errorf("refused at first because there was no room, then with room: %v", err)
	}
	if got := m.Stats(); got.Events != 10 || got.Bytes != 10*size {
		t.Errorf("%+v, want 10 events of %d bytes", got, size)
	}
}

func TestMemoryCountsWhatItsBoundsCut(t *testing.T) {
	m := sinks.NewMemory(&sinks.MemoryOptions{MaxDead: 2, MaxQuarantined: 3, MaxStates: 1})
	cur, err := m.Cursor(t.Context(), "c", nil)
	if err != nil {
		t.Fatal(err)
	}
	events := notificationstest.Pushes(0, 5, "team/a")
	other := *events[4]
	other.Timestamp = other.Timestamp.Add(time.Second)
	bad := make([]notifications.Quarantined, 4)
	if _, err := m.Record(t.Context(), append(events, &other), bad); err != nil {
		t.Fatal(err)
	}
	into := make([]sinks.Delivery, 5)
	if _, err := cur.Claim(t.Context(), into); err != nil {
		t.Fatal(err)
	}
	for _, d := range into {
		dead := &sinks.DeadLetter{Reason: sinks.DeadManual, Event: d.Event, Count: 1}
		if err := cur.Settle(sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.DeadLettered, Dead: dead}); err != nil {
			t.Fatal(err)
		}
	}
	got := m.Stats()
	if got.CutDead != 3 || got.CutQuarantined != 1 || got.Conflicts != 1 {
		t.Errorf("%+v, want 3 dead letters and 1 body cut, 1 conflict", got)
	}
	if err := m.SetState(t.Context(), "a", []byte("v")); err != nil {
		t.Error(err)
	}
	if err := m.SetState(t.Context(), "b", []byte("v")); !errors.Is(err, notifications.ErrFull) {
		t.Errorf("a state too many: %v, want ErrFull", err)
	}
}

func TestMemoryReopensABoundedCursorWhoseEventsAreGone(t *testing.T) {
	m := sinks.NewMemory(&sinks.MemoryOptions{MaxEvents: 10})
	cur, err := m.Cursor(t.Context(), "c", &sinks.CursorOptions{To: 2})
	if err != nil {
		t.Fatal(err)
	}
	into := make([]sinks.Delivery, 10)
	for i := range 30 {
		if err := m.Write(t.Context(), notificationstest.Pushes(i, 1, "team/a")); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if n, err := cur.Claim(t.Context(), into); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if err := cur.Settle(sinks.Settlement{Sequence: into[0].Sequence}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cur.Close(); err != nil {
		t.Fatal(err)
	}
	cur, err = m.Cursor(t.Context(), "c", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cur.Close()
	n, err := cur.Claim(t.Context(), into)
	if n != 10 || err != nil || into[0].Sequence != 21 {
		t.Errorf("claimed %d from %d on, %v; want 10 from 21 on", n, into[0].Sequence, err)
	}
	infos, err := m.CursorInfos(t.Context())
	if err != nil || infos[0].Totals[sinks.Evicted] != 18 {
		t.Errorf("%+v, %v; want 18 evicted", infos, err)
	}
}
