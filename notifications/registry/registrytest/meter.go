package registrytest

import (
	"net/http"
	"slices"
	"sync"
)

// A Meter remembers which requests came. Its Wrap is for [Options]. The zero value is
// ready; it is safe for concurrent use.
type Meter struct {
	mu       sync.Mutex
	requests []string
}

// Wrap returns a handler that notes the method and the path of each request, before next
// serves it.
func (m *Meter) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.requests = append(m.requests, r.Method+" "+r.URL.Path)
		m.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// Requests returns what came since the last Reset, as "GET /v2/".
func (m *Meter) Requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests)
}

// Count counts the requests that were exactly want.
func (m *Meter) Count(want string) (n int) {
	for _, got := range m.Requests() {
		if got == want {
			n++
		}
	}
	return n
}

// Reset forgets what came.
func (m *Meter) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = nil
}
