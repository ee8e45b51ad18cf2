package cache

import "sync"

// flights are questions that the registry is asking itself, so that of many clients with
// one question at one time one alone asks.
type flights struct {
	mu    sync.Mutex
	under map[string]*flight
}

// A flight is one of them. It ends when its answer is known.
type flight struct {
	all    *flights
	key    string
	once   sync.Once
	landed chan struct{}
	result *entry // to be read when landed is closed
}

// join returns the flight for key, and whether the caller is the one to ask.
func (f *flights) join(key string) (*flight, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under, ok := f.under[key]; ok {
		return under, false
	}
	if f.under == nil {
		f.under = make(map[string]*flight)
	}
	mine := &flight{all: f, key: key, landed: make(chan struct{})}
	f.under[key] = mine
	return mine, true
}

// land tells those who wait; nil if there is nothing to tell. The first call counts.
func (f *flight) land(e *entry) {
	f.once.Do(func() {
		f.all.mu.Lock()
		delete(f.all.under, f.key)
		f.all.mu.Unlock()
		f.result = e
		close(f.landed)
	})
}

// entry returns the answer, nil if there is none or it is not known yet.
func (f *flight) entry() *entry {
	select {
	case <-f.landed:
		return f.result
	default:
		return nil
	}
}
