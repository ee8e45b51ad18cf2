package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications/observer/cache"
	"github.com/regcast/regcast/notifications/observer/cache/cachetest"
)

var errDown = errors.New("the cache is down")

// A fragile is a Memory that fails on demand.
type fragile struct {
	*cache.Memory
	down                atomic.Bool
	stats, sets, clears atomic.Int64
	afterClear          func() // called when a Clear has succeeded; nil: nothing
}

func newFragile() *fragile { return &fragile{Memory: cache.NewMemory(1000)} }

func (f *fragile) Repository(name string) (cache.Descriptors, error) {
	d, err := f.Memory.Repository(name)
	return fragileScope{f, d}, err
}

type fragileScope struct {
	f *fragile
	cache.Descriptors
}

func (s fragileScope) Stat(ctx context.Context, dgst digest.Digest) (v1.Descriptor, error) {
	s.f.stats.Add(1)
	if s.f.down.Load() {
		return v1.Descriptor{}, errDown
	}
	return s.Descriptors.Stat(ctx, dgst)
}

func (s fragileScope) Set(ctx context.Context, dgst digest.Digest, desc v1.Descriptor) error {
	s.f.sets.Add(1)
	if s.f.down.Load() {
		return errDown
	}
	return s.Descriptors.Set(ctx, dgst, desc)
}

func (s fragileScope) Clear(ctx context.Context, dgst digest.Digest) error {
	s.f.clears.Add(1)
	if s.f.down.Load() {
		return errDown
	}
	err := s.Descriptors.Clear(ctx, dgst)
	if s.f.afterClear != nil {
		s.f.afterClear()
	}
	return err
}

// A registry is a backend that has what it holds, in every repository.
type registry struct {
	mu    sync.Mutex
	has   map[digest.Digest]v1.Descriptor
	asked int
}

var errAbsent = errors.New("the registry has no such content")

func (r *registry) stat(_ context.Context, _ string, dgst digest.Digest) (v1.Descriptor, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if desc, ok := r.has[dgst]; ok {
		return desc, nil
	}
	return v1.Descriptor{}, errAbsent
}

func blob(content string) v1.Descriptor {
	return v1.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString(content), Size: int64(len(content))}
}

// A setting is a ReadThrough between a fragile cache and a registry with one blob.
type setting struct {
	*testing.T
	cached   *fragile
	registry *registry
	metrics  *prometheus.Registry
	log      bytes.Buffer
	through  *cache.ReadThrough
	app      cache.Descriptors
	blob     v1.Descriptor
}

func newSetting(t *testing.T, lifetime time.Duration) *setting {
	s := &setting{T: t, cached: newFragile(), metrics: prometheus.NewRegistry(), blob: blob("a")}
	s.registry = &registry{has: map[digest.Digest]v1.Descriptor{s.blob.Digest: s.blob}}
	s.through = cache.NewReadThrough(s.cached, s.registry.stat, &cache.ReadThroughOptions{
		Lifetime: lifetime, Registerer: s.metrics, Logger: slog.New(slog.NewTextHandler(&s.log, nil))})
	s.app = s.repository("team/app")
	return s
}

func (s *setting) repository(name string) cache.Descriptors {
	s.Helper()
	d, err := s.through.Repository(name)
	if err != nil {
		s.Fatal(err)
	}
	return d
}

// wantStat asks for the blob, and compares the error and how often the cache and the
// registry have been asked since the beginning.
func (s *setting) wantStat(want error, cached int64, registry int) {
	s.Helper()
	desc, err := s.app.Stat(s.Context(), s.blob.Digest)
	if !errors.Is(err, want) || err == nil && desc.Digest != s.blob.Digest {
		s.Errorf("Stat: %+v, %v, want %v", desc, err, want)
	}
	if got := s.cached.stats.Load(); got != cached {
		s.Errorf("the cache was asked %d times, not %d", got, cached)
	}
	if s.registry.asked != registry {
		s.Errorf("the registry was asked %d times, not %d", s.registry.asked, registry)
	}
}

