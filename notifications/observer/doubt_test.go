package observer_test

import (
	"fmt"
	"io"
	"log"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/regcast/regcast/notifications/observer"
)

// A registry that takes /x/foo/manifests/latest for a manifest of foo has been changed by
// a request that an Observer cannot read.
func TestChangesOutsideTheAPIAreCounted(t *testing.T) {
	w := watch(t, ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))), nil)
	for i, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/x/foo/blobs/uploads/?digest=" + blob.String(), blobContent, 201},
		{"PUT", "/x/foo/manifests/latest", image, 201},
		{"DELETE", "/x/foo/manifests/latest", "", 202},
		{"DELETE", "/x/y/z/foo/blobs/" + blob.String(), "", 202},
		{"PUT", "/v2/FOO/manifests/latest", image, 201},
	} {
		if resp := w.do(t, tc.method, tc.path, tc.body, "Content-Type", ociManifest); resp.StatusCode != tc.status {
			t.Errorf("%s %s: status %d, want %d", tc.method, tc.path, resp.StatusCode, tc.status)
		}
		w.requests.Wait()
		if n := metric(t, w.metrics, "regcast_observer_unclassified_total"); n != float64(i+1) {
			t.Errorf("%s %s: %v unclassified, want %d", tc.method, tc.path, n, i+1)
		}
	}
	w.end()
	if events := briefs(t, w.events.Events()); events != nil {
		t.Errorf("events %q", events)
	}
}

// What looks like a change of content is counted if it succeeds, wherever it is.
func TestWhatLooksLikeAChange(t *testing.T) {
	d := blob.String()
	for _, tc := range []struct {
		name, method, path string
		status             int
		want               float64
	}{
		{"a manifest by digest", "PUT", "/x/a/manifests/" + manifest.String(), 201, 1},
		{"a manifest below another /v2/", "PUT", "/repository/docker/v2/a/manifests/v1", 201, 1},
		{"a manifest with a slash", "DELETE", "/x/a/manifests/v1/", 202, 1},
		{"a manifest behind dots", "DELETE", "/x/a/manifests/b/../v1", 202, 1},
		{"a blob", "DELETE", "/x/a/blobs/" + d, 202, 1},
		{"the start of an upload", "POST", "/x/a/blobs/uploads/", 202, 1},
		{"the start of an upload without a slash", "POST", "/x/a/blobs/uploads", 202, 1},
		{"a part of an upload", "PATCH", "/x/a/blobs/uploads/1", 202, 1},
		{"the end of an upload", "PUT", "/x/a/blobs/uploads/1?digest=" + d, 201, 1},
		{"a name in capitals", "PATCH", "/v2/A/blobs/uploads/1", 202, 1},
		{"refused", "PUT", "/x/a/manifests/v1", 404, 0},
		{"read", "GET", "/x/a/manifests/v1", 200, 0},
		{"a list of manifests", "POST", "/api/manifests", 200, 0},
		{"a file that is called blobs", "PUT", "/files/blobs/x.yaml", 200, 0},
		{"uploads of something else", "POST", "/api/uploads/1", 200, 0},
		{"Harbor's API", "POST", "/api/v2.0/projects/a/repositories/b/artifacts/" + d + "/tags", 201, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, status(tc.status), nil)
			w.do(t, tc.method, tc.path, "")
			w.end()
			if events := briefs(t, w.events.Events()); events != nil {
				t.Errorf("events %q", events)
			}
			if n := metric(t, w.metrics, "regcast_observer_unclassified_total"); n != tc.want {
				t.Errorf("%v unclassified, want %v", n, tc.want)
			}
		})
	}
}

