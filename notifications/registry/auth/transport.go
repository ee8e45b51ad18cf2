package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications/registry/internal/answer"
	"github.com/regcast/regcast/notifications/registry/internal/backoff"
)

// Options are what a [Transport] may be told. The zero value is anonymous and
// has the defaults named here.
type Options struct {
	// Credentials tells who we are to a registry; nil is nobody. It is asked again after
	// CredentialAge, and at once when a registry refuses what it said.
	Credentials   Credentials
	CredentialAge time.Duration // default 1 minute

	// Attempts bounds how often one request is made; default 5, 1 for never again. A
	// connection error, 408, 429 and 5xx (but 501 and 505) are followed by another
	// attempt where the body, if any, can be had again or was not yet read. A PATCH is
	// repeated after 408 and 429 alone.
	Attempts int
	// Backoff is how long to wait after attempt 1, 2 and so on; default from 250 ms
	// doubling to 5 s, less a random quarter.
	Backoff func(attempt int) time.Duration
	// MaxRetryAfter is the longest wait asked for by Retry-After that is waited here; an
	// answer that asks for more is returned at once, for the caller to come back later.
	// Default 30 s.
	MaxRetryAfter time.Duration
	// HeaderTimeout is how long an attempt of GET or HEAD may take up to the answer's
	// header; default 30 s, negative for ever. Uploads have the context alone: a registry
	// may copy a whole layer before it answers.
	HeaderTimeout time.Duration
	// OnRetry, if not nil, is told of each attempt that is followed by another after wait:
	// resp or err is what came of it. It must not change either.
	OnRetry func(req *http.Request, resp *http.Response, err error, wait time.Duration)

	// AuthTimeout is how long the probe of a registry, or a request for a token, may
	// take, with its repetitions; default 15 s.
	AuthTimeout time.Duration
	// MaxTokens bounds the tokens kept; default 1024. The one that expires first goes.
	MaxTokens int
	// TokenHosts lists token servers ("auth.internal", or with a port) that may have an
	// internal address although their host is not the registry's.
	TokenHosts []string
	// LookupHost finds the addresses of a token server; default the system's resolver.
	LookupHost func(ctx context.Context, host string) ([]netip.Addr, error)
	// Proxy tells by which egress proxy base makes a request, nil for none, as that of
	// [http.Transport] does; default base's own, if base is one. Behind a proxy names are
	// the proxy's to look up, and may be unknown here: those of token servers are not.
	Proxy func(*http.Request) (*url.URL, error)

	UserAgent string // for requests that have none; default "regcast"
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Credentials == nil {
		out.Credentials = Anonymous
	}
	if out.Attempts == 0 {
		out.Attempts = 5
	}
	if out.Backoff == nil {
		out.Backoff = backoff.Exponential
	}
	if out.MaxTokens == 0 {
		out.MaxTokens = 1024
	}
	if out.UserAgent == "" {
		out.UserAgent = "regcast"
	}
	if out.LookupHost == nil {
		out.LookupHost = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&out.CredentialAge, time.Minute},
		{&out.MaxRetryAfter, 30 * time.Second},
		{&out.HeaderTimeout, 30 * time.Second},
		{&out.AuthTimeout, 15 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	return out
}

// maxOrigins bounds what is remembered of registries. One that was forgotten is probed
// again.
const maxOrigins = 256

// A Transport is an [http.RoundTripper] that authenticates to registries, by Basic or by
// tokens, and repeats what may succeed the next time. See the package comment for its
// rules. It never changes a request and never sends a streamed body twice. It is safe for
// concurrent use, starts no goroutine, and keeps nothing open but base's connections.
type Transport struct {
	base   http.RoundTripper
	opts   Options
	tokens *tokenCache

	probes  flights[*answer.Challenge]
	asked   flights[Credential]
	fetches flights[token]

	mu          sync.Mutex
	challenges  map[string]*answer.Challenge // by origin; nil in it: none is needed
	credentials map[string]heldCredential
}

// NewTransport returns a transport that makes its requests by base; nil is an
// [http.Transport] of its own, which leaves contents compressed and keeps 100 idle
// connections to a host.
func NewTransport(base http.RoundTripper, opts *Options) *Transport {
	if base == nil {
		base = newBase()
	}
	o := opts.withDefaults()
	if own, ok := base.(*http.Transport); ok && o.Proxy == nil {
		o.Proxy = own.Proxy
	}
	return &Transport{
		base:        base,
		opts:        o,
		tokens:      newTokenCache(o.MaxTokens),
		challenges:  make(map[string]*answer.Challenge),
		credentials: make(map[string]heldCredential),
	}
}

func newBase() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          200,
		MaxIdleConnsPerHost:   100,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // a digest is of the bytes as they are
	}
}

// CloseIdleConnections closes those of the base transport.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip sends a request, with an Authorization of ours unless it has one, or was
// redirected from another origin. Of an answer 401 it learns how to authenticate, and
// sends the request once more if its body can be had again.
//
// Errors: those of the base transport; of the credentials; *[registry.Error] from a token server;
// [registry.ErrRefused] for a token server that the transport does not go to.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := newPayload(req)
	defer body.sent()
	resp, err := t.roundTrip(req, body)
	if resp != nil {
		resp.Request = req // its chain of redirects is how crossed knows
	}
	return resp, err
}