func (s *setting) wantMetrics(want string) {
	s.Helper()
	var text strings.Builder
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintf(&text, "regcast_descriptor_cache_%s\n", line)
		}
	}
	got, err := s.metrics.Gather()
	if err != nil {
		s.Fatal(err)
	}
	var lines strings.Builder
	for _, family := range got {
		for _, m := range family.Metric {
			label := ""
			if len(m.Label) > 0 {
				label = fmt.Sprintf("{%s=%q}", m.Label[0].GetName(), m.Label[0].GetValue())
			}
			if c := m.GetCounter(); c != nil {
				fmt.Fprintf(&lines, "%s%s %v\n", family.GetName(), label, c.GetValue())
			} else if g := m.GetGauge(); g != nil {
				fmt.Fprintf(&lines, "%s%s %v\n", family.GetName(), label, g.GetValue())
			}
		}
	}
	if lines.String() != text.String() {
		s.Errorf("metrics:\n%swant:\n%s", lines.String(), text.String())
	}
}

// wantOperations compares how many operations of each kind have been timed.
func (s *setting) wantOperations(want string) {
	s.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.Fatal(err)
	}
	var got []string
	for _, family := range families {
		if family.GetName() != "regcast_descriptor_cache_operation_seconds" {
			continue
		}
		for _, m := range family.Metric {
			got = append(got, fmt.Sprintf("%s %d", m.Label[0].GetValue(), m.GetHistogram().GetSampleCount()))
		}
	}
	if got := strings.Join(got, ", "); got != want {
		s.Errorf("operations: %s, want %s", got, want)
	}
}

func TestReadThroughIsAProvider(t *testing.T) {
	cachetest.TestProvider(t, func(*testing.T) cache.Provider {
		return cache.NewReadThrough(cache.NewMemory(1000), nil, nil)
	})
}

func TestReadThrough(t *testing.T) {
	s := newSetting(t, 0)
	s.wantMetrics(`bypass 0
		bypassed_total 0
		errors_total{operation="clear"} 0
		errors_total{operation="set"} 0
		errors_total{operation="stat"} 0
		hits_total 0
		misses_total 0
		requests_total 0`)
	s.wantStat(nil, 1, 1) // a miss
	s.wantStat(nil, 2, 1) // a hit
	if err := s.app.Clear(t.Context(), s.blob.Digest); err != nil {
		t.Error(err)
	}
	delete(s.registry.has, s.blob.Digest)
	s.wantStat(errAbsent, 3, 2)
	if got := s.cached.sets.Load(); got != 1 {
		t.Errorf("%d sets, want 1: what is absent is not kept", got)
	}
	if err := s.app.Clear(t.Context(), s.blob.Digest); !errors.Is(err, cache.ErrUnknown) {
		t.Errorf("Clear: %v", err)
	}
	if _, err := s.through.Stat(t.Context(), s.blob.Digest); !errors.Is(err, cache.ErrUnknown) || s.registry.asked != 2 {
		t.Errorf("of all repositories: %v, the registry was asked %d times", err, s.registry.asked)
	}
	s.wantMetrics(`bypass 0
		bypassed_total 0
		errors_total{operation="clear"} 0
		errors_total{operation="set"} 0
		errors_total{operation="stat"} 0
		hits_total 1
		misses_total 3
		requests_total 4`)
	s.wantOperations("clear 2, set 1, stat 4")
}

// An error is neither hit nor miss: the registry answers, and the cache gets no write.
func TestReadThroughBrokenCache(t *testing.T) {
	s := newSetting(t, 0)
	s.cached.down.Store(true)
	s.wantStat(nil, 1, 1)
	delete(s.registry.has, s.blob.Digest)
	s.wantStat(errAbsent, 2, 2)
	if got := s.cached.sets.Load(); got != 0 {
		t.Errorf("%d sets after an error of the cache", got)
	}
	if err := s.app.Set(t.Context(), s.blob.Digest, s.blob); err != nil {
		t.Errorf("Set: %v", err)
	}
	s.cached.down.Store(false)
	s.wantStat(errAbsent, 3, 3) // not bypassed: nothing was to be forgotten
	s.wantMetrics(`bypass 0
		bypassed_total 0
		errors_total{operation="clear"} 0
		errors_total{operation="set"} 1
		errors_total{operation="stat"} 2
		hits_total 0
		misses_total 1
		requests_total 3`)
}

