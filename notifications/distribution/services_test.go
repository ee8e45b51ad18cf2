package distribution_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	cncf "github.com/distribution/distribution/v3"
	registrymiddleware "github.com/distribution/distribution/v3/registry/middleware/registry"
	repositorymiddleware "github.com/distribution/distribution/v3/registry/middleware/repository"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/distribution"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// A decorated is a namespace of distribution's storage as it is and as the middleware
// makes it.
type decorated struct {
	driver *inmemory.Driver
	plain  cncf.Namespace
	cncf.Namespace
	repository func(cncf.Repository) cncf.Repository
}

func decorate(t *testing.T, dst notifications.Sink, opts *distribution.Options) (*decorated, *distribution.Middleware) {
	t.Helper()
	middleware := uniqueName(t)
	m := must(distribution.Register(middleware, dst, opts))(t)
	t.Cleanup(func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	d := &decorated{driver: inmemory.New()}
	//lint:ignore SA1029 the key is distribution's
	ctx := context.WithValue(t.Context(), "instance.id", "i1")
	d.plain = must(storage.NewRegistry(ctx, d.driver, storage.EnableDelete))(t)
	d.Namespace = must(registrymiddleware.Get(ctx, middleware, nil, d.plain, d.driver))(t)
	d.repository = func(inner cncf.Repository) cncf.Repository {
		return must(repositorymiddleware.Get(ctx, middleware, map[string]any{"ignored": true}, inner))(t)
	}
	return d, m
}

// Repository returns a decorated one, which distribution itself does for requests alone.
func (d *decorated) Repository(ctx context.Context, name reference.Named) (cncf.Repository, error) {
	inner, err := d.plain.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	return d.repository(inner), nil
}

// Enumerate is for [storage.MarkAndSweep].
func (d *decorated) Enumerate(ctx context.Context, ingester func(string) error) error {
	return d.Namespace.(cncf.RepositoryEnumerator).Enumerate(ctx, ingester)
}

func named(t *testing.T, s string) reference.Named {
	t.Helper()
	return must(reference.WithName(s))(t)
}

// TestServicesKeepTheirMethods compares whole method sets: distribution asserts interfaces
// on its services, as when it collects garbage. On repositories and blob writers it asserts
// none, and its own notifications hide what they have more.
func TestServicesKeepTheirMethods(t *testing.T) {
	d, _ := decorate(t, &notificationstest.Recorder{}, nil)
	plain := must(d.plain.Repository(t.Context(), named(t, "team/app")))(t)
	repo := must(d.Repository(t.Context(), named(t, "team/app")))(t)
	for name, pair := range map[string][2]any{
		"namespace": {d.plain, d.Namespace},
		"manifests": {must(plain.Manifests(t.Context()))(t), must(repo.Manifests(t.Context()))(t)},
		"blobs":     {plain.Blobs(t.Context()), repo.Blobs(t.Context())},
		"tags":      {plain.Tags(t.Context()), repo.Tags(t.Context())},
	} {
		if diff := cmp.Diff(methods(pair[0]), methods(pair[1])); diff != "" {
			t.Errorf("%s: methods, -distribution +decorated:\n%s", name, diff)
		}
	}
}

// methods are the exported methods of v with their types.
func methods(v any) map[string]string {
	set := make(map[string]string)
	for m, f := range reflect.ValueOf(v).Methods() {
		set[m.Name] = f.Type().String()
	}
	return set
}

// TestServicesGainNoMethods decorates services that can do the least.
func TestServicesGainNoMethods(t *testing.T) {
	d, _ := decorate(t, &notificationstest.Recorder{}, nil)
	least := leastRepository{must(d.plain.Repository(t.Context(), named(t, "team/app")))(t)}
	repo := d.repository(least)
	if _, ok := must(repo.Manifests(t.Context()))(t).(cncf.ManifestEnumerator); ok {
		t.Error("manifests enumerate")
	}
	if _, ok := repo.Blobs(t.Context()).(cncf.BlobEnumerator); ok {
		t.Error("blobs enumerate")
	}
	if _, ok := repo.Tags(t.Context()).(cncf.TagManifestsProvider); ok {
		t.Error("tags have a history")
	}
}

type leastRepository struct{ cncf.Repository }

func (r leastRepository) Manifests(ctx context.Context, options ...cncf.ManifestServiceOption) (cncf.ManifestService, error) {
	m, err := r.Repository.Manifests(ctx, options...)
	return struct{ cncf.ManifestService }{m}, err
}

func (r leastRepository) Blobs(ctx context.Context) cncf.BlobStore {
	return struct{ cncf.BlobStore }{r.Repository.Blobs(ctx)}
}

func (r leastRepository) Tags(ctx context.Context) cncf.TagService {
	return struct{ cncf.TagService }{r.Repository.Tags(ctx)}
}

// TestGoCalls uses the services without a request, as a program that embeds them may.
func TestGoCalls(t *testing.T) {
	var rec notificationstest.Recorder
	d, m := decorate(t, &rec, &distribution.Options{BaseURL: must(notifications.ParseBaseURL("https://registry.example"))(t)})
	ctx := t.Context()
	repo := must(d.Repository(ctx, named(t, "team/app")))(t)
	blobs := repo.Blobs(ctx)
	desc := must(blobs.Put(ctx, "application/octet-stream", []byte("hello")))(t)
	_ = must(blobs.Get(ctx, desc.Digest))(t)
	_ = must(blobs.Open(ctx, desc.Digest))(t).Close() // its error says that it is closed
	if err := storage.MarkAndSweep(ctx, d.driver, d, storage.GCOpts{Quiet: true}); err != nil {
		t.Errorf("collecting garbage: %v", err)
	}
	remover := d.Namespace.(cncf.RepositoryRemover)
	if err := remover.Remove(ctx, named(t, "team/app")); err != nil {
		t.Error(err)
	}
	if err := remover.Remove(ctx, named(t, "team/absent")); err == nil {
		t.Error("what is not there was removed")
	}
	_ = must(must(d.Repository(ctx, named(t, "team/other")))(t).Blobs(ctx).Put(ctx, "application/octet-stream", []byte("hello")))(t)
	if err := m.WrapRemover(d.plain.(cncf.RepositoryRemover)).Remove(ctx, named(t, "team/other")); err != nil {
		t.Error(err)
	}
	if err := m.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	want := []string{
		"push blob team/app by ", "pull blob team/app by ", "pull blob team/app by ", "delete repository team/app by ",
		"push blob team/other by ", "delete repository team/other by ",
	}
	if diff := cmp.Diff(want, shorts(rec.Events())); diff != "" {
		t.Error(diff)
	}
	for _, e := range rec.Events() {
		d := must(e.Details())(t)
		if d.Source.InstanceID != "i1" || e.Action != "delete" && d.Target.URL != "https://registry.example/v2/"+e.Repository+"/blobs/"+string(desc.Digest) {
			t.Errorf("%+v", d)
		}
	}
}

// TestPutsByTagWithoutTagging is what no handler does; nothing of it gets lost.
func TestPutsByTagWithoutTagging(t *testing.T) {
	var rec notificationstest.Recorder
	d, m := decorate(t, &rec, nil)
	ctx := t.Context()
	repo := must(d.Repository(ctx, named(t, "team/app")))(t)
	config := must(repo.Blobs(ctx).Put(ctx, "application/octet-stream", []byte("{}")))(t)
	service := must(repo.Manifests(ctx))(t)
	manifest, desc, err := cncf.UnmarshalManifest("application/vnd.oci.image.manifest.v1+json", []byte(manifestOf(string(config.Digest), "{}")))
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"v1", "v2"} {
		_ = must(service.Put(ctx, manifest, cncf.WithTag(tag)))(t)
	}
	if err := repo.Tags(ctx).Tag(ctx, "other", desc); err != nil {
		t.Error(err)
	}
	for range 2 { // the second is no push
		if err := repo.Tags(ctx).Tag(ctx, "v2", desc); err != nil {
			t.Error(err)
		}
	}
	if err := m.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	want := []string{"push blob team/app by ", "push manifest|image team/app:v1 by ", "push manifest|image team/app:v2 by "}
	if diff := cmp.Diff(want, shorts(rec.Events())); diff != "" {
		t.Error(diff)
	}
}

