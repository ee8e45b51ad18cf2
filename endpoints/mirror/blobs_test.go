package mirror_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/endpoints/mirror"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A gate keeps those who read blobs of a registry until it is opened.
type gate struct {
	mu           sync.Mutex
	inside, most int
	open         chan struct{}
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			defer g.enter()()
			select {
			case <-g.open:
			case <-r.Context().Done():
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (g *gate) enter() (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside++
	g.most = max(g.most, g.inside)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.inside--
	}
}

func (g *gate) counts() (inside, most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside, g.most
}

// layers are n that no other seed has.
func layers(seed, n int) [][]byte {
	var all [][]byte
	for i := range n {
		all = append(all, noise(uint64(100*seed+i), 1000))
	}
	return all
}

// One event copies so many blobs at once, and all together few more: each has one of its
// own, so that none waits for another.
func TestBlobsAreCopiedAtOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ option, events, want int }{
		{0, 1, mirror.DefaultBlobConcurrency}, {1, 1, 1}, {3, 1, 3}, {1, 3, 3}, {4, 3, 6}, {64, 1, 11},
	} {
		t.Run(fmt.Sprintf("%d for %d events", test.option, test.events), func(t *testing.T) {
			t.Parallel()
			g := newGate()
			r := newRig(t, &registrytest.Options{Wrap: g.wrap}, nil, func(r *rig) { r.opts.BlobConcurrency = test.option })
			done := make(chan error, test.events)
			for i := range test.events {
				repository := fmt.Sprint("team/app", i)
				desc := putImage(t, r.from, repository, "1.0", layers(i, 10)...) // and a configuration
				go func() {
					done <- r.endpoint.Write(t.Context(), []*notifications.Event{push(repository, "1.0", desc.Digest)})
				}()
			}
			eventually(t, "as many blobs as there may be", func() bool {
				inside, _ := g.counts()
				return inside == test.want
			})
			close(g.open)
			for range test.events {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			if _, most := g.counts(); most != test.want {
				t.Errorf("%d blobs at once, want %d", most, test.want)
			}
			for i := range test.events {
				r.arrived(t, fmt.Sprint("team/app", i), "1.0")
			}
			r.metrics(t, "inflight_bytes 0", fmt.Sprint("blobs_total copied ", test.events*11))
		})
	}
}

// The blobs of all images of an index are copied side by side.
func TestBlobsOfAnIndexAreCopiedAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate()
	r := newRig(t, &registrytest.Options{Wrap: g.wrap}, nil, func(r *rig) { r.opts.BlobConcurrency = 5 })
	var index v1.Index
	index.SchemaVersion, index.MediaType = 2, v1.MediaTypeImageIndex
	for i := range 4 {
		index.Manifests = append(index.Manifests, putImage(t, r.from, "team/app", "", noise(uint64(i), 1000)))
	}
	desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageIndex, index)
	done := make(chan error, 1)
	go func() {
		done <- r.endpoint.Write(t.Context(), []*notifications.Event{event(notifications.ActionPush, "team/app", "1.0", desc)})
	}()
	eventually(t, "four layers and the configuration", func() bool {
		inside, _ := g.counts()
		return inside == 5
	})
	if got := r.endpoint.Progress(); !strings.HasPrefix(got, "team/app:1.0 0/5 blobs, ") {
		t.Errorf("progress %q", got)
	}
	close(g.open)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.arrived(t, "team/app", "1.0")
	r.metrics(t, "blobs_total copied 5", "manifests_total copied 5")
}

// Of an index whose manifests are large, some are copied before the others are read.
func TestManifestsThatAreGatheredAreBounded(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	note := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if _, ref, ok := strings.Cut(req.URL.Path, "/manifests/"); ok && req.Method != http.MethodHead {
				mu.Lock()
				order = append(order, req.Method+" "+ref)
				mu.Unlock()
			}
			next.ServeHTTP(w, req)
		})
	}
	r := newRig(t, &registrytest.Options{Wrap: note}, &registrytest.Options{Wrap: note}, nil)
	var index v1.Index
	index.SchemaVersion, index.MediaType = 2, v1.MediaTypeImageIndex
	for i := range 5 {
		m := image(t, r.from, "team/app", noise(uint64(i), 100))
		m.Annotations = map[string]string{"padding": strings.Repeat("x", 400<<10)}
		index.Manifests = append(index.Manifests, putManifest(t, r.from, "team/app", "", v1.MediaTypeImageManifest, m))
	}
	desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageIndex, index)
	order = nil
	r.deliver(t, event(notifications.ActionPush, "team/app", "1.0", desc))
	r.metrics(t, "blobs_total copied 6", "manifests_total copied 6")
	held, most := 0, 0
	for _, step := range order {
		if strings.HasPrefix(step, "GET ") {
			held++
		} else {
			held--
		}
		most = max(most, held)
	}
	if most != 1+3 { // the index, and what 1 MiB has room for, and one more
		t.Errorf("%d manifests at once: %q", most, order)
	}
	r.arrived(t, "team/app", "1.0")
}

