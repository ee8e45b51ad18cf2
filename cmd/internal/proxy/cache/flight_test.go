package cache_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy/cache"
)

// A client that does not read an answer which is too large to be kept stalls nobody who
// asks the same, before or after the answer has begun.
func TestAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{body: `{"tags":["` + strings.Repeat("x", 8<<20) + `"]}`}
		begin := make(chan struct{})
		c := cache.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-begin
			b.ServeHTTP(w, r)
		}), cache.NewMemory(time.Hour, 0), &cache.Options{Anonymous: true})
		slow := &stalled{ResponseRecorder: httptest.NewRecorder(), read: make(chan struct{})}
		var wait sync.WaitGroup
		wait.Go(func() { c.ServeHTTP(slow, httptest.NewRequest("GET", tags, nil)) })
		synctest.Wait()
		var answered atomic.Int64
		other := func() {
			if w := ask(c, "GET", tags); w.Body.Len() != len(b.body) {
				t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
			}
			answered.Add(1)
		}
		wait.Go(other)
		synctest.Wait()
		close(begin)
		synctest.Wait()
		wait.Go(other)
		synctest.Wait()
		if n := answered.Load(); n != 2 {
			t.Errorf("%d of 2 clients were answered while another did not read", n)
		}
		close(slow.read)
		wait.Wait()
	})
}

// What a client asks for that goes away is answered for those who ask the same.
func TestAClientThatGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		begin := make(chan struct{})
		c := cache.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-begin
			if err := r.Context().Err(); err != nil {
				t.Error(err)
			}
			b.ServeHTTP(w, r)
		}), cache.NewMemory(time.Hour, 0), &cache.Options{Anonymous: true})
		ctx, leave := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", byTag, nil).WithContext(ctx))
		})
		synctest.Wait()
		wait.Go(func() {
			if w := ask(c, "GET", byTag); w.Code != 200 || w.Header().Get("X-Cache") != "HIT" {
				t.Errorf("%d, X-Cache: %s", w.Code, w.Header().Get("X-Cache"))
			}
		})
		synctest.Wait()
		leave()
		close(begin)
		wait.Wait()
		if n := b.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// stalled is a client that does not read a body yet.
type stalled struct {
	*httptest.ResponseRecorder
	read chan struct{}
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.read
	return s.ResponseRecorder.Write(p)
}
