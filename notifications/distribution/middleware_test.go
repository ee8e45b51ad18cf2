package distribution_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cncf "github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/configuration"
	repositorymiddleware "github.com/distribution/distribution/v3/registry/middleware/repository"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/distribution"
	"github.com/regcast/regcast/notifications/notificationstest"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// clientTraffic is what go-containerregistry does.
func clientTraffic(t *testing.T, r *registry) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	image := must(random.Image(1000, 2))(t)
	dgst := must(image.Digest())(t).String()
	check(remote.Write(r.tag(t, "team/app:v1"), image, options()...))
	check(remote.Write(r.digest(t, "team/app@"+dgst), image, options()...))
	check(remote.Tag(r.tag(t, "team/app:v2"), image, options()...))
	_ = must(remote.Get(r.tag(t, "team/app:v1"), options()...))(t)
	_ = must(remote.Get(r.digest(t, "team/app@"+dgst), options()...))(t)
	_ = must(remote.Head(r.tag(t, "team/app:v1"), options()...))(t)
	stored := must(remote.Image(r.tag(t, "team/app:v1"), options()...))(t)
	content := must(must(stored.Layers())(t)[0].Compressed())(t)
	_ = must(io.Copy(io.Discard, content))(t)
	check(content.Close())
	check(remote.Write(r.tag(t, "copy/app:v1"), stored, options()...)) // mounts
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image})
	check(remote.WriteIndex(r.tag(t, "team/app:index"), index, options()...))
	_ = must(remote.List(r.tag(t, "team/app:v1").Context(), options()...))(t)
}

// manifestOf returns an image manifest without layers.
func manifestOf(config, content string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
		v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, config, len(content))
}

// rawTraffic is what clients do seldom, do wrong, or cannot do where the registry says it
// is elsewhere.
func rawTraffic(t *testing.T, r *registry) {
	t.Helper()
	const nothing = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	blob := "/v2/raw/app/blobs/" + r.push(t, "raw/app", "hello world")
	r.do(t, http.StatusOK, "GET", blob, "")
	r.do(t, http.StatusOK, "HEAD", blob, "")
	r.do(t, http.StatusPartialContent, "GET", blob, "", "Range", "bytes=1-9")
	r.do(t, http.StatusRequestedRangeNotSatisfiable, "GET", blob, "", "Range", "bytes=99999-")
	r.do(t, http.StatusNotModified, "GET", blob, "", "If-None-Match", `"`+strings.TrimPrefix(blob, "/v2/raw/app/blobs/")+`"`)
	r.do(t, http.StatusNotFound, "GET", "/v2/raw/app/blobs/"+nothing, "")

	upload := r.do(t, http.StatusAccepted, "POST", "/v2/raw/app/blobs/uploads/", "").Get("Location")
	upload = r.do(t, http.StatusAccepted, "PATCH", upload, "hello ").Get("Location")
	upload = r.do(t, http.StatusNoContent, "GET", upload, "").Get("Location")
	r.do(t, http.StatusBadRequest, "PUT", upload+"&digest="+nothing, "world")
	upload = r.do(t, http.StatusAccepted, "POST", "/v2/raw/app/blobs/uploads/", "").Get("Location")
	r.do(t, http.StatusNoContent, "DELETE", upload, "")
	r.do(t, http.StatusCreated, "POST", "/v2/raw/mounted/blobs/uploads/?from=raw/app&mount="+strings.TrimPrefix(blob, "/v2/raw/app/blobs/"), "")
	r.do(t, http.StatusAccepted, "POST", "/v2/raw/mounted/blobs/uploads/?from=raw/app&mount="+nothing, "")

	manifest := manifestOf(r.push(t, "raw/app", "{}"), "{}")
	dgst := digest.FromString(manifest).String()
	oci := []string{"Content-Type", v1.MediaTypeImageManifest, "Accept", v1.MediaTypeImageManifest}
	for _, ref := range []string{"v1", "v2", "v3", dgst} {
		r.do(t, http.StatusCreated, "PUT", "/v2/raw/app/manifests/"+ref, manifest, oci...)
		r.do(t, http.StatusOK, "GET", "/v2/raw/app/manifests/"+ref, "", oci...)
		r.do(t, http.StatusOK, "HEAD", "/v2/raw/app/manifests/"+ref, "", oci...)
	}
	r.do(t, http.StatusBadRequest, "PUT", "/v2/raw/app/manifests/v4", "{", oci...)
	r.do(t, http.StatusBadRequest, "PUT", "/v2/raw/app/manifests/v4", manifestOf(nothing, ""), oci...)
	r.do(t, http.StatusNotModified, "GET", "/v2/raw/app/manifests/v1", "", "If-None-Match", dgst)
	r.do(t, http.StatusNotFound, "GET", "/v2/raw/app/manifests/v1", "", "Accept", "text/plain")
	r.do(t, http.StatusNotFound, "GET", "/v2/raw/app/manifests/absent", "")
	r.do(t, http.StatusOK, "GET", "/v2/raw/app/tags/list?n=1", "")

	r.do(t, http.StatusAccepted, "DELETE", "/v2/raw/app/manifests/v3", "")
	r.do(t, http.StatusNotFound, "DELETE", "/v2/raw/app/manifests/v3", "")
	r.do(t, http.StatusAccepted, "DELETE", "/v2/raw/app/manifests/"+dgst, "") // v1 and v2 with it
	r.do(t, http.StatusAccepted, "DELETE", blob, "")
	r.do(t, http.StatusNotFound, "DELETE", blob, "")
}

