package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/observer"
	"github.com/regcast/regcast/sinks"
)

// A front stands in front of a registry: a proxy and the server that listens for it.
type front struct {
	name   string
	server *server
	proxy  *proxy.Proxy
	redis  *redis.Client // nil unless that is where the cache is; closed after everything
}

// frontGrace is how long a proxy may take, once no client is served any more, until the
// registry has answered changes whose clients have gone, and as long again until their
// events are stored.
const frontGrace = 5 * time.Second

// startFronts begins to listen in front of registries.
func (a *App) startFronts(cfg *config.Config) error {
	for i := range cfg.Proxies {
		f, err := a.startFront(cfg, i)
		if err != nil {
			return err
		}
		a.fronts = append(a.fronts, f)
		a.logger.Info("standing in front of a registry", "proxy", f.name, "url", f.server.url(), "upstream", cfg.Proxies[i].Upstream)
	}
	return nil
}

func (a *App) startFront(cfg *config.Config, i int) (*front, error) {
	c := &cfg.Proxies[i]
	opts, err := proxyOptions(c)
	if err != nil {
		return nil, err
	}
	h := &http.Server{
		// A blob may take as long as it takes: the proxy itself ends what does not move.
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slogWarnings(a.logger),
	}
	s, err := bind(fmt.Sprintf("proxy[%d]", i), c.Listen, c.TLS, h)
	if err != nil {
		return nil, err
	}
	opts.Source = notifications.SourceRecord{Addr: sourceAddr(cfg, c, s.addr()), InstanceID: uuid.NewString()}
	opts.Accepting = a.condition.Accepting
	opts.Registerer, opts.Logger = a.registry, a.logger
	client, err := openCache(&c.Cache, opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("proxy[%d].cache: %w", i, err), s.listener.Close())
	}
	p, err := proxy.New(a.news, opts)
	if err != nil {
		if client != nil {
			err = errors.Join(err, client.Close())
		}
		return nil, errors.Join(err, s.listener.Close())
	}
	if client != nil {
		p.InvalidateAll(context.Background()) // of which a process that was killed may owe something
	}
	if opts.Cache != nil {
		a.invalidators.add(startInvalidator(c.Name, p, a.registry))
	}
	h.Handler = p
	s.serve(a.servers.failed)
	return &front{c.Name, s, p, client}, nil
}

// sourceAddr is how a proxy that listens on addr names the registry behind it. An address
// that stands for every one of this host is no name.
func sourceAddr(cfg *config.Config, c *config.Proxy, addr string) string {
	switch {
	case c.Source.Addr != "":
		return c.Source.Addr
	case cfg.Source.Addr != "":
		return cfg.Source.Addr
	}
	at, err := netip.ParseAddrPort(addr)
	if err != nil || !at.Addr().IsUnspecified() {
		return addr
	}
	host, err := os.Hostname()
	if err != nil {
		return addr
	}
	return net.JoinHostPort(host, fmt.Sprint(at.Port()))
}

// proxyOptions translates the configuration of a proxy, as far as that tells.
func proxyOptions(c *config.Proxy) (*proxy.Options, error) {
	upstream, err := url.Parse(c.Upstream)
	if err != nil {
		return nil, err
	}
	opts := &proxy.Options{
		Name: c.Name, Upstream: upstream,
		References: c.References,
		DropHead:   c.Head == config.HeadDrop,
		RecordWait: c.RecordWait,
		Refuse:     c.OnUnrecorded == config.UnrecordedRefuse,
		KeepsTags:  !c.DeletesTags,
		Extra:      c.VendorRoutes,

		TrustedProxies: c.TrustedProxies,
		ActorKeys:      c.ActorKeysFile,
		ActorAudience:  c.ActorAudience,
		HashTokens:     c.ActorTokens == config.TokensHash,
		UpstreamHost:   c.UpstreamHost == config.HostUpstream,
		UpstreamNames:  c.UpstreamNames,

		TLS:   proxy.UpstreamTLS{CAFile: c.UpstreamTLS.CAFile, CertFile: c.UpstreamTLS.CertFile, KeyFile: c.UpstreamTLS.KeyFile},
		HTTP2: c.UpstreamHTTP2,
		Timeouts: proxy.Timeouts{
			Metadata: c.Timeouts.Metadata, Commit: c.Timeouts.Commit, Idle: c.Timeouts.Idle,
		},
	}
	if opts.CacheOptions, err = cacheOptions(&c.Cache); err != nil {
		return nil, err
	}
	if c.Parity == config.ParityStrict {
		opts.Parity = observer.Strict
	}
	switch c.Location {
	case config.LocationRelative:
		opts.Location = proxy.Relative
	case config.LocationAsIs:
		opts.Location = proxy.AsIs
	}
	if c.PublicURL != "" {
		if opts.PublicURL, err = url.Parse(c.PublicURL); err != nil {
			return nil, err
		}
	}
	return opts, nil
}