// A path may be spelled with escapes. What a Go server has made of it is sure of a change
// that succeeded, and of a read if the answer says what was read.
func TestEscapedPaths(t *testing.T) {
	d, word := blob.String(), []string{"Docker-Content-Digest", blob.String()}
	typed := []string{"Content-Type", ociManifest, "Docker-Content-Digest", manifest.String()}
	pulled := fmt.Sprintf("a/b:v1@image manifest.v1+json %d refs=config,blob", len(image))
	escaped := strings.Replace(d, ":", "%3A", 1)
	for _, tc := range []struct {
		name         string
		exchanges    []exchange
		want         []string
		unclassified float64
	}{
		{"a pull of a manifest", []exchange{{"GET", "/v2/a%2Fb/manifests/v1", "", nil, 200, typed, image}}, []string{"pull GET " + pulled}, 0},
		{"a look at a manifest", []exchange{{"HEAD", "/v2/a/b/%6Danifests/v1", "", nil, 200, typed, ""}},
			[]string{"pull HEAD a/b:v1@image manifest.v1+json ?"}, 0},
		{"a pull of a manifest by an unknown digest", []exchange{{"GET", "/v2/a%2Fb/manifests/v1", "", nil, 200, typed[:2], image}}, nil, 1},
		{"a pull of another manifest than was asked for",
			[]exchange{{"GET", "/v2/a/b/manifests/" + escaped, "", nil, 200, typed, image}}, nil, 1},
		{"a pull of a manifest of which nothing tells the digest",
			[]exchange{{"HEAD", "/v2/a/b/manifests/v1", "", nil, 200, typed[:2], ""}, {"GET", "/v2/a/b/manifests/v1", "", nil, 206, typed[:2], image[:4]}}, nil, 2},
		{"a manifest elsewhere of which nothing tells the digest", []exchange{{"GET", "/v2/a/b/manifests/v1", "", nil, 307, []string{"Location", "/x"}, ""}}, nil, 1},
		{"a manifest that is not there", []exchange{{"GET", "/v2/a%2Fb/manifests/v1", "", nil, 404, nil, "no"}}, nil, 0},
		{"a manifest that has not changed", []exchange{{"GET", "/v2/a%2Fb/manifests/v1", "", nil, 304, nil, ""}}, nil, 0},
		{"a pull of a blob", []exchange{{"GET", "/v2/a/b/blobs/" + escaped, "", nil, 200, word, blobContent}}, []string{"pull GET a/b@blob 22"}, 0},
		{"a pull of a blob elsewhere", []exchange{{"GET", "/v2/a/b/blobs/" + escaped, "", nil, 307, append(word, "Location", "/x"), ""}}, []string{"pull GET a/b@blob ? redirected"}, 0},
		{"a blob of which the registry does not say the digest", []exchange{{"GET", "/v2/a/b/blobs/" + escaped, "", nil, 200, nil, blobContent}}, nil, 1},
		{"a blob elsewhere of which the registry does not say the digest", []exchange{{"GET", "/v2/a/b/blobs/" + escaped, "", nil, 307, []string{"Location", "/x"}, ""}}, nil, 1},
		{"a blob that is not there", []exchange{{"HEAD", "/v2/a/b/blobs/" + escaped, "", nil, 404, nil, ""}}, nil, 0},
		{"a push", []exchange{{"PUT", "/v2/a%2Fb/manifests/v1", image, typed[:2], 201, nil, ""}}, []string{"push PUT " + pulled}, 0},
		{"a delete of a tag", []exchange{{"DELETE", "/v2/a/b/manifests/%761", "", nil, 202, nil, ""}}, []string{"delete DELETE a/b:v1"}, 0},
		{"a delete of a blob", []exchange{{"DELETE", "/v2/a/b/blobs/" + escaped, "", nil, 202, nil, ""}}, []string{"delete DELETE a/b@blob kind=blob"}, 0},
		{"a delete that was refused", []exchange{{"DELETE", "/v2/a/b/manifests/%761", "", nil, 405, nil, ""}}, nil, 0},
		{"an upload", []exchange{
			{"POST", "/v2/a%2Fb/blobs/uploads/", "", nil, 202, []string{"Location", "/v2/a/b/blobs/uploads/x%3D"}, ""},
			{"PUT", "/v2/a/b/blobs/uploads/x%3D?digest=" + escaped, blobContent, nil, 201, nil, ""},
		}, []string{"push PUT a/b@blob 22"}, 0},
		{"an upload whose session is escaped twice", []exchange{
			{"POST", "/v2/a/b/blobs/uploads/", "", nil, 202, []string{"Location", "/v2/a/b/blobs/uploads/x%2541%3D"}, ""},
			{"PUT", "/v2/a/b/blobs/uploads/x%2541%3D?digest=" + d, blobContent, nil, 201, nil, ""},
		}, []string{"push PUT a/b@blob 22"}, 0},
		{"a change that is escaped twice", []exchange{{"DELETE", "/v2/a%252Fb/manifests/v1", "", nil, 202, nil, ""}}, nil, 1},
		{"a change that is escaped twice in part", []exchange{{"DELETE", "/v2/%61/b/blobs/uploads/%2541", "", nil, 202, nil, ""}}, nil, 1},
		{"a change with escaped dots", []exchange{{"DELETE", "/v2/x/%2e%2e/a/manifests/v1", "", nil, 202, nil, ""}}, nil, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, scripted(t, tc.exchanges), &observer.Options{IncludeReferences: true})
			for _, x := range tc.exchanges {
				w.do(t, x.method, x.path, x.body, x.header...)
			}
			w.end()
			if diff := cmp.Diff(tc.want, briefs(t, w.events.Events())); diff != "" {
				t.Errorf("events, -want +got:\n%s", diff)
			}
			if n := metric(t, w.metrics, "regcast_observer_unclassified_total"); n != tc.unclassified {
				t.Errorf("%v unclassified, want %v", n, tc.unclassified)
			}
		})
	}
}