// What the registry says that is no valid entry is passed on and not kept.
// Without a registry to ask, an error is no miss for who asks, either, who would tell the
// cache what it knows.
func TestReadThroughBrokenCacheAlone(t *testing.T) {
	cached := newFragile()
	through := cache.NewReadThrough(cached, nil, nil)
	team, err := through.Repository("team/app")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []cache.Descriptors{team, through} {
		if _, err := d.Stat(t.Context(), blob("a").Digest); !errors.Is(err, cache.ErrUnknown) {
			t.Errorf("a miss: %v", err)
		}
	}
	cached.down.Store(true)
	if _, err := team.Stat(t.Context(), blob("a").Digest); !errors.Is(err, errDown) {
		t.Errorf("an error: %v", err)
	}
}

func TestReadThroughInvalidAnswer(t *testing.T) {
	s := newSetting(t, 0)
	s.registry.has[s.blob.Digest] = v1.Descriptor{Digest: s.blob.Digest, Size: 1}
	s.wantStat(nil, 1, 1)
	if got := s.cached.sets.Load(); got != 0 {
		t.Errorf("%d sets", got)
	}
}

// A malformed digest says nothing about the cache.
func TestReadThroughMalformed(t *testing.T) {
	s := newSetting(t, 0)
	if err := s.app.Clear(t.Context(), "sha256:abc"); err == nil {
		t.Error("Clear of a malformed digest")
	}
	if _, err := s.app.Stat(t.Context(), "sha256:abc"); err == nil || s.registry.asked != 0 {
		t.Errorf("Stat of a malformed digest: %v, the registry was asked %d times", err, s.registry.asked)
	}
	s.wantStat(nil, 1, 1)
}

func TestReadThroughBypass(t *testing.T) {
	for _, test := range []struct {
		name   string
		wait   time.Duration    // what ends the bypass is time
		settle func(s *setting) // and this
	}{
		{"until the next Stat after a while", cache.RetryEvery, func(*setting) {}},
		{"until the same Clear succeeds", 0, func(s *setting) {
			if err := s.app.Clear(s.Context(), s.blob.Digest); err != nil {
				s.Error(err)
			}
		}},
		{"until another Clear succeeds", 0, func(s *setting) {
			if err := s.repository("other/app").Clear(s.Context(), blob("b").Digest); !errors.Is(err, cache.ErrUnknown) {
				s.Error(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSetting(t, 0)
				s.wantStat(nil, 1, 1)
				s.cached.down.Store(true)
				delete(s.registry.has, s.blob.Digest)
				if err := s.app.Clear(t.Context(), s.blob.Digest); !errors.Is(err, errDown) {
					t.Errorf("Clear: %v", err)
				}
				s.cached.down.Store(false) // and the stale entry is still there
				s.wantStat(errAbsent, 1, 2)
				if err := s.app.Set(t.Context(), s.blob.Digest, s.blob); err != nil || s.cached.sets.Load() != 1 {
					t.Errorf("Set while bypassed: %v, %d sets", err, s.cached.sets.Load())
				}
				time.Sleep(test.wait)
				test.settle(s)
				s.wantStat(errAbsent, 2, 3)
				s.wantMetrics(`bypass 0
					bypassed_total 1
					errors_total{operation="clear"} 1
					errors_total{operation="set"} 0
					errors_total{operation="stat"} 0
					hits_total 0
					misses_total 2
					requests_total 3`)
				if log := s.log.String(); strings.Count(log, "\n") != 2 || strings.Count(log, "bypassed") != 1 || strings.Count(log, "used again") != 1 {
					t.Errorf("logged:\n%s", log)
				}
			})
		})
	}
}

