package sinks_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// arrivals notes when events arrive.
type arrivals struct {
	fail func(*notifications.Event) error
	at   []time.Duration // of the accepted ones, since the start
	from time.Time
}

func (a *arrivals) Write(_ context.Context, batch []*notifications.Event) error {
	for _, e := range batch {
		if a.fail != nil {
			if err := a.fail(e); err != nil {
				return err
			}
		}
	}
	for range batch {
		a.at = append(a.at, time.Since(a.from))
	}
	return nil
}

// within returns the most events that arrived in any such span of time.
func (a *arrivals) within(d time.Duration) (most int) {
	for i, from := range a.at {
		n, _ := slices.BinarySearch(a.at[i:], from+d)
		most = max(most, n)
	}
	return most
}

func TestDeliverRate(t *testing.T) {
	for name, test := range map[string]struct {
		rate   float64
		batch  int
		events int
		second int // events in a second, at most
	}{
		"slow":    {rate: 2, batch: 1, events: 9, second: 3},
		"fast":    {rate: 500, batch: 1, events: 1000, second: 551},
		"batches": {rate: 50, batch: 20, events: 200, second: 75},
		"tiny":    {rate: 0.5, batch: 1, events: 4, second: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, cur := stored(t, notificationstest.Pushes(0, test.events, "team/a", "team/b", "team/c"))
				defer shutdown(t, m)
				dst := &arrivals{from: time.Now()}
				err := sinks.Deliver(t.Context(), cur, dst, &sinks.DeliverOptions{
					Rate: test.rate, Concurrency: 1, Batch: sinks.BatchOptions{MaxEvents: test.batch},
				})
				if err != nil {
					t.Fatal(err)
				}
				if len(dst.at) != test.events || dst.within(time.Second) > test.second {
					t.Errorf("%d events, up to %d in a second, want %d and at most %d", len(dst.at), dst.within(time.Second), test.events, test.second)
				}
				want := time.Duration(float64(test.events) / test.rate * float64(time.Second))
				slack := time.Duration(float64(test.batch)/test.rate*float64(time.Second)) + 200*time.Millisecond
				if took := dst.at[len(dst.at)-1]; took > want || took < want-slack {
					t.Errorf("took %v, want %v", took, want)
				}
			})
		})
	}
}

// TestDeliverRateSparesRetries: what is offered again does not wait for the rate, and
// what fails keeps the others at theirs.
func TestDeliverRateSparesRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, cur := stored(t, notificationstest.Pushes(0, 4, "team/a", "team/b"))
		defer shutdown(t, m)
		tries := 0
		dst := &arrivals{from: time.Now(), fail: func(e *notifications.Event) error {
			if tries++; notificationstest.Number(e) == 0 && tries < 50 {
				return soon{errors.New("busy")}
			}
			return nil
		}}
		if err := sinks.Deliver(t.Context(), cur, dst, &sinks.DeliverOptions{Rate: 1, Concurrency: 1}); err != nil {
			t.Fatal(err)
		}
		if len(dst.at) != 4 || dst.at[0] > 500*time.Millisecond || dst.at[3] < 2900*time.Millisecond {
			t.Errorf("%d events after %v, want the first soon and the last after 3 s", len(dst.at), dst.at)
		}
	})
}

// soon is an error that asks to come back after a short time.
type soon struct{ error }

func (soon) RetryAfter() time.Duration { return time.Millisecond }

// stored returns an engine with events and a cursor that ends after them.
func stored(t *testing.T, events []*notifications.Event) (*sinks.Memory, sinks.Cursor) {
	t.Helper()
	m := sinks.NewMemory(nil)
	if err := m.Write(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	cur, err := m.Cursor(t.Context(), "c", &sinks.CursorOptions{From: sinks.Oldest(), To: uint64(len(events))})
	if err != nil {
		t.Fatal(err)
	}
	return m, cur
}

func shutdown(t *testing.T, m *sinks.Memory) {
	t.Helper()
	if err := m.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
