package registry_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// What changes something is done where it is asked for or not at all: the answer to a GET
// that a redirect made of it says nothing.
func TestRedirectsOfChanges(t *testing.T) {
	elsewhere := registrytest.Start(t, &registrytest.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			t.Errorf("elsewhere got %s %s", req.Method, req.URL)
		})
	}})
	var status int
	var target string
	r := registrytest.Start(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch {
			case req.Method != http.MethodGet && req.Method != http.MethodHead && req.URL.Query().Get("moved") == "":
				http.Redirect(w, req, target+req.URL.Path+"?moved=1&"+req.URL.RawQuery, status)
			case req.URL.Query().Get("moved") != "" && req.Method == http.MethodGet:
				w.WriteHeader(http.StatusOK)
			default:
				next.ServeHTTP(w, req)
			}
		})
	}})
	c := fixtures.Client(t, r, nil, nil)
	index := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	calls := map[string]func() error{
		"put": func() error {
			_, err := c.PutManifest(t.Context(), "a", "v1", "application/vnd.oci.image.index.v1+json", index)
			return err
		},
		"delete": func() error { return c.DeleteManifest(t.Context(), "a", digest.FromBytes(index)) },
		"upload": func() error { _, err := c.StartUpload(t.Context(), "a"); return err },
	}
	for _, status = range []int{301, 302, 303} {
		target = ""
		for name, call := range calls {
			answer := (*registry.Error)(nil)
			if err := call(); !errors.As(err, &answer) || answer.Status != status {
				t.Errorf("%s, %d: %v", name, status, err)
			}
		}
	}
	for _, status = range []int{307, 308} {
		target = elsewhere.URL()
		for name, call := range calls {
			if err := call(); !errors.Is(err, registry.ErrRefused) {
				t.Errorf("%s, %d: %v", name, status, err)
			}
		}
		target = ""
		if err := calls["put"](); err != nil {
			t.Errorf("%d in the registry: %v", status, err)
		}
	}
}

// A web site has a page for every path, and to HEAD it has all that one asks for.
func TestAWebSiteIsNoRegistry(t *testing.T) {
	kind := "text/html; charset=utf-8"
	r := registrytest.Start(t, &registrytest.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(strings.Repeat("<p>hello</p>", 10)))
		})
	}})
	c := fixtures.Client(t, r, nil, nil)
	desc, _ := fixtures.Content(t, 10)
	check := func(want error) {
		t.Helper()
		if got, err := c.Resolve(t.Context(), "a", desc.Digest.String()); !errors.Is(err, want) {
			t.Errorf("a manifest: %v, %v", got, err)
		}
	}
	check(registry.ErrRefused)
	if got, err := c.StatBlob(t.Context(), "a", desc.Digest); !errors.Is(err, registry.ErrRefused) {
		t.Errorf("a blob: %v, %v", got, err)
	}
	if err := c.Ping(t.Context()); err != nil { // as quay.io does
		t.Error(err)
	}
	kind = "text/plain"
	check(registry.ErrMismatch)
}