// checkProxy reports what is wrong with a proxy beyond what the file's own rules can see.
func checkProxy(cfg *config.Config, i int) (problems config.Problems) {
	c := &cfg.Proxies[i]
	at := fmt.Sprintf("proxy[%d]", i)
	report := func(path, format string, args ...any) {
		problems = append(problems, cfg.Problem(path, format, args...))
	}
	if _, err := serverTLS(c.TLS); err != nil {
		report(at+".tls", "%v", err)
	}
	if c.Cache.Kind == config.CacheRedis {
		if _, err := redisOptions(c.Cache.Redis.URLFile); err != nil {
			report(at+".cache.redis.url_file", "%v", err)
		}
	}
	for j, glob := range c.Cache.Share.Public {
		if _, err := sinks.ParseGlob(glob); err != nil {
			report(fmt.Sprintf("%s.cache.share.public[%d]", at, j), "%q: %v", glob, err)
		}
	}
	opts, err := proxyOptions(c)
	if err != nil {
		return problems // which the file's own rules have seen
	}
	p, err := proxy.New(nothing{}, opts)
	if err == nil {
		err = p.Shutdown(context.Background())
	}
	if bad, ok := errors.AsType[*proxy.OptionError](err); ok {
		report(at+"."+optionKeys()[bad.Option], "%v", bad.Err)
	} else if err != nil {
		report(at, "%v", err)
	}
	return problems
}

// optionKeys are the keys that set what proxy.New may not like.
func optionKeys() map[string]string {
	return map[string]string{
		"Name":         "name",
		"Upstream":     "upstream",
		"PublicURL":    "public_url",
		"TLS":          "upstream_tls",
		"TLS.CAFile":   "upstream_tls.ca_file",
		"TLS.CertFile": "upstream_tls.cert_file",
		"Extra":        "vendor_routes",
		"ActorKeys":    "actor_keys_file",
	}
}

// nothing is a sink that is never written to.
type nothing struct{}

func (nothing) Write(context.Context, []*notifications.Event) error { return notifications.ErrClosed }

// stop lets requests under way go on for drain, then cuts them, and returns when all that
// was observed is stored.
func (f *front) stop(ctx context.Context, drain time.Duration) (cut bool, err error) {
	draining, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	err = f.server.shutdown(draining)
	if cut = errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil; cut {
		err = nil // as was configured
	}
	ending, cancel := context.WithTimeout(ctx, frontGrace)
	defer cancel()
	f.proxy.Drain(ending)
	storing, cancel := context.WithTimeout(ctx, frontGrace)
	defer cancel()
	if stopErr := f.proxy.Shutdown(storing); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("proxy %s: %w", f.name, stopErr))
	}
	return cut, err
}

// stopFronts stops all of them at once, since each may take its drain timeout.
func (a *App) stopFronts(ctx context.Context, drain time.Duration) error {
	errs := make(chan error, len(a.fronts))
	for _, f := range a.fronts {
		go func() {
			cut, err := f.stop(ctx, drain)
			if cut {
				a.logger.Warn("cut requests that were under way", "proxy", f.name, "after", drain)
			}
			errs <- err
		}()
	}
	var all []error
	for range a.fronts {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
