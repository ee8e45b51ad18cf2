package backfill

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestGate(t *testing.T) {
	for _, test := range []struct {
		name        string
		slots       int
		every, took time.Duration
		took10      time.Duration // of 10 requests that take a second each
	}{
		{"three at a time", 3, 0, time.Second, 4 * time.Second},
		{"two in a second", 10, 500 * time.Millisecond, time.Second, 5500 * time.Millisecond},
		{"one at a time and seldom", 1, 2 * time.Second, time.Second, 19 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				under, most := 0, 0
				g := &gate{slots: make(chan struct{}, test.slots), every: test.every, base: roundTripper(func(*http.Request) (*http.Response, error) {
					mu.Lock()
					under++
					most = max(most, under)
					mu.Unlock()
					<-time.After(test.took)
					mu.Lock()
					under--
					mu.Unlock()
					return nil, nil
				})}
				begun := time.Now()
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						if _, err := g.RoundTrip(new(http.Request)); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if took := time.Since(begun); took != test.took10 || most > test.slots {
					t.Errorf("took %v and %d at a time, want %v and %d", took, most, test.took10, test.slots)
				}
			})
		})
	}
}

// Who does not want to wait any more does not.
func TestGateIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{slots: make(chan struct{}, 1), every: time.Hour, base: roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil })}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req := new(http.Request).WithContext(ctx)
		if _, err := g.RoundTrip(req); err != nil {
			t.Error(err)
		}
		var all sync.WaitGroup
		for range 2 { // one waits for its time, one for a slot
			all.Go(func() {
				if _, err := g.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, want that the time was over", err)
				}
			})
		}
		all.Wait()
	})
}
