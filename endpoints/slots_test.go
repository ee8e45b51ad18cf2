package endpoints

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSlots(3)
		var busy, peak atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := s.take(t.Context()); err != nil {
					t.Error(err)
					return
				}
				defer s.leave()
				if n := busy.Add(1); n > peak.Load() {
					peak.Store(n)
				}
				time.Sleep(time.Second)
				busy.Add(-1)
			})
		}
		time.Sleep(time.Second / 2)
		if n := s.InFlight(); n != 3 {
			t.Errorf("%d in flight, want 3", n)
		}
		why := errors.New("why")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second/4, why)
		defer cancel()
		if err := s.take(ctx); !errors.Is(err, why) {
			t.Errorf("waiting ends with %v", err)
		}
		wg.Wait()
		if peak.Load() != 3 || s.InFlight() != 0 {
			t.Errorf("%d at a time, %d left", peak.Load(), s.InFlight())
		}
	})
}

func TestNoSlotsAreNoBound(t *testing.T) {
	var s *Slots
	for range 100 {
		if err := s.take(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	s.leave()
	if s.InFlight() != 0 {
		t.Error("nil counts")
	}
}
