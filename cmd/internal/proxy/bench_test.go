package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// BenchmarkRead reads a manifest of a real registry: from the registry itself, through a
// proxy, from a cache, and from a handler that has the same bytes at hand.
func BenchmarkRead(b *testing.B) {
	registry := registrytest.Start(b, nil)
	c := client(b)
	upload(b, c, registry.URL(), "team/app", []byte("{}"))
	upload(b, c, registry.URL(), "team/app", []byte(blobText))
	manifest := manifestOf("{}", blobText)
	const path = "/v2/team/app/manifests/v1"
	do(b, c, "PUT", registry.URL()+path, []byte(manifest), "Content-Type", manifestType)
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", manifestType)
		h.Set("Docker-Content-Digest", digestOf([]byte(manifest)))
		h.Set("Content-Length", fmt.Sprint(len(manifest)))
		_, _ = io.WriteString(w, manifest)
	}))
	b.Cleanup(bare.Close)
	for _, place := range []struct{ name, url string }{
		{"registry", registry.URL()},
		{"proxy", start(b, registry.URL(), nil).url},
		{"cache", start(b, registry.URL(), func(o *proxy.Options) {
			o.Cache, o.CacheOptions.Anonymous, o.CacheOptions.TTL = cache.NewMemory(time.Hour, 0), true, time.Hour
		}).url},
		{"bare", bare.URL},
	} {
		for _, what := range []string{path, "/v2/team/app/tags/list"} {
			b.Run(place.name+what[len("/v2/team/app"):], func(b *testing.B) {
				for b.Loop() {
					if resp, _ := do(b, c, "GET", place.url+what, nil, "Accept", manifestType); resp.StatusCode != 200 {
						b.Fatal(resp.Status)
					}
				}
			})
		}
	}
}

// BenchmarkHit is what a read from the cache costs beside the server and the connection,
// with its event: a manifest that is asked for by tag, and a list of tags.
func BenchmarkHit(b *testing.B) {
	registry := registrytest.Start(b, nil)
	c := client(b)
	upload(b, c, registry.URL(), "team/app", []byte("{}"))
	upload(b, c, registry.URL(), "team/app", []byte(blobText))
	do(b, c, "PUT", registry.URL()+"/v2/team/app/manifests/v1", []byte(manifestOf("{}", blobText)), "Content-Type", manifestType)
	upstream, err := url.Parse(registry.URL())
	if err != nil {
		b.Fatal(err)
	}
	for _, what := range []string{"manifests/v1", "tags/list"} {
		b.Run(what, func(b *testing.B) {
			p, err := proxy.New(nowhere{}, &proxy.Options{
				Name: "main", Upstream: upstream,
				Cache: cache.NewMemory(time.Hour, 0), CacheOptions: cache.Options{Anonymous: true, TTL: time.Hour},
			})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = p.Shutdown(context.Background()) })
			request := httptest.NewRequest("GET", "http://registry.example/v2/team/app/"+what, nil)
			request.Header.Set("Accept", manifestType)
			request.Header.Set("User-Agent", "containerd/2.0.1")
			p.ServeHTTP(&nobody{header: make(http.Header)}, request)
			w := &nobody{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				p.ServeHTTP(w, request)
				if w.status != http.StatusOK || w.header.Get("X-Cache") != "HIT" {
					b.Fatal(w.status, w.header)
				}
			}
		})
	}
}

// A nobody is a client who is not there.
type nobody struct {
	header http.Header
	status int
}

func (n *nobody) Header() http.Header              { return n.header }
func (n *nobody) WriteHeader(status int)           { n.status = status }
func (n *nobody) Write(p []byte) (int, error)      { return len(p), nil }
func (n *nobody) SetReadDeadline(time.Time) error  { return nil }
func (n *nobody) SetWriteDeadline(time.Time) error { return nil }

// nowhere is a sink that takes everything at once.
type nowhere struct{}

func (nowhere) Write(context.Context, []*notifications.Event) error { return nil }
