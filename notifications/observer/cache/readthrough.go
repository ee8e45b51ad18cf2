package cache

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/prometheus/client_golang/prometheus"
)

// A Statter says what a registry has for dgst in a repository. Any error, also that there
// is no such content, is passed on to who asked.
type Statter func(ctx context.Context, repository string, dgst digest.Digest) (v1.Descriptor, error)

// ReadThroughOptions of a [ReadThrough]; nil means the defaults.
type ReadThroughOptions struct {
	// Lifetime is for how long the cache keeps an entry at most, such as the Expiry of
	// cache/redis; 0: nobody knows. See [ReadThrough.Clear].
	Lifetime time.Duration

	// Registerer of the regcast_descriptor_cache_… metrics; nil: none. A second
	// ReadThrough on it panics: wrap it with a label.
	Registerer prometheus.Registerer
	Logger     *slog.Logger // told when the cache is bypassed, and when no more; nil: nothing is logged
}

// The bounds of a [ReadThrough].
const (
	// MaxOwed is how many failed Clears are remembered, to be made up for.
	MaxOwed = 1024
	// RetryEvery is the time between two attempts to make up for failed Clears, unless a
	// Clear comes.
	RetryEvery = time.Second
)

// A ReadThrough is a [Provider] that asks a backend for what a cache does not have, and
// keeps the answer in the cache. It is safe for concurrent use, and as quick as the cache
// and the backend: bounds on time are theirs, and the caller's.
//
// An error of the cache, other than ErrUnknown, is neither hit nor miss: it is counted,
// the backend is asked, and the answer is not kept, so that a broken cache does not get a
// write for every read. What the backend says while something is cleared is not kept
// either, as it may be older than what was cleared; that holds for this process, while
// another one that shares the cache may still keep such an answer until it expires.
type ReadThrough struct {
	through
	cache   Provider
	backend Statter
	opts    ReadThroughOptions
	metrics *metrics

	clears sync.RWMutex // held to keep an answer, exclusively to count a Clear
	count  uint64       // of Clears begun

	bypassed atomic.Bool // whether anything is owed, or the cache is distrusted
	mu       sync.Mutex
	owed     map[entry]uint64 // failed Clears, each with the number of its last failure
	failures uint64           // of Clears
	distrust time.Time        // until when the cache is bypassed as a Clear could not be remembered
	forever  bool             // the same without end
	retry    time.Time        // when to try again what is owed
}

// NewReadThrough returns a ReadThrough in front of cache. backend may be nil: what the
// cache does not have is unknown then. It is not asked for what all repositories have
// together. All operations of cache are counted and timed, also those of a [Memory], whose
// hits take half as much time again.
func NewReadThrough(cache Provider, backend Statter, opts *ReadThroughOptions) *ReadThrough {
	r := &ReadThrough{cache: cache, backend: backend, owed: make(map[entry]uint64)}
	if opts != nil {
		r.opts = *opts
	}
	r.opts.Logger = cmp.Or(r.opts.Logger, slog.New(slog.DiscardHandler))
	r.metrics = newMetrics(r.opts.Registerer)
	r.through = through{r: r, cached: cache}
	return r
}

// Repository implements [Provider].
func (r *ReadThrough) Repository(name string) (Descriptors, error) {
	cached, err := r.cache.Repository(name)
	if err != nil {
		return nil, err
	}
	return through{r, cached, name}, nil
}

// A through is one repository, or with an empty name all of them together.
type through struct {
	r      *ReadThrough
	cached Descriptors
	name   string
}

