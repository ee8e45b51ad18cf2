package observer_test

import (
	"io"
	"log"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
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