// TestSameAsDistribution compares what the middleware tells with what distribution's own
// notifications do, of the same requests.
func TestSameAsDistribution(t *testing.T) {
	hash := must(bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost))(t)
	users := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(users, append([]byte("alice:"), hash...), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		yaml   string
		client bool // finds the registry where it says it is
	}{
		"plain":             {"http: {addr: ':5000', secret: x}", true},
		"htpasswd":          {"http: {addr: ':5000', secret: x}\nauth: {htpasswd: {realm: r, path: " + users + "}}", true},
		"relative URLs":     {"http: {addr: nowhere, secret: x, relativeurls: true}", true},
		"prefix":            {"http: {secret: x, prefix: /below/}", false},
		"relative, prefix":  {"http: {secret: x, prefix: /below/, relativeurls: true}", false},
		"host":              {"http: {secret: x, host: 'https://registry.example/below/'}", false},
		"host with no path": {"http: {secret: x, host: 'https://registry.example'}", false},
		"host cut":          {"http: {secret: x, host: 'https://registry.example/cut', relativeurls: true}", false},
		"no host":           {"http: {secret: x, host: 'registry.example'}", true},
	} {
		t.Run(name, func(t *testing.T) {
			var rec notificationstest.Recorder
			r := startRegistry(t, &rec, setup{yaml: tc.yaml})
			rawTraffic(t, r)
			if tc.client {
				clientTraffic(t, r)
			}
			own, ours := r.settle(t, &rec)
			same(t, own, ours)
		})
	}
}

// TestWhatDistributionCannotSay checks what is ours alone.
func TestWhatDistributionCannotSay(t *testing.T) {
	var rec notificationstest.Recorder
	r := startRegistry(t, &rec, setup{})
	rawTraffic(t, r)
	_, ours := r.settle(t, &rec)
	for _, e := range ours {
		if e.Provenance.Format != distribution.Format || e.Origin != notifications.OriginSeen {
			t.Errorf("%+v has format %q and origin %q", e, e.Provenance.Format, e.Origin)
		}
	}
	deletes := slices.DeleteFunc(shorts(ours), func(s string) bool { return !strings.HasPrefix(s, "delete") })
	slices.Sort(deletes)
	want := []string{
		"delete blob raw/app by DELETE",
		"delete manifest raw/app by DELETE",
		"delete tag|image raw/app:v1 by DELETE",
		"delete tag|image raw/app:v2 by DELETE",
		"delete tag|image raw/app:v3 by DELETE",
	}
	if diff := cmp.Diff(want, deletes); diff != "" {
		t.Error(diff)
	}
}

