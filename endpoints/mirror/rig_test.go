package mirror_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/endpoints/mirror"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A rig is two registries and a mirror between them.
type rig struct {
	source, target *registrytest.Registry
	meter          registrytest.Meter // of the target
	from, to       *registry.Client
	opts           mirror.Options
	gatherer       *prometheus.Registry
	endpoint       *endpoints.Endpoint
}

// newRig starts them; change may change options before the endpoint is made.
func newRig(t testing.TB, source, target *registrytest.Options, change func(*rig)) *rig {
	t.Helper()
	r := &rig{gatherer: prometheus.NewRegistry()}
	if source == nil {
		source = &registrytest.Options{}
	}
	if target == nil {
		target = &registrytest.Options{}
	}
	outer := target.Wrap
	target.Wrap = func(next http.Handler) http.Handler {
		if outer != nil {
			next = outer(next)
		}
		return r.meter.Wrap(next)
	}
	r.source, r.target = registrytest.Start(t, source), registrytest.Start(t, target)
	r.opts = mirror.Options{
		Source:  mirror.Registry{URL: r.source.URL(), Credentials: knownTo(r.source)},
		Target:  mirror.Registry{URL: r.target.URL(), Credentials: knownTo(r.target)},
		Metrics: mirror.NewMetrics(r.gatherer),
	}
	if change != nil {
		change(r)
	}
	r.from, r.to = client(t, r.source, r.source.URL()), client(t, r.target, r.opts.Target.URL)
	r.endpoint = newEndpoint(t, "copy", &r.opts)
	return r
}

// mirrorOf is a registry as a side of a mirror.
func mirrorOf(r *registrytest.Registry) mirror.Registry {
	return mirror.Registry{URL: r.URL(), Credentials: knownTo(r)}
}

// knownTo is the credential that all registries of tests know.
func knownTo(r *registrytest.Registry) auth.Credentials {
	return auth.StaticCredential(r.URL(), auth.Credential{Username: registrytest.Username, Password: registrytest.Password})
}