func (t *Transport) roundTrip(req *http.Request, body *payload) (*http.Response, error) {
	if req.Header.Get("Authorization") != "" || crossed(req) {
		return t.send(req, body, "")
	}
	need := scopesOf(req)
	grant, err := t.authorize(req, need)
	if err != nil {
		body.close()
		return nil, err
	}
	resp, err := t.send(req, body, grant.header())
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	t.tokens.drop(grant.key, grant.token)
	t.forgetCredential(req.URL.Host)
	offered := chooseChallenge(answer.Challenges(resp.Header))
	if offered == nil {
		return resp, nil
	}
	t.remember(answer.Origin(req.URL), offered)
	need.addAll(offered.Params["scope"])
	if offered.Params["error"] == "insufficient_scope" && grant.fresh && grant.token.scopes.covers(need) {
		return resp, nil // the token server was asked for exactly this just now
	}
	again, err := t.authorize(req, need)
	if err != nil {
		answer.Discard(resp)
		return nil, err
	}
	if again.header() == "" || again.header() == grant.header() || !body.rewind() {
		return resp, nil
	}
	answer.Discard(resp)
	return t.send(req, body, again.header())
}

// A grant is what a request is sent with.
type grant struct {
	basic string // the value of Authorization, if not by token
	key   tokenKey
	token token
	fresh bool // the token was fetched for this request
}

func (g grant) header() string {
	if g.token.value != "" {
		return "Bearer " + g.token.value
	}
	return g.basic
}

// authorize finds out how to authenticate to the registry of req, and does.
func (t *Transport) authorize(req *http.Request, need scopeSet) (grant, error) {
	offered, err := t.challenge(req)
	if err != nil || offered == nil {
		return grant{}, err
	}
	credential, err := t.credential(req.Context(), req.URL.Host)
	if err != nil {
		return grant{}, err
	}
	if offered.Scheme == "bearer" {
		if credential.AccessToken != "" {
			return grant{basic: "Bearer " + credential.AccessToken}, nil
		}
		return t.token(req, offered, credential, need)
	}
	if credential.Username == "" && credential.Password == "" {
		return grant{}, nil
	}
	return grant{basic: basic(credential.Username, credential.Password)}, nil
}

func basic(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}

// challenge returns how a registry wants its clients to authenticate, nil if it does not.
func (t *Transport) challenge(req *http.Request) (*answer.Challenge, error) {
	origin := answer.Origin(req.URL)
	if known, found := t.knownChallenge(origin); found {
		return known, nil
	}
	return t.probes.do(req.Context(), origin, func(ctx context.Context) (*answer.Challenge, error) {
		if known, found := t.knownChallenge(origin); found { // another's, since we looked
			return known, nil
		}
		return t.probe(ctx, req.URL)
	})
}

func (t *Transport) knownChallenge(origin string) (*answer.Challenge, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, found := t.challenges[origin]
	return known, found
}

// probe asks a registry for its base end point, without credentials.
func (t *Transport) probe(ctx context.Context, server *url.URL) (*answer.Challenge, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, t.opts.AuthTimeout, fmt.Errorf("no answer from %s in %v", server.Host, t.opts.AuthTimeout))
	defer cancel()
	base := url.URL{Scheme: server.Scheme, Host: server.Host, Path: "/v2/"}
	req, err := http.NewRequestWithContext(bounded, http.MethodGet, base.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := t.send(req, newPayload(req), "")
	if err != nil {
		return nil, probeError(ctx, bounded, server.Host, err)
	}
	defer answer.Discard(resp)
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		offered := chooseChallenge(answer.Challenges(resp.Header))
		t.remember(answer.Origin(server), offered)
		return offered, nil
	case resp.StatusCode < http.StatusInternalServerError && resp.StatusCode != http.StatusTooManyRequests:
		t.remember(answer.Origin(server), nil)
	}
	return nil, nil // the request itself will show
}

// probeError keeps our own time limit from looking like the caller's, whose context
// others share the probe with.
func probeError(caller, bounded context.Context, host string, err error) error {
	if caller.Err() == nil && bounded.Err() != nil {
		err = context.Cause(bounded)
	}
	return fmt.Errorf("asking %s how to authenticate: %w", host, err)
}

// remember notes what a registry wants.
func (t *Transport) remember(origin string, c *answer.Challenge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, found := t.challenges[origin]; !found && len(t.challenges) >= maxOrigins {
		for other := range t.challenges {
			delete(t.challenges, other)
			break
		}
	}
	t.challenges[origin] = c
}

// chooseChallenge prefers tokens to passwords, and returns nil if neither is offered. A
// token has to be had from somewhere.
func chooseChallenge(offered []answer.Challenge) *answer.Challenge {
	var basic *answer.Challenge
	for i, c := range offered {
		switch {
		case c.Scheme == "bearer" && c.Params["realm"] != "":
			return &offered[i]
		case c.Scheme == "basic" && basic == nil:
			basic = &offered[i]
		}
	}
	return basic
}

// crossed tells whether a request was redirected, at whatever step, from another origin
// than its own: credentials are not for it. An [http.Client] tells by Request.Response.
func crossed(req *http.Request) bool {
	origin := answer.Origin(req.URL)
	for r := req; r.Response != nil && r.Response.Request != nil; {
		r = r.Response.Request
		if answer.Origin(r.URL) != origin {
			return true
		}
	}
	return false
}