func TestPullThroughCache(t *testing.T) {
	upstream := startRegistry(t, &notificationstest.Recorder{}, setup{})
	config := upstream.push(t, "team/app", "{}")
	layer := upstream.push(t, "team/app", "hello world")
	manifest := manifestOf(config, "{}")
	dgst := digest.FromString(manifest).String()
	oci := []string{"Content-Type", v1.MediaTypeImageManifest, "Accept", v1.MediaTypeImageManifest}
	upstream.do(t, http.StatusCreated, "PUT", "/v2/team/app/manifests/v1", manifest, oci...)

	var rec notificationstest.Recorder
	r := startRegistry(t, &rec, setup{yaml: "proxy: {remoteurl: '" + upstream.URL + "'}", end: "/v2/team/app/blobs/" + config})
	for range 2 { // from upstream, and from the cache
		r.do(t, http.StatusOK, "GET", "/v2/team/app/manifests/v1", "", oci...)
		r.do(t, http.StatusOK, "HEAD", "/v2/team/app/manifests/v1", "", oci...)
		r.do(t, http.StatusOK, "GET", "/v2/team/app/manifests/"+dgst, "", oci...)
		r.do(t, http.StatusOK, "GET", "/v2/team/app/blobs/"+layer, "")
		r.do(t, http.StatusOK, "HEAD", "/v2/team/app/blobs/"+layer, "")
		r.do(t, http.StatusOK, "GET", "/v2/team/app/tags/list", "")
	}
	r.do(t, http.StatusMethodNotAllowed, "DELETE", "/v2/team/app/manifests/v1", "")
	own, ours := r.settle(t, &rec)
	same(t, own, ours)
	want := []string{
		"pull manifest|image team/app:v1 by GET",
		"pull manifest|image team/app:v1 by HEAD",
		"pull manifest team/app by GET",
		"pull blob team/app by GET",
		"pull blob team/app by HEAD",
	}
	if diff := cmp.Diff(append(want, want...), shorts(ours)); diff != "" {
		t.Error(diff)
	}
}

