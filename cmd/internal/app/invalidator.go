package app

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
)

// invalidators are those of all proxies with a cache, each of which hears of every event: a
// registry has more names than one, and to forget too much is no harm.
type invalidators struct {
	mu  sync.RWMutex
	all []*invalidator
}

func (s *invalidators) add(v *invalidator) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, v)
}

// hear is told of events when they have come. It waits for nothing.
func (s *invalidators) hear(events []*notifications.Event) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, v := range s.all {
		v.hear(events)
	}
}

// stop ends all of them.
func (s *invalidators) stop(ctx context.Context) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var ended sync.WaitGroup
	for _, v := range s.all {
		ended.Go(func() { v.stop(ctx) })
	}
	ended.Wait()
}

// maxUntold is how many repositories an invalidator remembers while its cache is slow. If
// more change, the cache forgets everything.
const maxUntold = 10_000

// repayEvery is how often a cache is asked to make up for changes that its store could not
// be told of.
const repayEvery = time.Second

// A forgetter is a proxy with a cache.
type forgetter interface {
	Invalidate(ctx context.Context, repository string)
	InvalidateAll(ctx context.Context)
	Repay(ctx context.Context)
}

// An invalidator has a cache forget the repositories that events say have changed, and make
// up for what its store could not be told of.
type invalidator struct {
	cache forgetter
	told  map[bool]prometheus.Counter // by whether it was everything

	ctx    context.Context // ends when stop does not wait any longer
	cancel context.CancelFunc
	more   chan struct{} // has one while something is untold
	done   chan struct{}

	mu     sync.Mutex
	untold map[string]struct{}
	all    bool // more than are remembered are untold
	closed bool
}

// startInvalidator returns an invalidator at work; its stop ends it.
func startInvalidator(proxy string, cache forgetter, reg prometheus.Registerer) *invalidator {
	told := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "regcast_proxy_cache_invalidations_total", ConstLabels: prometheus.Labels{"proxy": proxy},
		Help: "How often events had the cache forget a repository, or everything since too many waited.",
	}, []string{"scope"})
	reg.MustRegister(told)
	v := &invalidator{
		cache:  cache,
		told:   map[bool]prometheus.Counter{false: told.WithLabelValues("repository"), true: told.WithLabelValues("everything")},
		more:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		untold: make(map[string]struct{}),
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	go v.run()
	return v
}

// hear remembers what has changed.
func (v *invalidator) hear(events []*notifications.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return
	}
	for _, e := range events {
		if v.all {
			break
		}
		if !changes(e) {
			continue
		}
		if _, known := v.untold[e.Repository]; !known {
			v.untold[strings.Clone(e.Repository)] = struct{}{} // without the rest of the event
		}
		if len(v.untold) > maxUntold {
			v.all = true
			clear(v.untold)
		}
	}
	if v.all || len(v.untold) > 0 {
		v.wake()
	}
}

// changes tells whether an answer that a cache may have kept is another after e. A blob
// that has come changes none: that it was not there is never kept.
func changes(e *notifications.Event) bool {
	switch e.Action {
	case notifications.ActionPull, notifications.ActionPing:
		return false
	case notifications.ActionPush, notifications.ActionMount:
		return e.Repository != "" && e.Kind() != notifications.KindBlob
	}
	return e.Repository != ""
}

func (v *invalidator) wake() {
	select {
	case v.more <- struct{}{}:
	default:
	}
}

// take returns what is untold: some repositories, or all there are.
func (v *invalidator) take() (some map[string]struct{}, all bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	some, all = v.untold, v.all
	v.untold, v.all = make(map[string]struct{}), false
	return some, all
}

func (v *invalidator) run() {
	defer close(v.done)
	again := time.NewTicker(repayEvery)
	defer again.Stop()
	for {
		select {
		case _, more := <-v.more:
			if !more {
				return
			}
			v.tell()
		case <-again.C:
			v.cache.Repay(v.ctx)
		}
	}
}

// tell has the cache forget what is untold.
func (v *invalidator) tell() {
	some, all := v.take()
	if all {
		v.cache.InvalidateAll(v.ctx)
		v.told[true].Inc()
	}
	for repository := range some {
		if v.ctx.Err() != nil {
			return
		}
		v.cache.Invalidate(v.ctx, repository)
		v.told[false].Inc()
	}
}

// stop has the cache told of the last, until ctx ends. Later calls do nothing.
func (v *invalidator) stop(ctx context.Context) {
	v.mu.Lock()
	if !v.closed {
		v.closed = true
		close(v.more)
	}
	v.mu.Unlock()
	defer context.AfterFunc(ctx, v.cancel)()
	<-v.done
	v.cancel()
}
