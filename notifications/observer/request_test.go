package observer_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/regcast/regcast/notifications/observer"
)

// Middlewares of a registry write on the request what they know better: its events have it
// as it came.
func TestHandlersThatChangeTheRequest(t *testing.T) {
	for _, tc := range []struct{ method, path, body, want string }{
		{"GET", "/v2/a/blobs/" + blob.String(), "", "pull GET a@blob 22"},
		{"HEAD", "/v2/a/manifests/" + manifest.String(), "", "pull HEAD a@image 22 kind=manifest"},
		{"PUT", "/v2/a/manifests/v1", image, fmt.Sprintf("push PUT a:v1@image manifest.v1+json %d", len(image))},
		{"PUT", "/v2/a/blobs/uploads/1?digest=" + blob.String(), blobContent, "push PUT a@blob ?"},
		{"DELETE", "/v2/a/manifests/v1", "", "delete DELETE a:v1"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			var peer string
			w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				peer, r.RemoteAddr = r.RemoteAddr, "6.6.6.6"
				r.Host, r.Method, r.URL.Path, r.URL.RawQuery = "internal", "PATCH", "/x/v2/", ""
				if tc.method == "GET" || tc.method == "HEAD" {
					w.Header().Set("Content-Length", "22")
				}
				if tc.method == "GET" {
					_, _ = io.WriteString(w, blobContent)
				}
			}), &observer.Options{})
			w.do(t, tc.method, tc.path, tc.body)
			events := w.settled(t)
			if len(events) != 1 || brief(t, events[0]) != tc.want {
				t.Fatalf("events %q, want %q", briefs(t, events), tc.want)
			}
			d, err := events[0].Details()
			if err != nil {
				t.Fatal(err)
			}
			if d.Request.Addr != peer || w.address != "http://"+d.Request.Host {
				t.Errorf("request %+v, want from %s to %s", d.Request, peer, w.address)
			}
			if url := d.Target.URL; url != "" && url[:len(w.address)+4] != w.address+"/v2/" {
				t.Errorf("url %s, want at %s", url, w.address)
			}
		})
	}
}