func TestClientOfAProxy(t *testing.T) {
	forwarded := []string{"X-Forwarded-For", "192.0.2.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "registry.example"}
	for name, trusted := range map[string]bool{"trusted": true, "not trusted": false} {
		t.Run(name, func(t *testing.T) {
			var rec notificationstest.Recorder
			r := startRegistry(t, &rec, setup{change: func(o *distribution.Options) {
				if trusted {
					o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
			}})
			r.push(t, "team/app", "hello", forwarded...)
			own, ours := r.settle(t, &rec)
			if trusted {
				same(t, own, ours)
			}
			d := must(ours[0].Details())(t)
			if believed := d.Request.Addr == "192.0.2.9" && strings.HasPrefix(d.Target.URL, "https://registry.example/v2/"); believed != trusted {
				t.Errorf("client %s, URL %s", d.Request.Addr, d.Target.URL)
			}
		})
	}
}

// TestTaggedPushComesAfterItsTag looks at the registry while the sink is written to.
func TestTaggedPushComesAfterItsTag(t *testing.T) {
	var r *registry
	seen := make(chan string, 1)
	r = startRegistry(t, sinkFunc(func(_ context.Context, batch []*notifications.Event) error {
		for _, e := range batch {
			if e.Tag != "" && e.Action == notifications.ActionPush {
				seen <- r.do(t, http.StatusOK, "HEAD", "/v2/raw/app/manifests/"+e.Tag, "", "Accept", v1.MediaTypeImageManifest, "If-None-Match", "x").Get("Docker-Content-Digest")
			}
		}
		return nil
	}), setup{})
	manifest := manifestOf(r.push(t, "raw/app", "{}"), "{}")
	r.do(t, http.StatusCreated, "PUT", "/v2/raw/app/manifests/v1", manifest, "Content-Type", v1.MediaTypeImageManifest)
	if got, want := <-seen, digest.FromString(manifest).String(); got != want {
		t.Errorf("when the push was reported, the tag was of %q, want %q", got, want)
	}
}

// TestSubjectOfAPush pushes a manifest that belongs to another, which distribution stores and
// does not look at.
func TestSubjectOfAPush(t *testing.T) {
	var rec notificationstest.Recorder
	r := startRegistry(t, &rec, setup{})
	subject := digest.FromString("signed")
	manifest := fmt.Sprintf(`{"subject":{"mediaType":%q,"digest":%q,"size":1},%s`,
		v1.MediaTypeImageManifest, subject, manifestOf(r.push(t, "raw/app", "{}"), "{}")[1:])
	for _, ref := range []string{"v1", digest.FromString(manifest).String()} {
		r.do(t, http.StatusCreated, "PUT", "/v2/raw/app/manifests/"+ref, manifest, "Content-Type", v1.MediaTypeImageManifest)
	}
	r.do(t, http.StatusOK, "GET", "/v2/raw/app/manifests/v1", "", "Accept", v1.MediaTypeImageManifest)
	_, events := r.settle(t, &rec)
	var got []digest.Digest
	for _, e := range events {
		if d := must(e.Details())(t); e.Kind().Has(notifications.KindManifest) {
			got = append(got, d.Remark.Subject)
		}
	}
	if diff := cmp.Diff([]digest.Digest{subject, subject, ""}, got); diff != "" {
		t.Errorf("subjects of two pushes and a pull, -want +got:\n%s", diff)
	}
}

type sinkFunc func(ctx context.Context, batch []*notifications.Event) error

func (f sinkFunc) Write(ctx context.Context, batch []*notifications.Event) error {
	return f(ctx, batch)
}

// TestPushWithoutItsTagIsNone has a storage that cannot tag.
func TestPushWithoutItsTagIsNone(t *testing.T) {
	within := uniqueName(t)
	err := repositorymiddleware.Register(within, func(_ context.Context, inner cncf.Repository, _ map[string]any) (cncf.Repository, error) {
		return untaggable{inner}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var rec notificationstest.Recorder
	r := startRegistry(t, &rec, setup{within: within})
	manifest := manifestOf(r.push(t, "raw/app", "{}"), "{}")
	r.do(t, http.StatusInternalServerError, "PUT", "/v2/raw/app/manifests/v1", manifest, "Content-Type", v1.MediaTypeImageManifest)
	r.do(t, http.StatusCreated, "PUT", "/v2/raw/app/manifests/"+digest.FromString(manifest).String(), manifest, "Content-Type", v1.MediaTypeImageManifest)
	r.push(t, "the/end", "")
	if diff := cmp.Diff([]string{"push blob raw/app by PUT", "push manifest raw/app by PUT", "push blob the/end by PUT"}, shorts(rec.Events())); diff != "" {
		t.Error(diff)
	}
}

type untaggable struct{ cncf.Repository }

func (u untaggable) Tags(ctx context.Context) cncf.TagService {
	return untaggableTags{u.Repository.Tags(ctx)}
}

type untaggableTags struct{ cncf.TagService }

func (untaggableTags) Tag(context.Context, string, v1.Descriptor) error {
	return errors.New("no room for a tag")
}

// TestNoSinkFailsOrHoldsUpARequest has sinks that do neither well.
func TestNoSinkFailsOrHoldsUpARequest(t *testing.T) {
	closed := &notificationstest.Recorder{}
	closed.Close()
	for name, dst := range map[string]notifications.Sink{
		"fails":   notificationstest.NewFaulty(nil, notificationstest.EveryNth(1, errors.New("down"))),
		"refuses": notificationstest.NewFaulty(nil, notificationstest.EveryNth(1, notifications.Permanent(errors.New("never")))),
		"hangs":   notificationstest.NewGate(nil),
		"full":    notificationstest.NewGate(nil),
		"closed":  closed,
	} {
		t.Run(name, func(t *testing.T) {
			metrics := prometheus.NewRegistry()
			r := startRegistry(t, dst, setup{change: func(o *distribution.Options) {
				o.Wait, o.Registerer = time.Millisecond, metrics
				if name == "full" {
					o.Waiting = 3
				}
			}})
			rawTraffic(t, r)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := r.events.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			rawTraffic(t, r) // has no sink any more
			own := r.own.until(t, r.endOfOwn(t))
			if got := unrecorded(t, metrics); got != len(own) {
				t.Errorf("%d events are counted as unrecorded, distribution told of %d", got, len(own))
			}
		})
	}
}

// endOfOwn makes an event and returns its user agent.
func (r *registry) endOfOwn(t *testing.T) string {
	t.Helper()
	r.push(t, "the/end", "", "User-Agent", "the end/2")
	return "the end/2"
}

// unrecorded reads the counter, but for that of endOfOwn.
func unrecorded(t *testing.T, metrics prometheus.Gatherer) (sum int) {
	t.Helper()
	for _, family := range must(metrics.Gather())(t) {
		if family.GetName() == "regcast_observer_unrecorded_events_total" {
			for _, m := range family.GetMetric() {
				sum += int(m.GetCounter().GetValue())
			}
		}
	}
	return sum - 1
}

func TestRegisterOnce(t *testing.T) {
	name := uniqueName(t)
	m := must(distribution.Register(name, &notificationstest.Recorder{}, nil))(t)
	if _, err := distribution.Register(name, &notificationstest.Recorder{}, nil); err == nil {
		t.Error("a second middleware has the same name")
	}
	for range 2 {
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestOptionsOfABadHost(t *testing.T) {
	for _, host := range []string{"https://a:b@registry.example", "ftp://registry.example", "https://%zz"} {
		config := &configuration.Configuration{}
		config.HTTP.Host = host
		if _, err := distribution.OptionsOf(config); err == nil {
			t.Errorf("%s is no error", host)
		}
	}
}
