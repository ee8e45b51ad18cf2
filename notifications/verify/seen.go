package verify

import (
	"strings"
	"sync"

	"github.com/regcast/regcast/notifications"
)

// Seen remembers the ids of events, up to a number; then it forgets the oldest. It is
// safe for concurrent use.
type Seen struct {
	mu   sync.Mutex
	ids  map[string]struct{}
	ring []string // the ids in the order they came, from next on once it is full
	next int
	most int
}

// NewSeen returns a memory of at most n ids, at least 1; each takes about 150 bytes. It
// should reach as far back as repeats do: over everything that an endpoint may get within
// its retry.max_age, and that somebody may replay.
func NewSeen(n int) *Seen {
	return &Seen{ids: make(map[string]struct{}), most: max(n, 1)}
}

// Do calls work with those of events that it has not seen, each of them once and in their
// order, and remembers them if work returns nil; it returns what work returns. Without
// any there is nothing to do: it returns nil. The slice is work's own.
//
// One work at a time is under way. A receiver gets an event twice at the same time where
// regcast has lost patience with the first request: the second waits for the first, and
// is done with.
func (s *Seen) Do(events []*notifications.Event, work func(fresh []*notifications.Event) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := make([]*notifications.Event, 0, len(events))
	here := make(map[string]struct{}, len(events))
	for _, e := range events {
		_, before := s.ids[e.ID]
		_, twice := here[e.ID]
		if !before && !twice {
			here[e.ID] = struct{}{}
			fresh = append(fresh, e)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := work(fresh); err != nil {
		return err
	}
	for _, e := range events { // not of fresh, which is work's own
		s.add(e.ID)
	}
	return nil
}

// Add remembers the id of an event whose work was done before, as found in what that work
// has left.
func (s *Seen) Add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(id)
}

// Len is how many ids are remembered.
func (s *Seen) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

func (s *Seen) add(id string) {
	if _, ok := s.ids[id]; ok {
		return
	}
	id = strings.Clone(id) // which may be a part of the event's JSON and would keep all of it
	s.ids[id] = struct{}{}
	if len(s.ring) < s.most {
		s.ring = append(s.ring, id)
		return
	}
	delete(s.ids, s.ring[s.next])
	s.ring[s.next] = id
	s.next = (s.next + 1) % s.most
}
