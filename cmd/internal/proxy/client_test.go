package proxy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// The client of crane pushes, lists, pulls, moves a tag and deletes, through a cache, and
// sees each time what it has just done.
func TestAClientThroughTheCache(t *testing.T) {
	registry := registrytest.Start(t, nil)
	r := start(t, registry.URL(), func(o *proxy.Options) {
		o.Cache, o.CacheOptions.Anonymous = cache.NewMemory(time.Minute, 0), true
	})
	ref, err := name.NewTag(r.host+"/team/app:v1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		image, err := random.Image(1<<10, 2)
		if err != nil {
			t.Fatal(err)
		}
		want, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, image); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			desc, err := remote.Head(ref)
			if err != nil || desc.Digest != want {
				t.Fatalf("round %d, HEAD: %v %v, want %s", round, desc, err, want)
			}
			pulled, err := remote.Image(ref)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := pulled.Digest(); err != nil || got != want {
				t.Errorf("round %d: pulled %s %v, want %s", round, got, err, want)
			}
			if tags, err := remote.List(ref.Repository); err != nil || !slices.Equal(tags, []string{"v1"}) {
				t.Errorf("round %d: tags %q %v", round, tags, err)
			}
		}
		if err := remote.Delete(ref.Digest(want.String())); err != nil {
			t.Fatal(err)
		}
		if desc, err := remote.Head(ref); err == nil {
			t.Errorf("round %d: deleted, and still %v", round, desc)
		}
	}
	if n := r.metric(t, "regcast_proxy_cache_requests_total", "hit"); n < 18 {
		t.Errorf("%v hits", n)
	}
}
