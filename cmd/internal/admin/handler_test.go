package admin_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/cmd/internal/admin"
)

func fine() error { return nil }

func options() *admin.Options {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "regcast_test_value"}))
	return &admin.Options{Healthy: fine, Ready: fine, Gatherer: reg, Tokens: func() []admin.Token { return nil }}
}

func get(t *testing.T, opts *admin.Options, path, authorization string) (int, string, http.Header) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	admin.NewHandler(opts).ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body), w.Header()
}

func TestProbes(t *testing.T) {
	opts := options()
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body, _ := get(t, opts, path, ""); code != 200 || body != "ok\n" {
			t.Errorf("%s = %d %q, want 200 ok", path, code, body)
		}
	}
	opts.Ready = func() error { return errors.New("stopping") }
	if code, body, _ := get(t, opts, "/readyz", ""); code != 503 || body != "stopping\n" {
		t.Errorf("/readyz = %d %q, want 503 with the reason", code, body)
	}
	if code, _, _ := get(t, opts, "/healthz", ""); code != 200 {
		t.Errorf("/healthz = %d: readiness is not health", code)
	}
}

func TestMetricsNeedAToken(t *testing.T) {
	opts := options()
	opts.Tokens = func() []admin.Token {
		return []admin.Token{{Name: "ops", Role: admin.Operate, Value: "s3cret"}, {Name: "empty", Role: admin.Read}}
	}
	for authorization, want := range map[string]int{
		"":              401,
		"Bearer wrong":  401,
		"Bearer ":       401,
		"Basic s3cret":  401,
		"Bearer s3cret": 200,
		"bearer s3cret": 200,
	} {
		code, body, header := get(t, opts, "/metrics", authorization)
		if code != want {
			t.Errorf("Authorization %q: %d, want %d", authorization, code, want)
		}
		if code == 401 && header.Get("WWW-Authenticate") == "" {
			t.Errorf("Authorization %q: 401 without WWW-Authenticate", authorization)
		}
		if code == 200 && !strings.Contains(body, "regcast_test_value 0") {
			t.Errorf("no metrics in %q", body)
		}
	}
	opts.MetricsAnonymous = true
	if code, _, _ := get(t, opts, "/metrics", ""); code != 200 {
		t.Errorf("metrics_anonymous: %d, want 200", code)
	}
}

func ExampleNewHandler() {
	handler := admin.NewHandler(&admin.Options{
		Healthy:  func() error { return nil },
		Ready:    func() error { return errors.New("stopping") },
		Gatherer: prometheus.NewRegistry(),
		Tokens:   func() []admin.Token { return nil },
	})
	for _, path := range []string{"/healthz", "/readyz"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 ok
	// 503 stopping
}