func client(t testing.TB, r *registrytest.Registry, url string) *registry.Client {
	t.Helper()
	c, err := registry.NewClient(url, &registry.ClientOptions{
		Transport: auth.NewTransport(nil, &auth.Options{Credentials: knownTo(r)}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func newEndpoint(t testing.TB, name string, opts *mirror.Options) *endpoints.Endpoint {
	t.Helper()
	e, err := mirror.NewEndpoint(name, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// deliver makes one attempt.
func (r *rig) deliver(t testing.TB, e *notifications.Event) {
	t.Helper()
	if err := r.endpoint.Write(t.Context(), []*notifications.Event{e}); err != nil {
		t.Fatal(err)
	}
}

// refused makes one attempt, which has to fail as class says.
func (r *rig) refused(t testing.TB, e *notifications.Event, class endpoints.Class) *endpoints.DeliveryError {
	t.Helper()
	err := r.endpoint.Write(t.Context(), []*notifications.Event{e})
	failed, ok := errors.AsType[*endpoints.DeliveryError](err)
	if !ok || failed.Class != class {
		t.Fatalf("%v (%v), want %v", err, failed, class)
	}
	return failed
}

// metrics compares counters with lines "name label value".
func (r *rig) metrics(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		i := strings.LastIndexByte(line, ' ')
		if got := fmt.Sprint(r.counter(t, line[:i])); got != line[i+1:] {
			t.Errorf("%s, want %s", got, line)
		}
	}
}

// push and others are events about a repository.
func push(repository, tag string, dgst digest.Digest) *notifications.Event {
	return event(notifications.ActionPush, repository, tag, v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: dgst})
}

func deletion(repository, tag string, dgst digest.Digest) *notifications.Event {
	return event(notifications.ActionDelete, repository, tag, v1.Descriptor{Digest: dgst})
}

func event(action, repository, tag string, desc v1.Descriptor) *notifications.Event {
	return notifications.NewEvent(action, notifications.Details{
		Target: notifications.Target{Descriptor: desc, Repository: repository, Tag: tag},
	})
}

// ago makes an event that old.
func ago(age time.Duration, e *notifications.Event) *notifications.Event {
	e.Timestamp = time.Now().Add(-age)
	return e
}

// noise is size bytes that no other seed has.
func noise(seed uint64, size int) []byte {
	b := make([]byte, size)
	chaos := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = chaos.Read(b)
	return b
}

// putBlob stores a blob.
func putBlob(t testing.TB, c *registry.Client, repository, mediaType string, content []byte) v1.Descriptor {
	t.Helper()
	desc := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	if err := c.PutBlob(t.Context(), repository, desc, strings.NewReader(string(content))); err != nil {
		t.Fatal(err)
	}
	return desc
}

// putManifest stores a manifest under ref, "" for its digest.
func putManifest(t testing.TB, c *registry.Client, repository, ref, mediaType string, manifest any) v1.Descriptor {
	t.Helper()
	content, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := c.PutManifest(t.Context(), repository, ref, mediaType, content)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

// image makes an image of a config and layers, without storing the manifest.
func image(t testing.TB, c *registry.Client, repository string, layers ...[]byte) v1.Manifest {
	t.Helper()
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: putBlob(t, c, repository, v1.MediaTypeImageConfig, configuration(len(layers))),
	}
	for _, layer := range layers {
		m.Layers = append(m.Layers, putBlob(t, c, repository, v1.MediaTypeImageLayerGzip, layer))
	}
	return m
}

// configuration is that of every image with so many layers.
func configuration(layers int) []byte {
	return fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","layers":%d}`, layers)
}

// putImage stores an image under ref, "" for its digest.
func putImage(t testing.TB, c *registry.Client, repository, ref string, layers ...[]byte) v1.Descriptor {
	t.Helper()
	return putManifest(t, c, repository, ref, v1.MediaTypeImageManifest, image(t, c, repository, layers...))
}

// arrived checks that the target has what the source has under ref, byte for byte and
// with all that it refers to.
func (r *rig) arrived(t testing.TB, repository, ref string) {
	t.Helper()
	want, body, err := r.from.Manifest(t.Context(), repository, ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, copied, err := r.to.Manifest(t.Context(), repository, ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != want.Digest || got.MediaType != want.MediaType || string(copied) != string(body) {
		t.Errorf("%s:%s is %v, want %v", repository, ref, got, want)
	}
	var refers struct {
		Config            *v1.Descriptor
		Layers, Manifests []v1.Descriptor
	}
	if err := json.Unmarshal(body, &refers); err != nil {
		t.Fatal(err)
	}
	for _, child := range refers.Manifests {
		r.arrived(t, repository, child.Digest.String())
	}
	blobs := refers.Layers
	if refers.Config != nil {
		blobs = append(blobs, *refers.Config)
	}
	for _, blob := range blobs {
		if d, err := r.to.StatBlob(t.Context(), repository, blob.Digest); err != nil || d.Size != blob.Size {
			t.Errorf("blob %s of %s: %v, %v", blob.Digest, repository, d, err)
		}
	}
}

// tagged is what a registry has under a tag, "" if nothing.
func tagged(t testing.TB, c *registry.Client, repository, ref string) digest.Digest {
	t.Helper()
	desc, err := c.Resolve(t.Context(), repository, ref)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		t.Fatal(err)
	}
	return desc.Digest
}

// counter reads a metric by its name and labels.
func (r *rig) counter(t testing.TB, key string) float64 {
	t.Helper()
	name, label, _ := strings.Cut(key, " ")
	families, err := r.gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			wanted := label == ""
			for _, l := range m.GetLabel() {
				wanted = wanted || l.GetName() != "endpoint" && l.GetValue() == label
			}
			if f.GetName() == "regcast_mirror_"+name && wanted {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// eventually waits for something to become true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
