package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// cacheRows compare reads through the proxy's cache, each with its pull event, with the
// same reads from the registry, and with the least that any server can do. What is read is
// an image of ten layers, as builders annotate it, and the list of its fifty tags.
func cacheRows() []row {
	const tags, manifest = "/v2/team/app/tags/list", "/v2/team/app/manifests/v0"
	return []row{
		{name: "tags/list through the cache", against: "CNCF distribution itself", unit: "requests/s", reach: 5,
			ours: cached(tags, 0), peer: fromRegistry(tags)},
		{name: "manifest through the cache", against: "CNCF distribution itself", unit: "requests/s", reach: 5,
			ours: cached(manifest, 1), peer: fromRegistry(manifest)},
		{name: "manifest through the cache, a hit", against: "a bare handler with the same bytes", unit: "requests/s", reach: 0.5,
			ours: cached(manifest, 1), peer: sameBytes(manifest)},
	}
}

// A stockedRegistry is CNCF distribution, on the file system, with an image under fifty
// tags.
type stockedRegistry struct {
	*registrytest.Registry
	dir   string
	asked atomic.Int64 // requests, if it counts them
}

// startStocked starts one that counts its requests, or not, as that takes time.
func startStocked(ctx context.Context, counts bool) (*stockedRegistry, error) {
	s := &stockedRegistry{}
	opts := &registrytest.Options{}
	if counts {
		opts.Wrap = s.count
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "regcast-bench-"); err != nil {
		return nil, err
	}
	opts.Directory = s.dir
	if s.Registry, err = registrytest.Open(opts); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err := stock(ctx, s.URL()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *stockedRegistry) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		next.ServeHTTP(w, r)
	})
}

// Close ends the registry and removes what is in it.
func (s *stockedRegistry) Close() error { return errors.Join(s.Registry.Close(), os.RemoveAll(s.dir)) }

func stock(ctx context.Context, base string) error {
	client, err := registry.NewClient(base, nil)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	image := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Annotations: map[string]string{
			v1.AnnotationCreated:         "2026-01-02T03:04:05Z",
			v1.AnnotationTitle:           "app",
			v1.AnnotationDescription:     "The application of a team",
			v1.AnnotationVersion:         "1.2.3",
			v1.AnnotationRevision:        "0f9e8d7c6b5a49382716059483726150f9e8d7c6",
			v1.AnnotationSource:          "https://git.example/team/app",
			v1.AnnotationLicenses:        "Apache-2.0",
			v1.AnnotationBaseImageName:   "registry.example/base/debian:13",
			v1.AnnotationBaseImageDigest: digest.FromString("base").String(),
		},
	}
	put := func(mediaType, content string) (v1.Descriptor, error) {
		desc := v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
		return desc, client.PutBlob(ctx, "team/app", desc, bytes.NewReader([]byte(content)))
	}
	if image.Config, err = put(v1.MediaTypeImageConfig, "{}"); err != nil {
		return err
	}
	for i := range 10 {
		layer, err := put(v1.MediaTypeImageLayerGzip, fmt.Sprint("layer ", i))
		if err != nil {
			return err
		}
		image.Layers = append(image.Layers, layer)
	}
	content, err := json.Marshal(image)
	if err != nil {
		return err
	}
	for i := range 50 {
		if _, err := client.PutManifest(ctx, "team/app", fmt.Sprint("v", i), image.MediaType, content); err != nil {
			return err
		}
	}
	return nil
}

func fromRegistry(path string) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		r, err := startStocked(ctx, false)
		if err != nil {
			return result{}, err
		}
		defer r.Close()
		_, body, err := fetch(ctx, r.URL(), path)
		if err != nil {
			return result{}, err
		}
		return readAll(ctx, r.URL(), path, body)
	}
}

// cached reads through a proxy whose cache has the answer, and fails if the registry is
// asked all the same, or a read has not made as many events as it should.
func cached(path string, events int64) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		r, err := startStocked(ctx, true)
		if err != nil {
			return result{}, err
		}
		defer r.Close()
		upstream, err := url.Parse(r.URL())
		if err != nil {
			return result{}, err
		}
		_, body, err := fetch(ctx, r.URL(), path)
		if err != nil {
			return result{}, err
		}
		sink := &tally{}
		p, err := proxy.New(sink, &proxy.Options{
			Name: "bench", Upstream: upstream,
			Cache: cache.NewMemory(time.Hour, 0), CacheOptions: cache.Options{TTL: time.Hour, Anonymous: true},
		})
		if err != nil {
			return result{}, err
		}
		measured, err := throughCache(ctx, p, r, path, body)
		if err := errors.Join(err, p.Shutdown(ctx)); err != nil {
			return result{}, err
		}
		if got, want := sink.Load(), events*(reads+1); got != want {
			return result{}, fmt.Errorf("%d events, not %d", got, want)
		}
		return measured, nil
	}
}

func throughCache(ctx context.Context, p *proxy.Proxy, r *stockedRegistry, path string, body []byte) (result, error) {
	front, err := serve(p)
	if err != nil {
		return result{}, err
	}
	defer front.stop()
	if _, _, err := fetch(ctx, front.base(), path); err != nil { // from the registry
		return result{}, err
	}
	before := r.asked.Load()
	measured, err := readAll(ctx, front.base(), path, body)
	if n := r.asked.Load() - before; err == nil && n > 0 {
		err = fmt.Errorf("the registry was asked %d times", n)
	}
	return measured, err
}

// A tally is a sink that counts.
type tally struct{ atomic.Int64 }

// Write implements [notifications.Sink].
func (t *tally) Write(_ context.Context, batch []*notifications.Event) error {
	t.Add(int64(len(batch)))
	return nil
}

// sameBytes serves the same bytes, known beforehand.
func sameBytes(path string) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		r, err := startStocked(ctx, false)
		if err != nil {
			return result{}, err
		}
		defer r.Close()
		header, body, err := fetch(ctx, r.URL(), path)
		if err != nil {
			return result{}, err
		}
		server, err := serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"Content-Type", "Content-Length", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Etag"} {
				w.Header()[name] = header[name]
			}
			_, _ = w.Write(body)
		}))
		if err != nil {
			return result{}, err
		}
		defer server.stop()
		return readAll(ctx, server.base(), path, body)
	}
}

// fetch asks for path once.
func fetch(ctx context.Context, base, path string) (http.Header, []byte, error) {
	req, err := question(ctx, base, path)
	if err != nil {
		return nil, nil, err
	}
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s of %s: %s", resp.Status, path, body)
	}
	return resp.Header, body, err
}

// question asks for what clients of a registry run, or for whatever else path is.
func question(ctx context.Context, base, path string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err == nil {
		r.Header["Accept"] = []string{v1.MediaTypeImageManifest + ", " + v1.MediaTypeImageIndex}
	}
	return r, err
}
