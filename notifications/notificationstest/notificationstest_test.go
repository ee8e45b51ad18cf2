package notificationstest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errTest = errors.New("test fault")

func batch(n ...int) []*notifications.Event {
	events := make([]*notifications.Event, len(n))
	for i, n := range n {
		events[i] = notificationstest.Push("team/app", "v1", n)
	}
	return events
}

func TestSampleEventsAreDistinctAndRepeatable(t *testing.T) {
	makers := map[string]func(n int) *notifications.Event{
		"push":              func(n int) *notifications.Event { return notificationstest.Push("a/b", "v1", n) },
		"push of other":     func(n int) *notifications.Event { return notificationstest.Push("a/c", "v1", n) },
		"push by digest":    func(n int) *notifications.Event { return notificationstest.Push("a/b", "", n) },
		"pull":              func(n int) *notifications.Event { return notificationstest.Pull("a/b", "v1", n) },
		"delete":            func(n int) *notifications.Event { return notificationstest.Delete("a/b", n) },
		"blob push":         func(n int) *notifications.Event { return notificationstest.BlobPush("a/b", n) },
		"blob pull":         func(n int) *notifications.Event { return notificationstest.BlobPull("a/b", n) },
		"blob mount":        func(n int) *notifications.Event { return notificationstest.BlobMount("a/b", "c/d", n) },
		"tag delete":        func(n int) *notifications.Event { return notificationstest.TagDelete("a/b", "v1", n) },
		"repository delete": func(n int) *notifications.Event { return notificationstest.RepositoryDelete("a/b", n) },
	}
	seen := make(map[string]string)
	for name, newEvent := range makers {
		for _, n := range []int{0, 1, 70_000, 1<<31 - 1} {
			e := newEvent(n)
			if other, ok := seen[e.ID]; ok {
				t.Errorf("%s %d has the id of %s", name, n, other)
			}
			seen[e.ID] = name
			if id, err := uuid.Parse(e.ID); err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
				t.Errorf("%s: id %q: want a UUIDv7 (%v)", name, e.ID, err)
			}
			if got := notificationstest.Number(e); got != n {
				t.Errorf("%s: Number = %d, want %d", name, got, n)
			}
			if got, want := newEvent(n).AppendJSON(nil), e.AppendJSON(nil); string(got) != string(want) {
				t.Errorf("%s: made twice:\n%s\n%s", name, want, got)
			}
			if _, err := notifications.ParseEvent(string(e.AppendJSON(nil))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if got := notificationstest.Number(&notifications.Event{ID: "made elsewhere"}); got != -1 {
		t.Errorf("Number of another event = %d, want -1", got)
	}
}

func TestRecorderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			for n := range 3 {
				time.Sleep(time.Second)
				if err := rec.Write(ctx, batch(2*n, 2*n+1)); err != nil {
					t.Error(err)
				}
			}
		}()
		got, err := rec.Wait(ctx, 5)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 5}, notificationstest.Numbers(got)); diff != "" {
			t.Error(diff)
		}
		if len(rec.Batches()) != 3 || rec.Len() != 6 {
			t.Errorf("%d batches, %d events; want 3, 6", len(rec.Batches()), rec.Len())
		}

		if got, err = rec.Wait(ctx, 7); !errors.Is(err, context.DeadlineExceeded) || len(got) != 6 {
			t.Errorf("Wait for more than there is: %d events, %v", len(got), err)
		}
		if err := rec.Write(ctx, batch(9)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write with an ended context: %v", err)
		}
		rec.Reset()
		rec.Close()
		if err := rec.Write(t.Context(), batch(9)); !errors.Is(err, notifications.ErrClosed) || rec.Len() != 0 {
			t.Errorf("Write after Close: %v, %d events", err, rec.Len())
		}
	})
}

func TestRecorderKeepsItsOwnSlice(t *testing.T) {
	var rec notificationstest.Recorder
	b := batch(1)
	if err := rec.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	b[0] = nil
	if rec.Events()[0] == nil {
		t.Error("the recorder kept the caller's slice")
	}
}

func TestFaulty(t *testing.T) {
	tests := []struct {
		name  string
		fault notificationstest.Fault
		want  []int // that reached dst, of single events 1 to 6
	}{
		{"script", notificationstest.Script(errTest, nil, errTest), []int{2, 4, 5, 6}},
		{"every third", notificationstest.EveryNth(3, errTest), []int{1, 2, 4, 5}},
		{"all", notificationstest.EveryNth(1, errTest), []int{}},
		{"by event", notificationstest.Reject(func(e *notifications.Event) bool { return notificationstest.Number(e) == 5 }, errTest), []int{1, 2, 3, 4, 6}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rec notificationstest.Recorder
			sink := notificationstest.NewFaulty(&rec, tt.fault)
			failed := 0
			for n := 1; n <= 6; n++ {
				switch err := sink.Write(t.Context(), batch(n)); err {
				case nil:
				case errTest:
					failed++
				default:
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tt.want, notificationstest.Numbers(rec.Events())); diff != "" {
				t.Error(diff)
			}
			if failed != 6-len(tt.want) || sink.Writes() != 6 {
				t.Errorf("%d of %d writes failed, want %d of 6", failed, sink.Writes(), 6-len(tt.want))
			}
		})
	}
}

func TestLossyAck(t *testing.T) {
	var rec notificationstest.Recorder
	sink := notificationstest.NewLossyAck(&rec, notificationstest.Script(errTest))
	for range 2 {
		_ = sink.Write(t.Context(), batch(1)) // the first fails, and arrives all the same
	}
	if diff := cmp.Diff([]int{1, 1}, notificationstest.Numbers(rec.Events())); diff != "" {
		t.Error(diff)
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		sink := notificationstest.NewSlow(&rec, time.Minute)
		start := time.Now()
		done := make(chan error)
		for n := range 3 {
			go func() { done <- sink.Write(t.Context(), batch(n)) }()
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != time.Minute || sink.Peak() != 3 || rec.Len() != 3 {
			t.Errorf("3 writes took %v, %d at once, %d arrived", took, sink.Peak(), rec.Len())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := sink.Write(ctx, batch(4)); !errors.Is(err, context.DeadlineExceeded) || rec.Len() != 3 {
			t.Errorf("Write beyond its deadline: %v, %d arrived", err, rec.Len())
		}
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		gate := notificationstest.NewGate(&rec)
		done := make(chan error)
		for n := range 2 {
			go func() { done <- gate.Write(t.Context(), batch(n)) }()
		}
		if err := gate.WaitHeld(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if rec.Len() != 0 {
			t.Error("a shut gate let events pass")
		}
		gate.Open()
		gate.Open()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := gate.Write(t.Context(), batch(3)); err != nil || rec.Len() != 3 {
			t.Errorf("Write through an open gate: %v, %d arrived", err, rec.Len())
		}

		gate.Shut()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := gate.Write(ctx, batch(4)); !errors.Is(err, context.DeadlineExceeded) || rec.Len() != 3 {
			t.Errorf("Write at a shut gate: %v, %d arrived", err, rec.Len())
		}
		if err := gate.WaitHeld(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitHeld with nothing held: %v", err)
		}
	})
}
