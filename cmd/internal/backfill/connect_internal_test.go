package backfill

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// An answer that does not go on ends in time, and one that is read is not disturbed.
func TestABodyThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{slots: make(chan struct{}, 1), base: roundTripper(func(req *http.Request) (*http.Response, error) {
			r, w := io.Pipe()
			context.AfterFunc(req.Context(), func() { w.CloseWithError(req.Context().Err()) })
			go w.Write([]byte("half"))
			return &http.Response{Body: r}, nil
		})}
		resp, err := g.RoundTrip(httptest.NewRequest("GET", "/v2/", nil))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		got, err := io.ReadAll(resp.Body)
		if string(got) != "half" || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != bodyTimeout {
			t.Errorf("%q, %v after %v", got, err, time.Since(begun))
		}
		resp.Body.Close()
	})
}

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
					return &http.Response{Body: http.NoBody}, nil
				})}
				begun := time.Now()
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						resp, err := g.RoundTrip(new(http.Request))
						if err != nil {
							t.Error(err)
							return
						}
						resp.Body.Close()
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
