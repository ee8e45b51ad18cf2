package proxy

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/observer"
	descriptors "github.com/regcast/regcast/notifications/observer/cache"
)

// Options are what a [Proxy] needs to know.
type Options struct {
	Name     string   // for metrics and logs; required
	Upstream *url.URL // of the registry: scheme, host and perhaps a path; required

	Source     notifications.SourceRecord
	Parity     observer.Parity
	References bool          // in events
	DropHead   bool          // see observer.Options
	RecordWait time.Duration // 0: observer.DefaultWait
	Refuse     bool          // mutations while their events cannot be stored
	Accepting  func() error  // see observer.Options
	KeepsTags  bool          // see observer.Options
	Extra      []string      // registries whose own routes are understood: "gitlab", "harbor"

	// TrustedProxies are believed about the client's address and about the host and the
	// scheme that it used. What others say of these is replaced.
	TrustedProxies []netip.Prefix
	// PublicURL is where clients reach the proxy, with the path that is cut off before
	// requests come here, if any; nil: as each request says.
	PublicURL *url.URL
	// UpstreamHost has the registry asked by its own name in place of the client's, as a
	// registry needs that serves others beside us. It is then told nothing of the host and
	// the scheme that the client used.
	UpstreamHost bool
	Location     Location
	// UpstreamNames are other hosts, perhaps with a port, by which the registry calls
	// itself in the addresses it gives out.
	UpstreamNames []string

	// ActorKeys names a file with the keys of whoever issues the tokens that clients show;
	// with it, a token that does not verify, or is not for ActorAudience unless that is "",
	// names nobody. HashTokens names opaque ones. See bearer.Options.
	ActorKeys     string
	ActorAudience string
	HashTokens    bool

	// Cache is where answers are kept; nil: none are. Of CacheOptions the TTL and who
	// shares answers count. The store is the caller's.
	Cache        cache.Store
	CacheOptions cache.Options
	// Descriptors is what the sizes and media types in events are remembered with; nil: in
	// memory, see observer.Options.
	Descriptors descriptors.Provider

	TLS      UpstreamTLS
	HTTP2    bool // with a registry that speaks it, over TLS
	Timeouts Timeouts

	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: nothing is logged
}

// A Location says how addresses of the registry in answers are rewritten. What stands in
// an answer without a host keeps none; a query is never touched.
type Location uint8

// The ways to rewrite an address of the registry.
const (
	Absolute Location = iota // scheme and host as the client addressed the proxy
	Relative                 // the path alone
	AsIs                     // not at all
)

// UpstreamTLS names files in PEM. The authorities are read when the proxy is made, and
// trusted in place of the system's. The client certificate is read at each handshake.
type UpstreamTLS struct{ CAFile, CertFile, KeyFile string }

// Timeouts bound how long the registry may take. Zero fields are the defaults.
type Timeouts struct {
	// Metadata is from the end of a request until the answer begins, for what only reads;
	// 30 s.
	Metadata time.Duration
	// Commit is the same for what changes something: a registry may copy a layer before it
	// answers, or look through all tags of a repository for those that end with a manifest.
	// What has taken longer may have happened and makes no event; 15 min.
	Commit time.Duration
	// Idle is without a byte, in each direction on both sides; 15 min.
	Idle time.Duration
}

// The timeouts of a [Proxy] whose options do not say.
const (
	DefaultMetadata = 30 * time.Second
	DefaultCommit   = 15 * time.Minute
	DefaultIdle     = 15 * time.Minute
)

// vendorRoutes are what [Options].Extra may name.
func vendorRoutes() map[string]func(*http.Request) (observer.Deletion, bool) {
	return map[string]func(*http.Request) (observer.Deletion, bool){
		"gitlab": observer.GitLabRoutes,
		"harbor": observer.HarborRoutes,
	}
}

// vendors are the routes of those named, all of which are known.
func vendors(names []string) (routes []func(*http.Request) (observer.Deletion, bool)) {
	for _, name := range names {
		routes = append(routes, vendorRoutes()[name])
	}
	return routes
}

// An OptionError says which option makes a [Proxy] impossible.
type OptionError struct {
	Option string // a field of Options, or as TLS.CAFile one of a field's
	Err    error
}

// Error implements error.
func (e *OptionError) Error() string { return e.Option + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *OptionError) Unwrap() error { return e.Err }

func badOption(option, format string, args ...any) error {
	return &OptionError{option, fmt.Errorf(format, args...)}
}

// withDefaults returns a copy in which everything is set. Errors: an OptionError.
func (o *Options) withDefaults() (*Options, error) {
	c := *o
	u := c.Upstream
	switch {
	case c.Name == "":
		return nil, badOption("Name", "a proxy needs one")
	case u == nil || u.Host == "":
		return nil, badOption("Upstream", "it is missing, or has no host")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, badOption("Upstream", "the scheme is not http or https")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, badOption("Upstream", "it has a user, a query or a fragment")
	}
	if c.PublicURL != nil {
		if _, err := notifications.ParseBaseURL(c.PublicURL.String()); err != nil {
			return nil, &OptionError{"PublicURL", err}
		}
	}
	if c.TLS != (UpstreamTLS{}) && u.Scheme != "https" {
		return nil, badOption("TLS", "it is for an upstream with https")
	}
	for _, vendor := range c.Extra {
		if vendorRoutes()[vendor] == nil {
			return nil, badOption("Extra", "no routes of %q are known", vendor)
		}
	}
	upstream := *u
	upstream.Path, upstream.RawPath = strings.TrimRight(u.Path, "/"), ""
	c.Upstream = &upstream
	for _, d := range []struct {
		value   *time.Duration
		initial time.Duration
	}{
		{&c.Timeouts.Metadata, DefaultMetadata},
		{&c.Timeouts.Commit, DefaultCommit},
		{&c.Timeouts.Idle, DefaultIdle},
	} {
		if *d.value == 0 {
			*d.value = d.initial
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("proxy", c.Name)
	return &c, nil
}
