package journal

import (
	"sort"
	"sync"
)

// eventOverhead is what an event in memory takes beyond its JSON, in bytes, roughly.
const eventOverhead = 384

// A span is an unbroken range of events in memory. It does not change once it was
// handed out.
type span struct {
	first  uint64
	events []stored
	bytes  int // that it takes in memory, roughly
}

func (s *span) end() uint64 { return s.first + uint64(len(s.events)) }

func (s *span) add(e stored) {
	s.events = append(s.events, e)
	s.bytes += e.size + eventOverhead
}

func (s *span) has(sequence uint64) bool { return sequence >= s.first && sequence < s.end() }

// A tail is the newest events, as their writers handed them over, shared by all cursors:
// an event that is delivered soon is never read back or decoded. Its bound is in bytes;
// the newest span stays whatever its size.
type tail struct {
	mu    sync.RWMutex
	spans []*span // in sequence, without gaps
	bytes int
	limit int
}

// push adds the span that follows.
func (t *tail) push(s *span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spans = append(t.spans, s)
	t.bytes += s.bytes
	drop := 0
	for ; t.bytes > t.limit && drop < len(t.spans)-1; drop++ {
		t.bytes -= t.spans[drop].bytes
		t.spans[drop] = nil
	}
	t.spans = t.spans[drop:]
}

// find returns the span with that sequence, or nil.
func (t *tail) find(sequence uint64) *span {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n := len(t.spans); n == 0 || sequence < t.spans[0].first || sequence >= t.spans[n-1].end() {
		return nil
	}
	i := sort.Search(len(t.spans), func(i int) bool { return t.spans[i].first > sequence })
	return t.spans[i-1]
}

// A cache is the spans that were read from the file last, shared by all cursors: of
// those that read the same chunk at once, one reads and decodes it.
type cache struct {
	mu      sync.Mutex
	entries []*cached // least recently used first
	bytes   int
	limit   int
}

type cached struct {
	sequence uint64 // that was asked for
	ready    chan struct{}
	span     *span // set before ready is closed, as err
	err      error
}

func (e *cached) has(sequence uint64) bool {
	if e.span == nil {
		return e.sequence == sequence // being read
	}
	return e.span.has(sequence)
}

// get returns the span with that sequence, and reads it with load if need be. A span
// that load did not find is nil.
func (c *cache) get(sequence uint64, load func(uint64) (*span, error)) (*span, error) {
	c.mu.Lock()
	for i, e := range c.entries {
		if e.has(sequence) {
			copy(c.entries[i:], c.entries[i+1:])
			c.entries[len(c.entries)-1] = e
			c.mu.Unlock()
			<-e.ready
			return e.span, e.err
		}
	}
	e := &cached{sequence: sequence, ready: make(chan struct{})}
	c.entries = append(c.entries, e)
	c.mu.Unlock()

	s, err := load(sequence)

	c.mu.Lock()
	e.span, e.err = s, err
	close(e.ready)
	if s == nil {
		c.remove(e)
	} else {
		c.bytes += s.bytes
		c.shrink()
	}
	c.mu.Unlock()
	return s, err
}

func (c *cache) remove(e *cached) {
	for i := range c.entries {
		if c.entries[i] == e {
			c.entries = append(c.entries[:i], c.entries[i+1:]...)
			return
		}
	}
}

// shrink drops what was not used for longest, but nothing that is being read.
func (c *cache) shrink() {
	kept := c.entries[:0]
	left := len(c.entries)
	for _, e := range c.entries {
		left--
		if c.bytes > c.limit && e.span != nil && left > 0 {
			c.bytes -= e.span.bytes
			continue
		}
		kept = append(kept, e)
	}
	clear(c.entries[len(kept):])
	c.entries = kept
}