// A Clear that fails while an earlier failure of the same is made up for is not forgotten
// with it.
func TestReadThroughOwedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t, 0)
		s.cached.down.Store(true)
		s.app.Clear(t.Context(), s.blob.Digest)
		s.cached.down.Store(false)
		time.Sleep(cache.RetryEvery)
		s.cached.afterClear = func() {
			s.cached.afterClear = nil
			s.cached.down.Store(true)
			if err := s.app.Clear(t.Context(), s.blob.Digest); !errors.Is(err, errDown) {
				t.Errorf("Clear: %v", err)
			}
			s.cached.down.Store(false)
		}
		s.wantStat(nil, 0, 1) // bypassed, though the first failure was made up for
		if got := s.cached.clears.Load(); got != 3 {
			t.Errorf("%d attempts to clear, want 3", got)
		}
		time.Sleep(cache.RetryEvery)
		s.wantStat(nil, 1, 2)
	})
}

// While the cache stays down, it is tried once in a while, not with each request.
func TestReadThroughRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t, 0)
		s.cached.down.Store(true)
		if err := s.app.Clear(t.Context(), s.blob.Digest); !errors.Is(err, errDown) {
			t.Errorf("Clear: %v", err)
		}
		for range 100 {
			s.app.Stat(t.Context(), s.blob.Digest)
			time.Sleep(cache.RetryEvery / 10)
		}
		if got := s.cached.clears.Load(); got < 9 || got > 11 {
			t.Errorf("%d attempts in ten times RetryEvery", got)
		}
		if got := s.cached.stats.Load(); got != 0 {
			t.Errorf("the cache was asked %d times", got)
		}
	})
}

func TestReadThroughTooManyOwed(t *testing.T) {
	for _, test := range []struct {
		name     string
		lifetime time.Duration
		trusted  bool // after an hour
	}{
		{"entries end", time.Hour, true},
		{"entries stay", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSetting(t, test.lifetime)
				s.cached.down.Store(true)
				for i := range cache.MaxOwed + 1 {
					s.app.Clear(t.Context(), blob(fmt.Sprint(i)).Digest)
				}
				s.cached.down.Store(false)
				time.Sleep(time.Hour - cache.RetryEvery)
				s.wantStat(nil, 0, 1)
				time.Sleep(cache.RetryEvery)
				asked := int64(0)
				if test.trusted {
					asked = 1
				}
				s.wantStat(nil, asked, 2)
			})
		})
	}
}

// An answer that was on its way while its content was deleted is not kept.
func TestReadThroughFillRacesClear(t *testing.T) {
	content := blob("a")
	asked, answer := make(chan struct{}), make(chan struct{})
	cached := newFragile()
	through := cache.NewReadThrough(cached, func(context.Context, string, digest.Digest) (v1.Descriptor, error) {
		close(asked)
		<-answer
		return content, nil
	}, nil)
	app, err := through.Repository("team/app")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := app.Stat(t.Context(), content.Digest)
		done <- err
	}()
	<-asked
	if err := app.Clear(t.Context(), content.Digest); !errors.Is(err, cache.ErrUnknown) {
		t.Error(err)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := cached.sets.Load(); got != 0 {
		t.Errorf("%d sets after the Clear", got)
	}
}

// Readers, writers and failures at once: a Clear that returned nil is not contradicted by
// a later Stat, and in the end all is settled.
func TestReadThroughConcurrent(t *testing.T) {
	cached := newFragile()
	through := cache.NewReadThrough(cached, nil, nil)
	var wg, flip sync.WaitGroup
	stop := make(chan struct{})
	flip.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				cached.down.Store(i%3 == 0)
			}
		}
	})
	for i := range 8 {
		app, err := through.Repository(fmt.Sprint("team/app", i))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			content := blob("a")
			for range 500 {
				app.Set(t.Context(), content.Digest, content)
				app.Clear(t.Context(), content.Digest)
				if desc, err := app.Stat(t.Context(), content.Digest); !errors.Is(err, cache.ErrUnknown) && !errors.Is(err, errDown) {
					t.Errorf("what was cleared, or could not be, is known: %+v, %v", desc, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	flip.Wait()
	cached.down.Store(false)
	through.Clear(t.Context(), blob("a").Digest)
	before := cached.stats.Load()
	app, _ := through.Repository("team/app")
	app.Stat(t.Context(), blob("a").Digest)
	if cached.stats.Load() != before+1 {
		t.Error("the cache is bypassed although nothing is owed")
	}
}
