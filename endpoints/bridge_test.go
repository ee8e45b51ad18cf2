package endpoints_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/manifest/manifestlist"
	"github.com/distribution/distribution/v3/manifest/ocischema"
	"github.com/distribution/distribution/v3/manifest/schema2"
	theirs "github.com/distribution/distribution/v3/notifications"
	"github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A registry of distribution tells two bridges what happens in it, its own and ours, and
// what webhooks receive from them is compared.
func TestBridgeDeliversWhatDistributionDelivers(t *testing.T) {
	for name, references := range map[string]bool{"with references": true, "without references": false} {
		t.Run(name, func(t *testing.T) {
			r := newBridgedRegistry(t, references)
			r.exercise()

			want := r.reference.receive(t, r.told)
			got := r.all.receive(t, r.told)
			for i := range want {
				compareDeliveries(t, want[i], got[i])
			}
			var deletes []delivery
			for _, d := range want {
				if d.event.Action == notifications.ActionDelete {
					deletes = append(deletes, d)
				}
			}
			for i, d := range r.deletes.receive(t, len(deletes)) {
				compareDeliveries(t, deletes[i], d)
			}
			if r.all.requests.Load() == int64(r.told) {
				t.Error("no delivery was retried")
			}
			r.shutdown()
			for name, c := range map[string]*consumer{"reference": r.reference, "all": r.all, "deletes": r.deletes} {
				if more := len(c.deliveries); more > 0 {
					t.Errorf("%s: %d deliveries too many", name, more)
				}
			}

			calls := []string{
				"blob deleted", "blob mounted", "blob pulled", "blob pushed",
				"manifest deleted", "manifest pulled", "manifest pushed", "repository deleted", "tag deleted",
			}
			if diff := cmp.Diff(calls, slices.Sorted(maps.Keys(r.calls))); diff != "" {
				t.Errorf("not all listener methods were called: %s", diff)
			}
			if referring := slices.ContainsFunc(want, func(d delivery) bool { return len(d.details.Target.References) > 0 }); referring != references {
				t.Errorf("references were delivered: %t, want %t", referring, references)
			}
		})
	}
}

// A delivery is one request that a webhook got.
type delivery struct {
	header  http.Header
	event   *notifications.Event
	details notifications.Details
}

// compareDeliveries compares everything but the event's id and time, and our remark, which
// of a delete by digest has to say what it deleted.
func compareDeliveries(t *testing.T, want, got delivery) {
	t.Helper()
	if kind := got.details.Remark.Kind; (got.event.Action == "delete" && got.event.Digest != "") != (kind == "manifest" || kind == "blob") {
		t.Errorf("%s: the remark says %q was deleted", got.event.Action, kind)
	}
	got.details.Remark = notifications.Remark{}
	if diff := cmp.Diff(want.details, got.details); diff != "" {
		t.Errorf("%s: %s", want.event.Action, diff)
	}
	if diff := cmp.Diff(*want.event, *got.event, cmpopts.IgnoreUnexported(notifications.Event{}),
		cmpopts.IgnoreFields(notifications.Event{}, "ID", "Timestamp")); diff != "" {
		t.Errorf("%s: %s", want.event.Action, diff)
	}
	varying := regexp.MustCompile(`^\{"id":"[-0-9a-f]{36}","timestamp":"[-+.:0-9TZ]{20,35}",|,"regcast":\{[^{}]*\}`)
	wantJSON, gotJSON := string(want.event.AppendJSON(nil)), string(got.event.AppendJSON(nil))
	if !varying.MatchString(wantJSON) || varying.ReplaceAllString(wantJSON, "") != varying.ReplaceAllString(gotJSON, "") {
		t.Errorf("%s: the JSON differs:\n%s\n%s", want.event.Action, wantJSON, gotJSON)
	}
	if want, got := want.header.Get("Content-Type"), got.header.Get("Content-Type"); want != got {
		t.Errorf("content type %q, want %q", got, want)
	}
}

// A consumer receives deliveries of single events.
type consumer struct {
	url        string
	requests   atomic.Int64
	deliveries chan delivery
}

