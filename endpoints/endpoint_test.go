package endpoints_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// TestOptionProblems makes sure that all problems are told at once, each with its option.
func TestOptionProblems(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pem")
	_, err := endpoints.NewEndpoint("-bad", "ftp://receiver.example", &endpoints.Options{
		Format: "xml", Timeout: -time.Second, Ordering: "random", Concurrency: 100_000,
		Batch:    sinks.BatchOptions{MaxEvents: -1, MaxBytes: -1, Linger: -1},
		Retry:    endpoints.RetryOptions{Initial: -1, Max: -2, RetryAfterMax: -1, MaxAge: -1},
		MaxBlock: -1, OnBlock: "drop",
		AllowCIDRs: []netip.Prefix{{}}, DenyCIDRs: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")},
		Headers:  http.Header{"Content-Length": {"7"}, "No Name": {"x"}, "X-Break": {"a\nb"}},
		ProxyURL: "proxy:3128", TLS: endpoints.TLSOptions{CAFile: missing},
		SuccessOn: []int{409, 1000}, RetryOn: []int{409}, DropOn: []int{-1},
	})
	var got []string
	for _, e := range unjoin(err) {
		var problem *endpoints.OptionError
		if !errors.As(e, &problem) {
			t.Errorf("%v is no *OptionError", e)
			continue
		}
		if !strings.HasPrefix(e.Error(), problem.Option+": ") {
			t.Errorf("%q does not begin with its option", e)
		}
		got = append(got, problem.Option)
	}
	slices.Sort(got)
	want := []string{
		"allow_cidrs", "batch.linger", "batch.max_bytes", "batch.max_events", "concurrency", "deny_cidrs", "drop_on",
		"format", "headers", "headers", "headers", "max_block", "name", "on_block", "ordering", "proxy_url",
		"retry.initial", "retry.max", "retry.max_age", "retry.retry_after_max", "retry_on", "success_on", "timeout", "tls",
		"url",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems with\n%v, want\n%v\n%v", got, want, err)
	}
}

func TestTLSOptionProblems(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := pair(t, ca.issue("regcast", time.Hour))
	_, other := pair(t, ca.issue("regcast", time.Hour))
	for _, o := range []endpoints.TLSOptions{
		{CertFile: cert},
		{KeyFile: other},
		{CertFile: cert, KeyFile: other}, // do not belong together
		{CAFile: other},                  // no certificate in it
	} {
		if _, err := endpoints.NewWebhook("https://receiver.example", &endpoints.Options{TLS: o}); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	for _, o := range []*endpoints.Options{{FileMaxBytes: -1}, {FileKeep: -1}, {FileKeep: 1001}} {
		if _, err := endpoints.NewEndpoint("audit", "file:x", o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

func TestURLs(t *testing.T) {
	for _, url := range []string{"http://h", "https://h:1/p?q#f", "http://[::1]:80/", "console:", "file:x"} {
		e, err := endpoints.NewEndpoint("audit", url, nil)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_ = e.Shutdown(context.Background())
	}
	for _, url := range []string{"", "h", "/p", "//h", "http:", "http://", "http:///p", "http://:80", "file:", "console", "console:x", "ws://h", "http://h:port", "http://%zz"} {
		if _, err := endpoints.NewEndpoint("audit", url, nil); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
	if _, err := endpoints.NewWebhook("http://h", &endpoints.Options{URL: endpoints.SecretString("http://h")}); err == nil {
		t.Error("two URLs are accepted")
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, want := range map[string]bool{
		"a": true, "0": true, "audit-2": true, "a-": true, long: true,
		"": false, "-a": false, "A": false, "a_b": false, "a.b": false, "ä": false, "a~replay": false, long + "a": false,
	} {
		if got := endpoints.ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %v", name, got)
		}
	}
}

func TestOrderings(t *testing.T) {
	one, two := notificationstest.Push("team/app", "v1", 1), notificationstest.Push("team/db", "v2", 2)
	for ordering, want := range map[endpoints.Ordering]bool{endpoints.OrderEndpoint: true, endpoints.OrderNone: false} {
		d := newEndpoint(t, "console:", &endpoints.Options{Ordering: ordering}).DeliverOptions()
		if got := d.Key(one) == d.Key(two); got != want {
			t.Errorf("%s: same key %v, want %v", ordering, got, want)
		}
	}
	if d := newEndpoint(t, "console:", nil).DeliverOptions(); d.Key != nil {
		t.Error("the default is not Deliver's own, the repository")
	}
}

func TestWants(t *testing.T) {
	m, err := sinks.NewMatcher(sinks.Rules{Repositories: []string{"team/*"}}, sinks.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	e := newEndpoint(t, "console:", &endpoints.Options{Match: m})
	if !e.Wants(notificationstest.Push("team/app", "v1", 1)) || e.Wants(notificationstest.Push("other/app", "v1", 1)) {
		t.Error("Wants is not what the matcher says")
	}
}

// TestDeliver runs an endpoint behind an engine, with a receiver that fails every third
// time, and holds the metrics against what happened.
func TestDeliver(t *testing.T) {
	var posts atomic.Int64
	var got notificationstest.Recorder
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		if posts.Add(1)%3 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if err := got.Write(r.Context(), decode(t, r)); err != nil {
			t.Error(err)
		}
	})
	reg := prometheus.NewPedanticRegistry()
	metrics := endpoints.NewMetrics(reg)
	m, err := sinks.NewMatcher(sinks.Rules{Repositories: []string{"team/*"}}, sinks.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	e := newEndpoint(t, url, &endpoints.Options{
		Metrics: metrics, Match: m, Retry: endpoints.RetryOptions{Initial: time.Millisecond, Max: time.Millisecond},
	})
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(context.Background())
	metrics.Observe(engine)
	cursor, err := engine.Cursor(context.Background(), e.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sinks.Deliver(ctx, cursor, e, e.DeliverOptions()) }()

	write(t, engine, notificationstest.Pushes(0, 20, "team/app", "team/db")...)
	write(t, engine, notificationstest.Pushes(20, 5, "other/app")...)
	wait, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	if _, err := got.Wait(wait, 20); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := cursor.Close(); err != nil {
		t.Fatal(err)
	}
	series := scrape(t, reg)
	mustHave(t, series, map[string]float64{
		`regcast_endpoint_events_total{endpoint="audit",outcome="delivered"}`: 20,
		`regcast_endpoint_events_total{endpoint="audit",outcome="filtered"}`:  5,
		`regcast_endpoint_events_total{endpoint="audit",outcome="dead"}`:      0,
		`regcast_endpoint_pending_events{endpoint="audit"}`:                   0,
		`regcast_endpoint_delivery_seconds_count{endpoint="audit"}`:           20,
		`regcast_endpoint_attempts_total{code="200",endpoint="audit"}`:        20,
	})
	if series[`regcast_endpoint_attempts_total{code="500",endpoint="audit"}`] < 9 {
		t.Error("failed attempts are not counted")
	}
	var team []int
	for _, ev := range got.Events() {
		if ev.Repository == "team/app" {
			team = append(team, notificationstest.Number(ev))
		}
	}
	if !slices.IsSorted(team) || len(team) != 10 {
		t.Errorf("team/app came as %v", team)
	}
}

func decode(t *testing.T, r *http.Request) []*notifications.Event {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	decoded := notifications.Decode(body, nil)
	if len(decoded.Bad) > 0 {
		t.Errorf("a body that is not an envelope: %s", body)
	}
	return decoded.Events
}