// Stat returns what the cache has, else what the backend says. Errors: the backend's;
// without one ErrUnknown, or the cache's, which is no miss.
func (t through) Stat(ctx context.Context, dgst digest.Digest) (v1.Descriptor, error) {
	if err := dgst.Validate(); err != nil {
		return v1.Descriptor{}, err
	}
	r := t.r
	r.metrics.requests.Inc()
	if r.bypass(ctx) {
		r.metrics.bypassed.Inc()
		return t.ask(ctx, dgst, ErrUnknown)
	}
	start := time.Now()
	desc, err := t.cached.Stat(ctx, dgst)
	r.done(ctx, &r.metrics.stat, start, err)
	switch {
	case err == nil:
		r.metrics.hits.Inc()
		return desc, nil
	case !errors.Is(err, ErrUnknown):
		return t.ask(ctx, dgst, err)
	}
	r.metrics.misses.Inc()
	clears := r.clearsBegun()
	desc, err = t.ask(ctx, dgst, ErrUnknown)
	if err == nil && Validate(dgst, desc) == nil {
		t.keep(ctx, dgst, desc, clears)
	}
	return desc, err
}

// ask asks the backend, and returns without if there is none to ask.
func (t through) ask(ctx context.Context, dgst digest.Digest, without error) (v1.Descriptor, error) {
	if t.r.backend == nil || t.name == "" {
		return v1.Descriptor{}, without
	}
	return t.r.backend(ctx, t.name, dgst)
}

// keep has the cache keep what the backend said, unless a Clear began since.
func (t through) keep(ctx context.Context, dgst digest.Digest, desc v1.Descriptor, clears uint64) {
	r := t.r
	r.clears.RLock()
	defer r.clears.RUnlock()
	if r.count == clears {
		t.set(ctx, dgst, desc)
	}
}

// Set has the cache keep desc. Only that desc is no valid entry is an error: what the
// cache fails to keep is counted. While the cache is bypassed nothing is kept.
func (t through) Set(ctx context.Context, dgst digest.Digest, desc v1.Descriptor) error {
	if err := Validate(dgst, desc); err != nil {
		return err
	}
	if !t.r.bypass(ctx) {
		t.set(ctx, dgst, desc)
	}
	return nil
}

func (t through) set(ctx context.Context, dgst digest.Digest, desc v1.Descriptor) {
	start := time.Now()
	err := t.cached.Set(ctx, dgst, desc)
	t.r.done(ctx, &t.r.metrics.set, start, err)
}

// Clear has the cache forget dgst; the backend is not touched. Errors: ErrUnknown if there
// was nothing to forget; any other is the cache's.
//
// If it fails, the entry of something deleted may be left, which is the direction that
// harms. From then on the cache is bypassed, for all repositories, as what fails is the
// cache and not the entry, and an entry of one repository is also one of all together.
// Failed Clears are remembered and repeated with the next Clear, and with a Stat or Set
// once in [RetryEvery]; when all have succeeded the cache is used again. A Clear that fails when
// [MaxOwed] are remembered cannot be repeated: the cache is bypassed for Lifetime from then
// on, after which it no longer has the entry, or for ever if Lifetime is 0.
func (t through) Clear(ctx context.Context, dgst digest.Digest) error {
	if err := dgst.Validate(); err != nil {
		return err
	}
	r := t.r
	r.clears.Lock()
	r.count++
	r.clears.Unlock()
	err := t.clear(ctx, dgst)
	if err != nil && !errors.Is(err, ErrUnknown) {
		r.owe(entry{t.name, dgst}, err)
		return err
	}
	if r.bypassed.Load() {
		r.settle(ctx)
	}
	return err
}

// clear has the cache forget dgst, measured.
func (t through) clear(ctx context.Context, dgst digest.Digest) error {
	start := time.Now()
	err := t.cached.Clear(ctx, dgst)
	t.r.done(ctx, &t.r.metrics.clear, start, err)
	return err
}

func (r *ReadThrough) clearsBegun() uint64 {
	r.clears.RLock()
	defer r.clears.RUnlock()
	return r.count
}

// done measures an operation of the cache that began at start and returned err.
func (r *ReadThrough) done(ctx context.Context, o *operation, start time.Time, err error) {
	o.seconds.Observe(time.Since(start).Seconds())
	if err != nil && !errors.Is(err, ErrUnknown) {
		o.errors.Inc()
		r.opts.Logger.DebugContext(ctx, "descriptor cache failed", "operation", o.name, "error", err)
	}
}
