package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/cmd/internal/proxy/cache"
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
