package mirror_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A server that sends everybody to a page to log in, as web applications do, is no registry
// that has everything.
func TestATargetThatIsAWebSite(t *testing.T) {
	site := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/login" {
				http.Redirect(w, req, "/login", http.StatusFound)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte("<html>who are you?</html>"))
		})
	}
	r := newRig(t, nil, &registrytest.Options{Wrap: site}, func(r *rig) { r.opts.ByDigest = true })
	desc := putImage(t, r.from, "team/app", "v1", noise(1, 1000))
	r.refused(t, push("team/app", "v1", desc.Digest), endpoints.Misdirected)
	r.refused(t, push("team/app", "", desc.Digest), endpoints.Misdirected)
}

// A target that says that it has a blob, but not how many bytes of it, has another one.
func TestATargetWithAnotherBlob(t *testing.T) {
	yes := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodHead && strings.Contains(req.URL.Path, "/blobs/") {
				w.Header().Set("Content-Length", "2")
				return
			}
			next.ServeHTTP(w, req)
		})
	}
	r := newRig(t, nil, &registrytest.Options{Wrap: yes}, nil)
	desc := putImage(t, r.from, "team/app", "v1", noise(1, 1000))
	r.refused(t, push("team/app", "v1", desc.Digest), endpoints.Rejected)
	r.metrics(t, "blobs_total skipped 0")
}
