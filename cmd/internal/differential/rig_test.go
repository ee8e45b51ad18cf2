package differential_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/distribution"
	"github.com/regcast/regcast/notifications/observer"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A scene says what a rig is like. The zero value is a registry that knows everybody,
// without a proxy before it.
type scene struct {
	auth      registrytest.Auth
	proxied   bool
	strict    bool
	configure func(*configuration.Configuration)
}

// A rig is a registry whose own notifications, the truth, are compared with the reports
// of those who watch the same traffic.
type rig struct {
	scene
	tb       testing.TB
	base     string         // where clients reach it
	client   *http.Client   // follows no redirect
	proxy    *gate          // before the proxy; nil without
	inner    *gate          // before the observer
	app      http.Handler   // past all observers but the adapter
	registry string         // its URL, past the proxy
	truth    *collector     // distribution's own
	reports  []*collector   // observer, proxy, adapter
	used     map[string]int // allowances, by report and name
	tokens   map[string]string

	exchanges map[string]*exchange // that were not compared yet, by User-Agent
	torn      map[string]bool      // paths of uploads of which a part was cut off
	sent      int
}

// rigs numbers the rigs of a process: distribution's lists of endpoints and of middleware
// are global and do not forget a name.
var rigs atomic.Int64

const (
	barrierRepository = "barrier"
	barrierAgent      = "barrier/"
	emptyDigest       = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	patience          = time.Minute
)

// newRig starts a rig that ends with the test.
func newRig(tb testing.TB, s scene) *rig {
	tb.Helper()
	r := &rig{
		scene: s, tb: tb, truth: newCollector(tb, "distribution"),
		used: make(map[string]int), tokens: make(map[string]string), exchanges: make(map[string]*exchange),
		torn: make(map[string]bool),
	}
	webhook := httptest.NewServer(r.truth)
	tb.Cleanup(webhook.Close)
	number := rigs.Add(1)
	source := notifications.SourceRecord{Addr: "differential", InstanceID: fmt.Sprint(number)}
	var tokens registrytest.TokenOptions
	var front *httptest.Server
	if s.proxied {
		front = httptest.NewUnstartedServer(nil)
		// Where clients reach the registry: some ask for no token elsewhere.
		tokens.Realm = "http://" + front.Listener.Addr().String() + registrytest.TokenPath
	}
	registry := registrytest.Start(tb, &registrytest.Options{
		Auth: s.auth, Tokens: tokens,
		Users: map[string]string{"bob": "bob's"},
		Wrap:  func(app http.Handler) http.Handler { return r.observe(app, source) },
		Configure: func(c *configuration.Configuration) {
			c.Notifications.EventConfig.IncludeReferences = true
			c.Notifications.Endpoints = []configuration.Endpoint{{
				Name: fmt.Sprintf("truth-%d", number), URL: webhook.URL,
				Timeout: patience, Threshold: 10, Backoff: 10 * time.Millisecond,
			}}
			if s.configure != nil {
				s.configure(c)
			}
			r.adapt(c, fmt.Sprintf("adapter-%d", number))
		},
	})
	r.registry, r.base = registry.URL(), registry.URL()
	if s.proxied {
		r.standBefore(registry, front, source)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4}
	tb.Cleanup(transport.CloseIdleConnections)
	r.client = &http.Client{
		Transport:     transport,
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r.pushBlob(barrierRepository, nil)
	return r
}

// observe puts an observer around the registry.
func (r *rig) observe(app http.Handler, source notifications.SourceRecord) http.Handler {
	r.app = app
	sink := r.report("observer")
	o := observer.New(app, sink, source, &observer.Options{
		Parity: r.parity(), IncludeReferences: true, TrustedProxies: loopback(), Wait: patience,
	})
	r.shutdown(o.Shutdown)
	r.inner = newGate(o)
	return r.inner
}

// adapt puts the adapter into the registry that c makes.
func (r *rig) adapt(c *configuration.Configuration, name string) {
	m, err := distribution.Register(name, r.report("adapter"), &distribution.Options{
		IncludeReferences: true, TrustedProxies: loopback(), Wait: patience,
	})
	if err != nil {
		r.tb.Fatal(err)
	}
	r.shutdown(m.Shutdown)
	if c.Middleware == nil {
		c.Middleware = make(map[string][]configuration.Middleware)
	}
	c.Middleware["repository"] = []configuration.Middleware{{Name: name}}
}

// standBefore puts a proxy on server before the registry.
func (r *rig) standBefore(registry *registrytest.Registry, server *httptest.Server, source notifications.SourceRecord) {
	u, err := url.Parse(registry.URL())
	if err != nil {
		r.tb.Fatal(err)
	}
	opts := &proxy.Options{
		Name: "differential", Upstream: u, Source: source, Parity: r.parity(),
		References: true, RecordWait: patience,
	}
	if registry.Tokens != nil {
		opts.ActorKeys, opts.ActorAudience = r.keysOf(registry.Tokens), registrytest.TokenService
	}
	p, err := proxy.New(r.report("proxy"), opts)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.shutdown(p.Shutdown)
	r.proxy = newGate(p)
	server.Config.Handler = r.proxy
	server.Start()
	r.base = server.URL
	r.tb.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
}

// keysOf writes down with what a proxy verifies tokens.
func (r *rig) keysOf(tokens *registrytest.TokenServer) (file string) {
	der, err := x509.MarshalPKIXPublicKey(tokens.PublicKey())
	if err != nil {
		r.tb.Fatal(err)
	}
	file = filepath.Join(r.tb.TempDir(), "keys.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		r.tb.Fatal(err)
	}
	return file
}

func (r *rig) report(name string) *collector {
	c := newCollector(r.tb, name)
	r.reports = append(r.reports, c)
	return c
}

// shutdown ends an observer, after the server that was started after it.
func (r *rig) shutdown(f func(context.Context) error) {
	r.tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := f(ctx); err != nil {
			r.tb.Errorf("shutdown: %v", err)
		}
	})
}

func (r *rig) parity() observer.Parity {
	if r.strict {
		return observer.Strict
	}
	return observer.Sane
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// settle waits until every request is answered and every report has the events of all
// requests so far: all of them keep order, so a last request tells.
func (r *rig) settle() {
	r.tb.Helper()
	if r.proxy != nil {
		r.proxy.idle()
	}
	r.inner.idle()
	r.sent++
	agent := fmt.Sprint(barrierAgent, r.sent)
	x := r.send(request{method: "HEAD", target: "/v2/" + barrierRepository + "/blobs/" + emptyDigest, header: header("User-Agent", agent)})
	if x.status != http.StatusOK && x.status != http.StatusTemporaryRedirect {
		r.tb.Fatalf("the request that marks an end was answered %d", x.status)
	}
	ctx, cancel := context.WithTimeout(r.tb.Context(), patience)
	defer cancel()
	for _, c := range append([]*collector{r.truth}, r.reports...) {
		if err := c.await(ctx, agent); err != nil {
			r.tb.Fatal(err)
		}
	}
}