// newConsumer returns one that fails every nth request, or none if n is 0.
func newConsumer(t *testing.T, n int64) *consumer {
	c := &consumer{deliveries: make(chan delivery, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i := c.requests.Add(1); n > 0 && i%n == 0 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		body, err := io.ReadAll(r.Body)
		decoded := notifications.Decode(body, nil)
		if err != nil || len(decoded.Events) != 1 || len(decoded.Bad) != 0 {
			t.Errorf("received %q, %v: want one event", body, err)
			return
		}
		details, err := decoded.Events[0].Details()
		if err != nil {
			t.Error(err)
		}
		c.deliveries <- delivery{r.Header, decoded.Events[0], details}
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *consumer) receive(t *testing.T, n int) []delivery {
	t.Helper()
	timeout := time.After(time.Minute)
	var all []delivery
	for len(all) < n {
		select {
		case d := <-c.deliveries:
			all = append(all, d)
		case <-timeout:
			t.Fatalf("%d deliveries, want %d", len(all), n)
		}
	}
	return all
}

// A bridgedRegistry is an in-memory registry between two bridges: distribution's with an
// endpoint of distribution, and ours with a broadcaster and two pipelines.
type bridgedRegistry struct {
	t          *testing.T
	namespace  distribution.Namespace
	references bool

	reference, all, deletes *consumer
	endpoint                *theirs.Endpoint
	bridge                  *notifications.Bridge
	shutdown                func()

	calls map[string]int // of listener methods
	told  int            // calls, all in all
}

func newBridgedRegistry(t *testing.T, references bool) *bridgedRegistry {
	namespace, err := storage.NewRegistry(t.Context(), inmemory.New(), storage.EnableDelete)
	if err != nil {
		t.Fatal(err)
	}
	r := &bridgedRegistry{
		t: t, namespace: namespace, references: references, calls: make(map[string]int),
		reference: newConsumer(t, 0), all: newConsumer(t, 3), deletes: newConsumer(t, 0),
	}
	r.endpoint = theirs.NewEndpoint("reference", r.reference.url, theirs.EndpointConfig{
		Timeout: time.Minute, Transport: &http.Transport{},
	})

	onlyDeletes, err := sinks.NewMatcher(sinks.Rules{Actions: []string{notifications.ActionDelete}}, sinks.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := endpoints.New("all", r.all.url, &endpoints.Options{Retry: endpoints.RetryOptions{Initial: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	deletes, err := endpoints.New("deletes", r.deletes.url, &endpoints.Options{Match: onlyDeletes})
	if err != nil {
		t.Fatal(err)
	}
	r.bridge = notifications.NewBridge(sinks.NewBroadcaster(all, deletes),
		notifications.SourceRecord{Addr: "node-1:5000", InstanceID: "instance-1"},
		&notifications.BridgeOptions{IncludeReferences: references})
	r.shutdown = func() {
		if err := errors.Join(all.Shutdown(t.Context()), deletes.Shutdown(t.Context()), r.endpoint.Close()); err != nil {
			t.Error(err)
		}
	}
	return r
}

// repository is what one request to the registry works on, as distribution's handlers
// make it.
func (r *bridgedRegistry) repository(method, path, name string) (distribution.Repository, distribution.RepositoryRemover) {
	repo, err := r.namespace.Repository(r.t.Context(), r.named(name))
	if err != nil {
		r.t.Fatal(err)
	}
	remover, ok := r.namespace.(distribution.RepositoryRemover)
	if !ok {
		r.t.Fatal("the registry removes no repositories")
	}
	request := httptest.NewRequest(method, "https://registry.example/prefix/v2/"+path, nil)
	request.Header.Set("User-Agent", "client/1 <test>")
	id := "request-" + method
	return theirs.Listen(repo, remover, &bothListeners{
		registry: r,
		theirs: theirs.NewBridge(v2.NewURLBuilderFromRequest(request, false),
			theirs.SourceRecord{Addr: "node-1:5000", InstanceID: "instance-1"}, theirs.ActorRecord{Name: "alice"},
			theirs.NewRequestRecord(id, request), r.endpoint, r.references),
		ours: r.bridge.WithURLs(notifications.BaseURLOf(request)).
			For(notifications.ActorRecord{Name: "alice"}, notifications.RequestOf(id, request)),
	})
}

func (r *bridgedRegistry) named(name string) reference.Named {
	named, err := reference.WithName(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return named
}

// bothListeners passes on what distribution tells its listener.
type bothListeners struct {
	registry *bridgedRegistry
	theirs   theirs.Listener
	ours     notifications.Listener
}

// tell counts a call and fails the test if one of the listeners did.
func (l *bothListeners) tell(call string, theirs, ours error) error {
	l.registry.calls[call]++
	l.registry.told++
	if err := errors.Join(theirs, ours); err != nil {
		l.registry.t.Errorf("%s: %v", call, err)
	}
	return nil
}

func (l *bothListeners) context() context.Context { return l.registry.t.Context() }

func tagOf(options []distribution.ManifestServiceOption) string {
	for _, o := range options {
		if tagged, ok := o.(distribution.WithTagOption); ok {
			return tagged.Tag
		}
	}
	return ""
}

func (l *bothListeners) ManifestPushed(repo reference.Named, m distribution.Manifest, options ...distribution.ManifestServiceOption) error {
	return l.tell("manifest pushed", l.theirs.ManifestPushed(repo, m, options...), l.ours.ManifestPushed(l.context(), repo, m, tagOf(options)))
}

func (l *bothListeners) ManifestPulled(repo reference.Named, m distribution.Manifest, options ...distribution.ManifestServiceOption) error {
	return l.tell("manifest pulled", l.theirs.ManifestPulled(repo, m, options...), l.ours.ManifestPulled(l.context(), repo, m, tagOf(options)))
}

func (l *bothListeners) ManifestDeleted(repo reference.Named, dgst digest.Digest) error {
	return l.tell("manifest deleted", l.theirs.ManifestDeleted(repo, dgst), l.ours.ManifestDeleted(l.context(), repo, dgst))
}

func (l *bothListeners) BlobPushed(repo reference.Named, blob v1.Descriptor) error {
	return l.tell("blob pushed", l.theirs.BlobPushed(repo, blob), l.ours.BlobPushed(l.context(), repo, blob))
}

func (l *bothListeners) BlobPulled(repo reference.Named, blob v1.Descriptor) error {
	return l.tell("blob pulled", l.theirs.BlobPulled(repo, blob), l.ours.BlobPulled(l.context(), repo, blob))
}

func (l *bothListeners) BlobMounted(repo reference.Named, blob v1.Descriptor, from reference.Named) error {
	return l.tell("blob mounted", l.theirs.BlobMounted(repo, blob, from), l.ours.BlobMounted(l.context(), repo, blob, from))
}

func (l *bothListeners) BlobDeleted(repo reference.Named, dgst digest.Digest) error {
	return l.tell("blob deleted", l.theirs.BlobDeleted(repo, dgst), l.ours.BlobDeleted(l.context(), repo, dgst))
}

func (l *bothListeners) TagDeleted(repo reference.Named, tag string) error {
	return l.tell("tag deleted", l.theirs.TagDeleted(repo, tag), l.ours.TagDeleted(l.context(), repo, tag))
}

func (l *bothListeners) RepoDeleted(repo reference.Named) error {
	return l.tell("repository deleted", l.theirs.RepoDeleted(repo), l.ours.RepositoryDeleted(l.context(), repo))
}

// exercise does everything that has an event.
func (r *bridgedRegistry) exercise() {
	config, layer := r.pushBlob("team/app", "{}"), r.pushBlob("team/app", "layer")
	empty := r.pushBlob("team/app", "")
	r.pullBlob("team/app", layer.Digest)
	r.pullBlob("team/app", empty.Digest) // its length is 0, and left out
	r.mountBlob("team/other", "team/app", layer.Digest)

	layer.MediaType, layer.Annotations = v1.MediaTypeImageLayerGzip, map[string]string{"note": "<a&b>"}
	image, err := ocischema.FromStruct(ocischema.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: config.Digest, Size: config.Size},
		Layers: []v1.Descriptor{layer},
	})
	r.check(err)
	docker, err := schema2.FromStruct(schema2.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: schema2.MediaTypeManifest,
		Config: v1.Descriptor{MediaType: schema2.MediaTypeImageConfig, Digest: config.Digest, Size: config.Size},
		Layers: []v1.Descriptor{{MediaType: schema2.MediaTypeLayer, Digest: layer.Digest, Size: layer.Size}},
	})
	r.check(err)
	imageDigest := r.pushManifest("team/app", image, "v1")
	dockerDigest := r.pushManifest("team/app", docker, "")

	index, err := ocischema.FromDescriptors([]v1.Descriptor{{
		MediaType: v1.MediaTypeImageManifest, Digest: imageDigest, Size: 1,
		Platform: &v1.Platform{Architecture: "arm64", OS: "linux", Variant: "v8"},
	}}, map[string]string{"note": "index"})
	r.check(err)
	list, err := manifestlist.FromDescriptors([]manifestlist.ManifestDescriptor{{
		Descriptor: v1.Descriptor{MediaType: schema2.MediaTypeManifest, Digest: dockerDigest, Size: 1},
		Platform:   manifestlist.PlatformSpec{Architecture: "amd64", OS: "windows", OSVersion: "10.0", OSFeatures: []string{"win32k"}},
	}})
	r.check(err)
	manifests := []digest.Digest{imageDigest, dockerDigest, r.pushManifest("team/app", index, "latest"), r.pushManifest("team/app", list, "")}

	for i, dgst := range manifests {
		r.pullManifest("team/app", dgst, []string{"v1", "", "latest", ""}[i])
	}
	r.deleteTag("team/app", "v1")
	for _, dgst := range manifests {
		r.deleteManifest("team/app", dgst)
	}
	r.deleteBlob("team/app", layer.Digest)
	_, remover := r.repository(http.MethodDelete, "team/app", "team/app")
	r.check(remover.Remove(r.t.Context(), r.named("team/app")))
}

func (r *bridgedRegistry) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *bridgedRegistry) pushBlob(name, content string) v1.Descriptor {
	dgst := digest.FromString(content)
	repo, _ := r.repository(http.MethodPut, name+"/blobs/uploads/1?digest="+dgst.String(), name)
	w, err := repo.Blobs(r.t.Context()).Create(r.t.Context())
	r.check(err)
	_, err = io.Copy(w, strings.NewReader(content))
	r.check(err)
	desc, err := w.Commit(r.t.Context(), v1.Descriptor{Digest: dgst, Size: int64(len(content))})
	r.check(err)
	return desc
}

func (r *bridgedRegistry) pullBlob(name string, dgst digest.Digest) {
	path := name + "/blobs/" + dgst.String()
	repo, _ := r.repository(http.MethodGet, path, name)
	request := httptest.NewRequest(http.MethodGet, "/v2/"+path, nil)
	r.check(repo.Blobs(r.t.Context()).ServeBlob(r.t.Context(), httptest.NewRecorder(), request, dgst))
}

func (r *bridgedRegistry) mountBlob(name, from string, dgst digest.Digest) {
	repo, _ := r.repository(http.MethodPost, name+"/blobs/uploads/", name)
	source, err := reference.WithDigest(r.named(from), dgst)
	r.check(err)
	_, err = repo.Blobs(r.t.Context()).Create(r.t.Context(), storage.WithMountFrom(source))
	if !errors.As(err, new(distribution.ErrBlobMounted)) {
		r.t.Fatalf("mounting a blob: %v", err)
	}
}

func (r *bridgedRegistry) deleteBlob(name string, dgst digest.Digest) {
	repo, _ := r.repository(http.MethodDelete, name+"/blobs/"+dgst.String(), name)
	r.check(repo.Blobs(r.t.Context()).Delete(r.t.Context(), dgst))
}

// pushManifest pushes by tag, or by digest if there is none.
func (r *bridgedRegistry) pushManifest(name string, m distribution.Manifest, tag string) digest.Digest {
	repo, _ := r.repository(http.MethodPut, name+"/manifests/"+tag, name)
	manifests, err := repo.Manifests(r.t.Context())
	r.check(err)
	dgst, err := manifests.Put(r.t.Context(), m, withTag(tag)...)
	r.check(err)
	if tag != "" {
		r.check(repo.Tags(r.t.Context()).Tag(r.t.Context(), tag, v1.Descriptor{Digest: dgst}))
	}
	return dgst
}

func (r *bridgedRegistry) pullManifest(name string, dgst digest.Digest, tag string) {
	repo, _ := r.repository(http.MethodGet, name+"/manifests/"+dgst.String(), name)
	manifests, err := repo.Manifests(r.t.Context())
	r.check(err)
	_, err = manifests.Get(r.t.Context(), dgst, withTag(tag)...)
	r.check(err)
}

func withTag(tag string) []distribution.ManifestServiceOption {
	if tag == "" {
		return nil
	}
	return []distribution.ManifestServiceOption{distribution.WithTag(tag)}
}

func (r *bridgedRegistry) deleteManifest(name string, dgst digest.Digest) {
	repo, _ := r.repository(http.MethodDelete, name+"/manifests/"+dgst.String(), name)
	manifests, err := repo.Manifests(r.t.Context())
	r.check(err)
	r.check(manifests.Delete(r.t.Context(), dgst))
}

func (r *bridgedRegistry) deleteTag(name, tag string) {
	repo, _ := r.repository(http.MethodDelete, name+"/manifests/"+tag, name)
	r.check(repo.Tags(r.t.Context()).Untag(r.t.Context(), tag))
}