// A lazyBlobs serves any blob and counts who asks about it.
type lazyBlobs struct {
	cncf.BlobStore
	stats int
}

func (b *lazyBlobs) Get(context.Context, digest.Digest) ([]byte, error) { return nil, nil }

func (b *lazyBlobs) Stat(context.Context, digest.Digest) (cncf.Descriptor, error) {
	b.stats++
	return cncf.Descriptor{}, errors.New("gone")
}

type lazyRepository struct {
	cncf.Repository
	blobs *lazyBlobs
}

func (r lazyRepository) Blobs(context.Context) cncf.BlobStore { return r.blobs }

// A deaf sink wants nothing.
type deaf struct{ notifications.Sink }

func (deaf) Wants(*notifications.Event) bool { return false }

// TestAnUnwantedPullCostsNothing counts allocations, of which package reference makes one
// for a name, and questions to the storage.
func TestAnUnwantedPullCostsNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		dst   notifications.Sink
		stats bool
	}{
		"unwanted": {deaf{&notificationstest.Recorder{}}, false},
		"wanted":   {&notificationstest.Recorder{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := decorate(t, tc.dst, nil)
			inner := lazyRepository{must(d.plain.Repository(t.Context(), named(t, "team/app")))(t), &lazyBlobs{}}
			ctx := t.Context()
			blobs := d.repository(inner).Blobs(ctx)
			dgst := digest.FromString("hello")
			allocs := testing.AllocsPerRun(100, func() { _, _ = blobs.Get(ctx, dgst) })
			if tc.stats != (allocs > 1) || tc.stats != (inner.blobs.stats > 0) {
				t.Errorf("%v allocations, asked %d times", allocs, inner.blobs.stats)
			}
		})
	}
}

