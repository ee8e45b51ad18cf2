package cache

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// The bounds of a [Memory].
const (
	DefaultMemory   = 64 << 20 // bytes of values
	maxValues       = 100_000
	maxRepositories = 100_000
	overhead        = 256 // bytes of a value beside it, about
)

// A Memory is a [Store] in this process. What has not been asked for the longest goes
// first.
type Memory struct {
	ttl time.Duration
	max int

	mu          sync.Mutex
	last        uint64 // generation
	size        int
	generations *simplelru.LRU[string, Generation]
	values      *simplelru.LRU[memoryKey, memoryValue]
}

type memoryKey struct{ repository, key string }

type memoryValue struct {
	in    Generation
	value []byte
	until time.Time
}

// NewMemory returns a Memory that keeps values for ttl, and max bytes of them at most; 0
// is DefaultMemory.
func NewMemory(ttl time.Duration, max int) *Memory {
	if max <= 0 {
		max = DefaultMemory
	}
	m := &Memory{ttl: ttl, max: max}
	// Their only error is a size that is not positive.
	m.generations, _ = simplelru.NewLRU[string, Generation](maxRepositories, nil)
	m.values, _ = simplelru.NewLRU(maxValues, func(_ memoryKey, v memoryValue) { m.size -= len(v.value) + overhead })
	return m
}

// Get implements [Store].
func (m *Memory) Get(_ context.Context, repository string, keys ...string) (Generation, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, ok := m.generations.Get(repository)
	if !ok {
		return m.begin(repository), nil, nil
	}
	for _, key := range keys {
		k := memoryKey{repository, key}
		v, ok := m.values.Get(k)
		switch {
		case !ok:
		case v.in != now || !time.Now().Before(v.until):
			m.values.Remove(k)
		default:
			return now, v.value, nil
		}
	}
	return now, nil, nil
}

// Set implements [Store].
func (m *Memory) Set(_ context.Context, repository, key string, in Generation, value []byte, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now, ok := m.generations.Get(repository); !ok || now != in || len(value)+overhead > m.max {
		return nil
	}
	k := memoryKey{repository, key}
	m.values.Remove(k) // whose size counts no more
	m.values.Add(k, memoryValue{in, value, time.Now().Add(min(life, m.ttl))})
	m.size += len(value) + overhead
	for m.size > m.max {
		m.values.RemoveOldest()
	}
	return nil
}

// Bump implements [Store].
func (m *Memory) Bump(_ context.Context, repository string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if repository == "" {
		m.generations.Purge() // each begins with the next question
		return nil
	}
	m.begin(repository)
	return nil
}

// begin begins a generation. One that was forgotten is never begun again.
func (m *Memory) begin(repository string) Generation {
	m.last++
	g := Generation(strconv.FormatUint(m.last, 36))
	m.generations.Add(repository, g)
	return g
}