// The end of an upload whose beginning was not seen, or was forgotten, comes to an address
// that says nothing. Where the blob is now, the registry can say.
func TestEndsOfUnknownUploads(t *testing.T) {
	d := blob.String()
	at := "/v2/a/b/blobs/" + d
	put := func(status int, answer ...string) []exchange {
		return []exchange{{"PUT", "/artifacts-uploads/x?state=1&digest=" + d, blobContent, nil, status, answer, ""}}
	}
	pushed := []string{"push PUT a/b@blob ?"}
	for _, tc := range []struct {
		name         string
		prefix       string
		exchanges    []exchange
		want         []string
		unclassified float64
	}{
		{"the registry says where the blob is", "", put(201, "Location", at), pushed, 0},
		{"with its address", "", put(201, "Location", "https://reg.example"+at, "Docker-Content-Digest", d), pushed, 0},
		{"below a prefix", "/x", put(201, "Location", "/x"+at), pushed, 0},
		{"at an address below /v2/", "", []exchange{{"PUT", "/v2/A?digest=" + d, blobContent, nil, 201, []string{"Location", at}, ""}}, pushed, 0},
		{"a digest twice, and the registry says which", "",
			[]exchange{{"PUT", "/up/1?digest=" + d + "&digest=" + other.String(), blobContent, nil, 201, []string{"Location", at}, ""}}, pushed, 0},
		{"of a size that is remembered", "", append([]exchange{{"HEAD", at, "", nil, 200, []string{"Content-Length", "22"}, ""}}, put(201, "Location", at)...),
			[]string{"pull HEAD a/b@blob 22", "push PUT a/b@blob 22"}, 0},
		{"the registry says the digest alone", "", put(201, "Docker-Content-Digest", d), nil, 1},
		{"the registry says nothing", "", put(204), nil, 1},
		{"an address that is none", "", put(201, "Location", "http://["), nil, 1},
		{"the address of a manifest", "", put(201, "Location", "/v2/a/b/manifests/v1"), nil, 1},
		{"the address of another blob than was asked for", "", put(201, "Location", "/v2/a/b/blobs/"+other.String()), nil, 1},
		{"two digests", "", put(201, "Location", at, "Docker-Content-Digest", other.String()), nil, 1},
		{"a digest behind a semicolon", "", []exchange{{"PUT", "/up/1?x;digest=" + d, blobContent, nil, 201, nil, ""}}, nil, 1},
		{"refused", "", put(404, "Location", at), nil, 0},
		{"nothing with a digest", "", []exchange{{"PUT", "/up/1?x=y", blobContent, nil, 201, []string{"Location", at}, ""}}, nil, 0},
		{"no PUT", "", []exchange{{"POST", "/up/1?digest=" + d, blobContent, nil, 201, []string{"Location", at}, ""}}, nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, scripted(t, tc.exchanges), &observer.Options{Prefix: tc.prefix})
			for _, x := range tc.exchanges {
				w.do(t, x.method, x.path, x.body, x.header...)
			}
			w.end()
			if diff := cmp.Diff(tc.want, briefs(t, w.events.Events())); diff != "" {
				t.Errorf("events, -want +got:\n%s", diff)
			}
			if n := metric(t, w.metrics, "regcast_observer_unclassified_total"); n != tc.unclassified {
				t.Errorf("%v unclassified, want %v", n, tc.unclassified)
			}
		})
	}
}
