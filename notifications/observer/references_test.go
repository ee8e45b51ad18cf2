package observer_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/observer"
)

// referring is an image manifest that has n layers.
func referring(n int) string {
	layer := fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":22}`, blob)
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"layers":[%s]}`, ociManifest, strings.TrimSuffix(strings.Repeat(layer+",", n), ","))
}

// What a manifest costs is bounded by its bytes, whatever stands in them.
func TestManifestOfManyReferencesTakesNoMemory(t *testing.T) {
	empty := strings.TrimSuffix(strings.Repeat("{},", 1_000_000), ",")
	for name, body := range map[string]string{
		"in one member":         `{"blobs":[` + empty + `]}`,
		"in members":            `{"layers":[` + empty + `],"manifests":[{}]}`,
		"in a repeated member":  `{` + strings.TrimSuffix(strings.Repeat(`"layers":[{},{},{},{},{},{},{},{}],`, 100_000), ",") + `}`,
		"in members of another": `{"x":[` + empty + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", ociManifest)
				_, _ = io.WriteString(w, body)
			}), &observer.Options{IncludeReferences: true})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w.Observer.ServeHTTP(&nowhere{http.Header{}}, httptest.NewRequest("GET", "/v2/a/manifests/v1", nil))
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 48<<20 {
				t.Errorf("%d MiB allocated for %d of a manifest", n>>20, len(body)>>20)
			}
			want := fmt.Sprintf("pull GET a:v1@%s manifest.v1+json %d", digest.FromString(body), len(body))
			if diff := cmp.Diff([]string{want}, briefs(t, w.settled(t))); diff != "" {
				t.Errorf("events, -want +got:\n%s", diff)
			}
		})
	}
}

func TestMostReferences(t *testing.T) {
	for _, tc := range []struct {
		n      int
		unread float64
	}{{4096, 0}, {4097, 1}} {
		for _, include := range []bool{true, false} {
			t.Run(fmt.Sprint(tc.n, include), func(t *testing.T) {
				w := watch(t, status(http.StatusCreated), &observer.Options{IncludeReferences: include})
				for range 2 {
					w.do(t, "PUT", "/v2/a/manifests/v1", referring(tc.n), "Content-Type", ociManifest)
				}
				want := 0
				if include && tc.unread == 0 {
					want = tc.n
				}
				for _, e := range w.settled(t) {
					d, err := e.Details()
					if err != nil || len(d.Target.References) != want {
						t.Errorf("%d references, want %d (%v)", len(d.Target.References), want, err)
					}
				}
				if n := metric(t, w.metrics, "regcast_observer_unread_manifests_total"); (n > 0) != (tc.unread > 0) {
					t.Errorf("%v unread", n)
				}
			})
		}
	}
}
