package cache

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications/observer"
	"github.com/regcast/regcast/notifications/observer/route"
	"github.com/regcast/regcast/sinks"
)

// Options say what a [Cache] may do. The zero value, or nil, answers whoever shows the
// same credentials.
type Options struct {
	Proxy string // the name of the proxy, for metrics

	// TTL is how long an answer is good for; 0: a minute. That of the Store bounds it, too,
	// and a minute bounds it for who shows credentials, which may be revoked.
	TTL time.Duration

	// Anonymous has all share who show no credentials.
	Anonymous bool
	// Public are repositories that everybody may read: what one was answered, all are. Those
	// that a request names in another registry (by ns, as containerd asks a mirror) are not.
	Public []sinks.Glob

	// As says as whom next asks the registry beside what a request shows, such as by a client
	// certificate, and what it makes of answers. Caches that share a Store give each other
	// answers only if it is equal.
	As string

	// Address returns what addresses in the answer to a request begin with; nil: they
	// depend on the Host header alone.
	Address func(*http.Request) string

	// Extra recognizes requests outside the distribution API that delete something, as in
	// observer.Options.
	Extra []func(*http.Request) (observer.Deletion, bool)

	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: nothing is logged
}

// defaultTTL is that of [Options] that do not say.
const defaultTTL = time.Minute

// maxBelieved is how long credentials are believed that the registry has accepted, however
// long answers are good for: it alone knows when a password or token is revoked.
const maxBelieved = time.Minute

// A Cache answers some requests itself and has a handler answer the others. It is safe for
// concurrent use.
type Cache struct {
	next    http.Handler
	store   *guarded
	opts    *Options
	flights flights
	copies  bool    // what store has is in memory once more for each who is answered
	held    *budget // for copies, and for answers that are held back
	metrics *metrics
}

// New returns a Cache before next, with what is in store. opts may be nil.
func New(next http.Handler, store Store, opts *Options) *Cache {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	if o.Address == nil {
		o.Address = func(*http.Request) string { return "" }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := newMetrics(o.Registerer, o.Proxy)
	_, one := store.(*Memory)
	return &Cache{next: next, store: newGuarded(store, m, o.Logger), opts: &o, copies: !one, held: newBudget(maxHeld), metrics: m}
}

// ServeHTTP answers r.
func (c *Cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.store.repay(r.Context())
	at := route.Route{}
	if r.URL.RawPath == "" {
		at = route.Parse(r.URL.Path)
	}
	if repository := c.changes(r, at); repository != "" {
		c.change(w, r, repository)
		return
	}
	q, ok := c.ask(r, at)
	if !ok {
		c.next.ServeHTTP(&defaults{ResponseWriter: w, class: at.Class}, r)
		return
	}
	c.answer(w, r, q)
}

// Invalidate forgets what is known of a repository, since it was changed in another way.
// With "" it does nothing.
func (c *Cache) Invalidate(ctx context.Context, repository string) {
	if repository != "" {
		c.store.bump(ctx, repository)
	}
}

// InvalidateAll forgets what is known of all repositories, since nobody knows which of them
// were changed.
func (c *Cache) InvalidateAll(ctx context.Context) {
	c.store.bump(ctx, "")
}

// Repay tells the store of changes that it could not be told of before, if that is possible
// now; others that use it give old answers until then. Every request does so, too: whoever
// has a Cache with a shared Store calls this every second or so for when there are none.
func (c *Cache) Repay(ctx context.Context) {
	c.store.repay(ctx)
}

// changes returns the repository of which r may change something that is kept. A blob that
// comes changes nothing: that it is not there is never kept.
func (c *Cache) changes(r *http.Request, at route.Route) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return ""
	}
	switch at.Class {
	case route.Manifest, route.Blob:
		return at.Repository
	case route.Unclassified:
		for _, recognize := range c.opts.Extra {
			if d, ok := recognize(r); ok {
				return d.Repository
			}
		}
	}
	return ""
}

