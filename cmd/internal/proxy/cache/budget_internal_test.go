package cache

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// What is in memory once takes nothing of the budget, and so waits for none of it: others
// may have taken too much for the moment that it takes to give it back.
func TestHitInMemoryTakesNoBudget(t *testing.T) {
	registry := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"tags":["1"]}`) })
	c := New(registry, NewMemory(time.Hour, 0), &Options{Anonymous: true})
	for _, want := range []string{"MISS", "HIT"} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", "/v2/team/app/tags/list", nil))
		if got := w.Header().Get("X-Cache"); got != want {
			t.Errorf("X-Cache: %q, want %q", got, want)
		}
		c.held.left.Store(-1)
	}
}
