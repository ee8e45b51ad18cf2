package differential_test

import (
	"net/http"
	"sync"
)

// A gate counts the requests that are inside of a handler and remembers which have left
// it. A client knows the end of a response before the handler has returned, and learns
// nothing of a request that it aborts.
type gate struct {
	next http.Handler

	mu      sync.Mutex
	changed *sync.Cond
	inside  int
	left    map[string]bool // by User-Agent
}

func newGate(next http.Handler) *gate {
	g := &gate{next: next, left: make(map[string]bool)}
	g.changed = sync.NewCond(&g.mu)
	return g
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	agent := r.UserAgent()
	g.mu.Lock()
	g.inside++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.inside--
		g.left[agent] = true
		g.mu.Unlock()
		g.changed.Broadcast()
	}()
	g.next.ServeHTTP(w, r)
}

// await waits until a request by agent has left.
func (g *gate) await(agent string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.left[agent] {
		g.changed.Wait()
	}
	delete(g.left, agent)
}

// idle waits until no request is inside.
func (g *gate) idle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.inside > 0 {
		g.changed.Wait()
	}
}