// Whatever is copied at once, nothing is at the target before what it refers to.
func TestOrderAtTheTarget(t *testing.T) {
	var mu sync.Mutex
	stored := make(map[string]bool) // digests, and the tag
	var early []string
	r := newRig(t, nil, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method != http.MethodPut {
				next.ServeHTTP(w, req)
				return
			}
			_, ref, isManifest := strings.Cut(req.URL.Path, "/manifests/")
			mu.Lock()
			switch {
			case !isManifest:
				ref = req.URL.Query().Get("digest")
			case ref == "1.0" && len(stored) != 2*(5+1+1), strings.HasPrefix(ref, "sha256:") && len(stored) < 2*(5+1):
				early = append(early, ref)
			}
			mu.Unlock()
			next.ServeHTTP(w, req)
			mu.Lock()
			defer mu.Unlock()
			stored[ref] = true
		})
	}}, nil)
	var index v1.Index
	index.SchemaVersion, index.MediaType = 2, v1.MediaTypeImageIndex
	for i := range 2 {
		m := image(t, r.from, "team/app", layers(i, 5)...)
		m.Config = putBlob(t, r.from, "team/app", v1.MediaTypeImageConfig, configuration(90+i))
		index.Manifests = append(index.Manifests, putManifest(t, r.from, "team/app", "", v1.MediaTypeImageManifest, m))
	}
	desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageIndex, index)
	r.deliver(t, event(notifications.ActionPush, "team/app", "1.0", desc))
	if len(early) > 0 {
		t.Errorf("%q came before what they refer to", early)
	}
	r.arrived(t, "team/app", "1.0")
}

// What one blob fails by ends the others.
func TestTheFirstErrorEndsAllBlobs(t *testing.T) {
	g := newGate()
	var r *rig
	var denied string
	r = newRig(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		rest := g.wrap(next)
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if denied == "" || !strings.HasSuffix(req.URL.Path, denied) {
				rest.ServeHTTP(w, req)
				return
			}
			eventually(t, "three others", func() bool {
				inside, _ := g.counts()
				return inside == 3
			})
			says(http.StatusForbidden, "DENIED")(w, req)
		})
	}}, nil, nil)
	m := image(t, r.from, "team/app", layers(1, 8)...)
	desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageManifest, m)
	denied = m.Layers[2].Digest.String()
	err := r.refused(t, push("team/app", "1.0", desc.Digest), endpoints.Rejected)
	if err.Status != http.StatusForbidden {
		t.Error(err)
	}
	if _, most := g.counts(); most != 3 {
		t.Errorf("%d blobs beside the one that failed", most)
	}
	r.metrics(t, "inflight_bytes 0", "blobs_total copied 0", "manifests_total copied 0")
	if got := r.endpoint.Progress(); got != "" {
		t.Errorf("progress of nothing: %q", got)
	}
	eventually(t, "the requests to end", func() bool {
		inside, _ := g.counts()
		return inside == 0
	})
}

// An attempt that is given up leaves nothing under way.
func TestGivingUpEndsAllBlobs(t *testing.T) {
	g := newGate()
	r := newRig(t, &registrytest.Options{Wrap: g.wrap}, nil, nil)
	desc := putImage(t, r.from, "team/app", "1.0", layers(1, 8)...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.endpoint.Write(ctx, []*notifications.Event{push("team/app", "1.0", desc.Digest)}) }()
	eventually(t, "blobs under way", func() bool {
		inside, _ := g.counts()
		return inside == mirror.DefaultBlobConcurrency
	})
	cancel()
	if err := <-done; err == nil {
		t.Error("no error")
	}
	r.metrics(t, "inflight_bytes 0")
}
