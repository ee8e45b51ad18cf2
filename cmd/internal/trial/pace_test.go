package trial

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
)

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{opts: SendOptions{Batch: 5, Rate: 10}}
		batches := make(chan []*notifications.Event)
		start := time.Now()
		var at []time.Duration
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range batches {
				at = append(at, time.Since(start))
			}
		}()
		if err := s.deal(t.Context(), Samples(12), batches); err != nil {
			t.Fatal(err)
		}
		close(batches)
		<-done
		want := []time.Duration{0, 500 * time.Millisecond, time.Second}
		if len(at) != len(want) {
			t.Fatalf("dealt at %v, want %v", at, want)
		}
		for i := range at {
			if at[i] != want[i] {
				t.Fatalf("dealt at %v, want %v", at, want)
			}
		}
	})
}

func TestPaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := &sender{opts: SendOptions{Batch: 1, Rate: 0.001}}
		batches := make(chan []*notifications.Event, 1)
		start := time.Now()
		err := s.deal(ctx, Samples(2), batches)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("ended after %v with %v", time.Since(start), err)
		}
	})
}
