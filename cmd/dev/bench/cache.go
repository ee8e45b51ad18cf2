package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// cacheRows compare reads through the proxy's cache, each with its pull event, with the
// same reads from the registry, and with the least that any server can do.
func cacheRows() []row {
	const tags, manifest = "/v2/team/app/tags/list", "/v2/team/app/manifests/v0"
	return []row{
		{name: "tags/list through the cache", against: "CNCF distribution itself", unit: "requests/s", reach: 5,
			ours: cached(tags), peer: fromRegistry(tags)},
		{name: "manifest through the cache", against: "CNCF distribution itself", unit: "requests/s", reach: 5,
			ours: cached(manifest), peer: fromRegistry(manifest)},
		{name: "manifest through the cache, a hit", against: "a bare handler with the same bytes", unit: "requests/s", reach: 0.5,
			ours: cached(manifest), peer: sameBytes(manifest)},
	}
}

// reads is how many requests a row makes, of readers at once.
const reads, readers = 20_000, 8

// A stockedRegistry is CNCF distribution, on the file system, with an image under fifty
// tags.
type stockedRegistry struct {
	*registrytest.Registry
	dir string
}

func startStocked(ctx context.Context) (*stockedRegistry, error) {
	dir, err := os.MkdirTemp("", "regcast-bench-")
	if err != nil {
		return nil, err
	}
	r, err := registrytest.Open(&registrytest.Options{Directory: dir})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &stockedRegistry{r, dir}
	if err := stock(ctx, r.URL()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the registry and removes what is in it.
func (s *stockedRegistry) Close() error { return errors.Join(s.Registry.Close(), os.RemoveAll(s.dir)) }

func stock(ctx context.Context, base string) error {
	client, err := registry.NewClient(base, nil)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	content := []byte(`{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[]}`)
	for i := range 50 {
		if _, err := client.PutManifest(ctx, "team/app", fmt.Sprint("v", i), v1.MediaTypeImageIndex, content); err != nil {
			return err
		}
	}
	return nil
}

func fromRegistry(path string) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		r, err := startStocked(ctx)
		if err != nil {
			return result{}, err
		}
		defer r.Close()
		return readAll(r.URL() + path)
	}
}

func cached(path string) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		r, err := startStocked(ctx)
		if err != nil {
			return result{}, err
		}
		defer r.Close()
		upstream, err := url.Parse(r.URL())
		if err != nil {
			return result{}, err
		}
		p, err := proxy.New(nowhere{}, &proxy.Options{
			Name: "bench", Upstream: upstream,
			Cache: cache.NewMemory(time.Hour, 0), CacheOptions: cache.Options{TTL: time.Hour, Anonymous: true},
		})
		if err != nil {
			return result{}, err
		}
		defer func() { _ = p.Shutdown(context.Background()) }()
		front, err := serve(p)
		if err != nil {
			return result{}, err
		}
		defer front.stop()
		return readAll(front.base() + path)
	}
}

// sameBytes serves the same bytes, known beforehand.
func sameBytes(path string) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		r, err := startStocked(ctx)
		if err != nil {
			return result{}, err
		}
		defer r.Close()
		req, err := question(r.URL() + path)
		if err != nil {
			return result{}, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return result{}, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return result{}, err
		}
		server, err := serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"Content-Type", "Content-Length", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Etag"} {
				w.Header()[name] = resp.Header[name]
			}
			_, _ = w.Write(body)
		}))
		if err != nil {
			return result{}, err
		}
		defer server.stop()
		return readAll(server.base() + path)
	}
}

// readAll asks for the same again and again.
func readAll(url string) (result, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: readers}}
	defer client.CloseIdleConnections()
	w := startWatch()
	err := inParallel(readers, make([]struct{}, reads), func(struct{}) error {
		r, err := question(url)
		if err != nil {
			return err
		}
		return send(client, r)
	})
	return w.per(reads), err
}

// question asks for an index, or for whatever else url is.
func question(url string) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err == nil {
		r.Header.Set("Accept", v1.MediaTypeImageIndex)
	}
	return r, err
}
