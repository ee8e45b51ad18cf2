package mirror

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/sinks"
)

const (
	// DefaultTimeout is Options.Endpoint.Timeout if that is 0.
	DefaultTimeout = 5 * time.Minute
	// DefaultBlobConcurrency is Options.BlobConcurrency if that is 0.
	DefaultBlobConcurrency = 4

	maxBlobConcurrency = 64
)

// Options say what is copied from where to where. Source and Target are needed; the zero
// value of all else is a default. NewEndpoint copies them.
type Options struct {
	Source, Target Registry

	// TokenHosts are hosts of token servers, with or without a port, that may be at
	// internal addresses although they are not a registry's own host.
	TokenHosts []string

	// Platforms are those manifests of an index that are copied, as "os/architecture" or
	// "os/architecture/variant"; all if there are none. Manifests for no platform are
	// copied in any case, attestations with what they attest.
	Platforms []string

	ByDigest         bool // manifests that are pushed by digest alone are copied, too
	Referrers        bool // of these, those whose subject the target has: signatures, SBOMs and the like
	PropagateDeletes bool // what is deleted at the source is deleted at the target

	// BlobConcurrency is how many blobs of one event are copied at once, at most 64; 0:
	// DefaultBlobConcurrency. An event can always copy one, and what is beyond that all of
	// them share: the mirror has at most Endpoint.Concurrency + BlobConcurrency - 1 blobs
	// under way.
	BlobConcurrency int

	// Endpoint is what it has in common with others. Of what is for requests, ProxyURL,
	// AllowCIDRs, DenyCIDRs and Version apply, to both registries. Timeout is how long a
	// copy may go without progress: without a byte of a blob or an answer; 0: DefaultTimeout.
	// Batch.MaxEvents is at most 1: an attempt is one event's.
	Endpoint endpoints.Options

	Metrics *Metrics // nil: nothing is measured
}

// A Registry is one side of a mirror.
type Registry struct {
	// URL is the registry's base, http or https. A path in it is put before the names of
	// repositories: at "https://registry.example/mirror" team/app is mirror/team/app.
	URL         string
	Credentials auth.Credentials // nil: nobody's
	TLS         endpoints.TLSOptions
}

// path is what the URL puts before the names of repositories, "" if nothing.
func (r *Registry) path() string {
	_, rest, _ := strings.Cut(r.URL, "://")
	_, path, _ := strings.Cut(rest, "/")
	return strings.Trim(path, "/")
}

// A matcher selects what the mirror has a use for and the operator wants.
type matcher struct {
	opts  *Options
	inner sinks.Matcher // nil: everything
}

func (m matcher) Match(e *notifications.Event) bool {
	return m.opts.Wants(e) && (m.inner == nil || m.inner.Match(e))
}

// MayMatch is for events whose media type is not known yet: see [sinks.MayMatch].
func (m matcher) MayMatch(e *notifications.Event) bool {
	return m.opts.Wants(e) && sinks.MayMatch(m.inner, e)
}

// NewEndpoint returns an endpoint of that name, which must be [endpoints.ValidName], that
// copies. Nothing is connected yet. Errors: all that is wrong with the arguments, joined,
// each an [*endpoints.OptionError].
func NewEndpoint(name string, opts *Options) (*endpoints.Endpoint, error) {
	o := *opts
	o.Platforms, o.TokenHosts = slices.Clone(o.Platforms), slices.Clone(o.TokenHosts)
	e := &o.Endpoint
	e.Match = matcher{&o, opts.Endpoint.Match}
	if e.Timeout == 0 {
		e.Timeout = DefaultTimeout
	}
	if o.BlobConcurrency == 0 {
		o.BlobConcurrency = DefaultBlobConcurrency
	}
	var wrong []error
	add := func(option string, err error) {
		wrong = append(wrong, &endpoints.OptionError{Option: option, Err: err})
	}
	if e.Batch.MaxEvents > 1 {
		add("batch.max_events", fmt.Errorf("%d is more than 1, and a copy is of one event", e.Batch.MaxEvents))
	}
	if o.BlobConcurrency < 1 || o.BlobConcurrency > maxBlobConcurrency {
		add("blob_concurrency", fmt.Errorf("%d is not from 1 to %d", o.BlobConcurrency, maxBlobConcurrency))
		o.BlobConcurrency = 1
	}
	m := &mirror{
		opts: &o, meter: o.Metrics.meter(name), log: logger(e.Logger, name),
		spare: make(chan struct{}, o.BlobConcurrency-1), jobs: make(map[*job]struct{}),
	}
	m.seed = maphash.MakeSeed()
	for i := range m.turns {
		m.turns[i] = make(chan struct{}, 1)
	}
	var err error
	if m.platforms, err = parsePlatforms(o.Platforms); err != nil {
		add("platforms", err)
	}
	sides := []error{m.source.open("source", &o.Source, &o), m.target.open("target", &o.Target, &o)}
	if errors.Join(sides...) == nil && sameRegistry(o.Source.URL, o.Target.URL) {
		add("target", errors.New("it is the registry of source: what is copied would be copied again"))
	}
	endpoint, err := endpoints.NewSenderEndpoint(name, m.target.shown, m, e)
	for _, err := range append(sides, err) {
		wrong = append(wrong, members(err)...)
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return endpoint, nil
}

// sameRegistry tells whether two URLs name one registry, which has one place on a host.
// The names of this host's loopback interface are one; others that lead to one address
// are not known to.
func sameRegistry(a, b string) bool {
	hostOf := func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil {
			return raw
		}
		port := u.Port()
		switch {
		case port != "":
		case u.Scheme == "https":
			port = "443"
		default:
			port = "80"
		}
		host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		if host == "127.0.0.1" || host == "::1" {
			host = "localhost"
		}
		return net.JoinHostPort(host, port)
	}
	return hostOf(a) == hostOf(b)
}

// members are those of a joined error, or the error alone.
func members(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