// change has r answered and begins a generation before it and one before its answer. What
// was asked for meanwhile may be older than the answer and is of the first.
func (c *Cache) change(w http.ResponseWriter, r *http.Request, repository string) {
	c.store.announce(r.Context(), repository)
	b := &bumping{ResponseWriter: defaults{ResponseWriter: w}, ctx: r.Context(), store: c.store, repository: repository}
	defer b.end()
	c.next.ServeHTTP(b, r)
}

// answer answers q from the store or, if it does not know, from the registry.
func (c *Cache) answer(w http.ResponseWriter, r *http.Request, q *question) {
	in, value, trusted := c.store.get(r.Context(), q.route.Repository, q.keys)
	if !trusted {
		c.metrics.count(q.route.Class, resultBypass)
		c.next.ServeHTTP(&defaults{ResponseWriter: w, class: q.route.Class}, r)
		return
	}
	if e, ok := c.usable(value, time.Now()); ok && !q.fresh {
		c.hit(w, r, q, e, len(value))
		return
	}
	if q.fresh {
		c.metrics.count(q.route.Class, resultMiss)
		c.fill(w, r, q, in, func(*entry) {})
		return
	}
	f, first := c.flights.join(q.own() + string(in))
	if first {
		c.metrics.count(q.route.Class, resultMiss)
		defer f.land(nil)
		c.fill(w, r.WithContext(context.WithoutCancel(r.Context())), q, in, f.land) // others may wait for it
		return
	}
	select {
	case <-f.landed:
	case <-r.Context().Done():
	}
	if e := f.entry(); e != nil {
		c.metrics.count(q.route.Class, resultShared)
		e.serve(w, r, time.Now())
		return
	}
	c.metrics.count(q.route.Class, resultMiss) // of which the answer cannot be kept, or nobody waits for it
	c.fill(w, r, q, in, func(*entry) {})
}

// hit answers with e, which is of a value of size bytes. A copy that there is no room for
// is not held while a client reads it: the registry is asked instead.
func (c *Cache) hit(w http.ResponseWriter, r *http.Request, q *question, e *entry, size int) {
	if c.copies {
		if !c.held.take(size) {
			c.metrics.count(q.route.Class, resultBusy)
			c.next.ServeHTTP(&defaults{ResponseWriter: w, class: q.route.Class}, r)
			return
		}
		defer c.held.give(size)
	}
	c.metrics.count(q.route.Class, resultHit)
	e.serve(w, r, time.Now())
}

// usable returns the entry in value if it is still good.
func (c *Cache) usable(value []byte, now time.Time) (*entry, bool) {
	if value == nil {
		return nil, false
	}
	e, ok := decode(value)
	if !ok {
		c.metrics.errors[operationDecode].Inc()
		return nil, false
	}
	return e, now.Before(e.until)
}

// fill has the registry answer q and keeps the answer, if it may, as one of generation in,
// in which it was asked for. done hears of it, or with nil that there is nothing to keep,
// before the client does, as that may be slow. It may be called again, which is to be
// ignored.
func (c *Cache) fill(w http.ResponseWriter, r *http.Request, q *question, in Generation, done func(*entry)) {
	capture := &capture{defaults: defaults{ResponseWriter: w, class: q.route.Class}, head: q.head, held: c.held, done: func() { done(nil) }}
	defer capture.release()
	c.next.ServeHTTP(capture, r)
	e, why := capture.entry(q)
	if e == nil {
		if why != "" {
			c.metrics.unkept[why].Inc()
		}
		done(nil)
		return
	}
	e.stored = time.Now()
	e.until = e.stored.Add(c.opts.TTL)
	if bound := e.stored.Add(maxBelieved); q.personal && bound.Before(e.until) {
		e.until = bound
	}
	if !q.until.IsZero() && q.until.Before(e.until) {
		e.until = q.until
	}
	c.store.set(r.Context(), q.route.Repository, q.own(), in, e.encode(), e.until.Sub(e.stored))
	done(e)
}