// An askedBlobs serves any blob, and knows the size of each while somebody waits for it.
type askedBlobs struct {
	cncf.BlobStore
	mediaType string
	asked     int
}

func (b *askedBlobs) Get(context.Context, digest.Digest) ([]byte, error) { return nil, nil }

func (b *askedBlobs) Stat(ctx context.Context, dgst digest.Digest) (cncf.Descriptor, error) {
	b.asked++
	return cncf.Descriptor{MediaType: b.mediaType, Digest: dgst, Size: int64(b.asked)}, ctx.Err()
}

type askedRepository struct {
	cncf.Repository
	blobs *askedBlobs
}

func (r askedRepository) Blobs(context.Context) cncf.BlobStore { return r.blobs }

// TestWhatIsKnownOfAPulledBlob asks for blobs before they are pulled, as the handler does,
// or for others, and pulls for a client that has gone.
func TestWhatIsKnownOfAPulledBlob(t *testing.T) {
	asked, other := digest.FromString("asked"), digest.FromString("other")
	for name, tc := range map[string]struct {
		mediaType string
		pulled    digest.Digest
		size      int64 // says which answer it is of
	}{
		"asked for before":         {"application/octet-stream", asked, 1},
		"another asked for":        {"application/octet-stream", other, 2},
		"as an upstream called it": {"application/vnd.oci.image.layer.v1.tar", asked, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var rec notificationstest.Recorder
			r, m := decorate(t, &rec, nil)
			inner := askedRepository{must(r.plain.Repository(t.Context(), named(t, "team/app")))(t), &askedBlobs{mediaType: tc.mediaType}}
			ctx, cancel := context.WithCancel(t.Context())
			blobs := r.repository(inner).Blobs(ctx)
			_ = must(blobs.Stat(ctx, asked))(t)
			cancel()
			_ = must(blobs.Get(ctx, tc.pulled))(t)
			if err := m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			d, err := rec.Events()[0].Details()
			if err != nil || d.Remark != (notifications.Remark{}) {
				t.Errorf("remark %+v, %v", d.Remark, err)
			}
			target := d.Target
			if target.Digest != tc.pulled || target.Size != tc.size || target.MediaType != tc.mediaType {
				t.Errorf("%+v", target.Descriptor)
			}
		})
	}
}

// TestPullOfABlobThatIsGone reports it, of a size that nobody knows any more.
func TestPullOfABlobThatIsGone(t *testing.T) {
	var rec notificationstest.Recorder
	r, m := decorate(t, &rec, nil)
	inner := lazyRepository{must(r.plain.Repository(t.Context(), named(t, "team/app")))(t), &lazyBlobs{}}
	dgst := digest.FromString("hello")
	_ = must(r.repository(inner).Blobs(t.Context()).Get(t.Context(), dgst))(t)
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	d := must(rec.Events()[0].Details())(t)
	if d.Target.Digest != dgst || d.Target.Size != 0 || d.Remark != (notifications.Remark{SizeUnknown: true}) {
		t.Errorf("%+v, remark %+v", d.Target.Descriptor, d.Remark)
	}
}
