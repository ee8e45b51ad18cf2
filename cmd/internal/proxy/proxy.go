package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/cmd/internal/proxy/bearer"
	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/observer"
)

// A Proxy is the handler of one [[proxy]]. It is safe for concurrent use.
type Proxy struct {
	opts     *Options
	via      string // our name in Via (RFC 9110, section 7.6.3)
	metrics  *metrics
	faults   *faults
	observer *observer.Observer
	cache    *cache.Cache // nil for none
	forward  *forwarder

	cut    context.Context // ends when Shutdown does not wait any longer
	cutOff context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	active map[*exchange]struct{}
	idle   chan struct{} // closed when the last request after Shutdown has ended
}

// New returns a Proxy that writes events to dst. The caller ends it with Shutdown, after
// its HTTP server and before dst. Errors: an [OptionError], of files that cannot be read
// too.
func New(dst notifications.Sink, opts *Options) (*Proxy, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", opts.Name, err)
	}
	transport, err := newTransport(o)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", opts.Name, err)
	}
	var id [4]byte
	_, _ = rand.Read(id[:]) // it never fails
	p := &Proxy{opts: o, via: "regcast-" + hex.EncodeToString(id[:]), active: make(map[*exchange]struct{}), idle: make(chan struct{})}
	p.cut, p.cutOff = context.WithCancelCause(context.Background())
	p.metrics = newMetrics(o.Registerer, o.Name)
	p.faults = &faults{log: o.Logger, metrics: p.metrics}
	p.forward = newForwarder(p, transport)
	next := http.Handler(p.forward)
	if o.Cache != nil {
		p.cache = cache.New(p.forward, o.Cache, p.cacheOptions())
		next = p.cache
	}
	observing := p.observerOptions()
	if observing.Bearer, err = p.bearer(); err != nil {
		return nil, fmt.Errorf("proxy %s: %w", opts.Name, err)
	}
	p.observer = observer.New(next, dst, o.Source, observing)
	return p, nil
}

// bearer returns how the bearers of tokens are named, nil if as they say themselves.
func (p *Proxy) bearer() (func(*http.Request, string) (string, bool), error) {
	if p.opts.ActorKeys == "" && !p.opts.HashTokens {
		return nil, nil
	}
	identifier, err := bearer.New(&bearer.Options{
		KeysFile: p.opts.ActorKeys, Audience: p.opts.ActorAudience, HashOpaque: p.opts.HashTokens,
		Registerer: p.registerer(), Logger: p.opts.Logger,
	})
	if err != nil {
		return nil, &OptionError{"ActorKeys", err}
	}
	return func(r *http.Request, token string) (string, bool) {
		// A token has to count when the request begins: a large push may outlast it.
		return identifier.Identify(token, exchangeOf(r.Context()).start)
	}, nil
}

// registerer is for metrics of which every proxy has its own, nil for none.
func (p *Proxy) registerer() prometheus.Registerer {
	if p.opts.Registerer == nil {
		return nil
	}
	return prometheus.WrapRegistererWith(prometheus.Labels{"proxy": p.opts.Name}, p.opts.Registerer)
}

func (p *Proxy) cacheOptions() *cache.Options {
	o := p.opts.CacheOptions
	o.Proxy, o.Registerer, o.Logger = p.opts.Name, p.opts.Registerer, p.opts.Logger
	o.Extra = vendors(p.opts.Extra)
	// What another proxy keeps, which shares the store and is configured otherwise, has
	// other addresses in it, or is from another of the registry's hosts.
	o.As = fmt.Sprintf("%s %d %t %q", o.As, p.opts.Location, p.opts.UpstreamHost, p.opts.UpstreamNames)
	o.Address = func(r *http.Request) string {
		return notifications.BaseURLOf(r, p.opts.TrustedProxies...).String()
	}
	if p.opts.PublicURL != nil {
		public := p.opts.PublicURL.String()
		o.Address = func(*http.Request) string { return public }
	}
	return &o
}

// Invalidate has a cache forget what it knows of a repository, since an event says that it
// was changed in another way.
func (p *Proxy) Invalidate(ctx context.Context, repository string) {
	if p.cache != nil {
		p.cache.Invalidate(ctx, repository)
	}
}

// InvalidateAll has a cache forget what it knows of all repositories.
func (p *Proxy) InvalidateAll(ctx context.Context) {
	if p.cache != nil {
		p.cache.InvalidateAll(ctx)
	}
}

// Repay tells the cache's store of changes that it could not be told of before, if that is
// possible now. It is to be called every second or so where others share the store.
func (p *Proxy) Repay(ctx context.Context) {
	if p.cache != nil {
		p.cache.Repay(ctx)
	}
}

func (p *Proxy) observerOptions() *observer.Options {
	o := &observer.Options{
		Parity:            p.opts.Parity,
		DropHead:          p.opts.DropHead,
		IncludeReferences: p.opts.References,
		TrustedProxies:    p.opts.TrustedProxies,
		KeepsTags:         p.opts.KeepsTags,
		Extra:             vendors(p.opts.Extra),
		Descriptors:       p.opts.Descriptors,
		Wait:              p.opts.RecordWait,
		Refuse:            p.opts.Refuse,
		Accepting:         p.opts.Accepting,
		Registerer:        p.registerer(),
		Logger:            p.opts.Logger,
	}
	if p.opts.PublicURL != nil {
		base, _ := notifications.ParseBaseURL(p.opts.PublicURL.String()) // withDefaults has tried it
		o.URLs = func(*http.Request) notifications.URLBuilder { return base }
		o.PublicPath = p.opts.PublicURL.Path
	}
	return o
}

// ServeHTTP has the registry answer r.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(p, w, r)
	if !p.enter(x) {
		refuse(w, shuttingDown())
		return
	}
	defer p.leave(x)
	defer x.end()
	outbound, refused := p.admit(x.context(r.Context()), r)
	if refused != nil {
		refuse(x, *refused)
		return
	}
	outbound.Body = x.inbound(outbound.Body)
	p.observer.ServeHTTP(x, outbound)
}

func (p *Proxy) enter(x *exchange) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.active[x] = struct{}{}
	p.metrics.inflight.Inc()
	return true
}

func (p *Proxy) leave(x *exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.active, x)
	p.metrics.inflight.Dec()
	if p.closed && len(p.active) == 0 {
		close(p.idle)
	}
}

// Drain refuses new requests and waits until those under way have ended, those included
// whose client has gone. When ctx ends it cuts them: what waits for the registry at once,
// what waits for a client a moment later.
func (p *Proxy) Drain(ctx context.Context) {
	p.mu.Lock()
	if !p.closed && len(p.active) == 0 {
		close(p.idle)
	}
	p.closed = true
	p.mu.Unlock()
	stop := context.AfterFunc(ctx, p.cutAll)
	defer stop()
	<-p.idle
}

func (p *Proxy) cutAll() {
	p.cutOff(errCut)
	p.mu.Lock()
	defer p.mu.Unlock()
	for x := range p.active {
		x.cut()
	}
}

// Shutdown drains the Proxy, then writes the events that still wait, until ctx ends, and
// closes the connections to the registry. Whoever wants to give the events a time of their
// own calls Drain before. Later calls do nothing.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.Drain(ctx)
	err := p.observer.Shutdown(ctx)
	p.forward.transport.CloseIdleConnections()
	return err
}
