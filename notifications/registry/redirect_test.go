package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A registry keeps its blobs in a store and sends us there, without our credential.
func TestRedirectsDoNotTakeCredentialsAlong(t *testing.T) {
	for _, kind := range []registrytest.Auth{registrytest.Htpasswd, registrytest.Token} {
		t.Run(string(kind), func(t *testing.T) {
			blob, b := fixtures.Content(t, 1000)
			var mu sync.Mutex
			var seen []http.Header
			var back string
			store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				mu.Lock()
				seen = append(seen, req.Header)
				mu.Unlock()
				if back != "" {
					http.Redirect(w, req, back, http.StatusTemporaryRedirect)
					return
				}
				http.ServeContent(w, req, "", modified(), bytes.NewReader(b))
			}))
			t.Cleanup(store.Close)
			r := registrytest.Start(t, &registrytest.Options{Auth: kind, Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					switch {
					case req.URL.Path == "/back":
						mu.Lock()
						seen = append(seen, req.Header)
						mu.Unlock()
						http.ServeContent(w, req, "", modified(), bytes.NewReader(b))
					case strings.Contains(req.URL.Path, "/blobs/sha256:") && req.Header.Get("Authorization") != "":
						http.Redirect(w, req, store.URL+"/bucket?signature=x", http.StatusTemporaryRedirect)
					default:
						next.ServeHTTP(w, req)
					}
				})
			}})
			c := fixtures.Client(t, r, fixtures.Alice(r), nil)
			check := func() {
				t.Helper()
				reader, err := c.OpenBlob(t.Context(), "team/app", blob)
				if err != nil {
					t.Fatal(err)
				}
				defer reader.Close()
				if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, b) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if _, err := reader.Seek(500, io.SeekStart); err != nil {
					t.Error(err)
				}
				if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, b[500:]) {
					t.Errorf("%d bytes from 500 on, %v", len(got), err)
				}
				for _, header := range seen {
					if header.Get("Authorization") != "" {
						t.Errorf("the store got %v", header)
					}
				}
				if last := seen[len(seen)-1]; last.Get("Range") != "bytes=500-999" {
					t.Errorf("Range was lost: %v", last)
				}
			}
			check()
			back = r.URL() + "/back" // and at home again: still without
			check()
			if len(seen) != 6 {
				t.Errorf("%d redirected requests", len(seen))
			}
		})
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	plain := registrytest.Start(t, nil)
	var target func(*http.Request) string
	r := registrytest.Start(t, &registrytest.Options{TLS: true, Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/v2/" {
				return
			}
			http.Redirect(w, req, target(req), http.StatusTemporaryRedirect)
		})
	}})
	c := fixtures.Client(t, r, nil, nil)
	hops := 0
	for name, to := range map[string]func(*http.Request) string{
		"for ever": func(*http.Request) string { hops++; return fmt.Sprintf("/v2/a/%d", hops) },
		"to http":  func(*http.Request) string { return plain.URL() + "/v2/a/tags/list" },
	} {
		target = to
		if err := fixtures.First(c.Tags(t.Context(), "a", nil)); !errors.Is(err, registry.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if hops > 10 {
		t.Errorf("%d redirects were followed", hops)
	}
}

// Upload sessions and pages may be anywhere in the registry, and nowhere else.
func TestNobodySendsUsElsewhere(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		t.Errorf("%s %s with %v", req.Method, req.URL, req.Header)
	}))
	t.Cleanup(elsewhere.Close)
	for _, kind := range fixtures.EveryAuth() {
		r := registrytest.Start(t, &registrytest.Options{Auth: kind, Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				next.ServeHTTP(&headerChanger{ResponseWriter: w, change: func(h http.Header) {
					if h.Get("Location") != "" {
						h.Set("Location", elsewhere.URL+"/upload")
					}
					if h.Get("Link") != "" {
						h.Set("Link", "<"+elsewhere.URL+`/v2/a/tags/list>; rel="next"`)
					}
				}}, req)
			})
		}})
		c := fixtures.Client(t, r, fixtures.Alice(r), &registry.ClientOptions{PageSize: 1})
		desc, b := fixtures.Content(t, 10)
		if err := c.PutBlob(t.Context(), "a", desc, bytes.NewReader(b)); !errors.Is(err, registry.ErrRefused) {
			t.Errorf("%s: an upload elsewhere: %v", kind, err)
		}
		if _, err := c.ResumeUpload(t.Context(), "a", elsewhere.URL); !errors.Is(err, registry.ErrRefused) {
			t.Errorf("%s: resuming elsewhere: %v", kind, err)
		}
		for _, tag := range []string{"v1", "v2"} {
			fixtures.EmptyIndex(t, c, "a", tag)
		}
		var tags []string
		var last error
		for tag, err := range c.Tags(t.Context(), "a", nil) {
			if last = err; err == nil {
				tags = append(tags, tag)
			}
		}
		if !slices.Equal(tags, []string{"v1"}) || last == nil {
			t.Errorf("%s: a page elsewhere: %q, %v", kind, tags, last)
		}
	}
}

// A headerChanger changes the header of an answer before it is sent.
type headerChanger struct {
	http.ResponseWriter
	change func(http.Header)
	once   sync.Once
}

func (w *headerChanger) WriteHeader(status int) {
	w.once.Do(func() { w.change(w.Header()) })
	w.ResponseWriter.WriteHeader(status)
}

func (w *headerChanger) Write(p []byte) (int, error) {
	w.once.Do(func() { w.change(w.Header()) })
	return w.ResponseWriter.Write(p)
}
