package distribution_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
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
			r := startRegistry(t, &rec, tc.yaml, nil)
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
	r := startRegistry(t, &rec, "http: {secret: x}", nil)
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
