package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/regcast/regcast/cmd/internal/proxy"
)

// The size of what is uploaded is known, too, where something before the proxy takes a path
// off requests, and the addresses in answers have it.
func TestUploadsUnderThePathOfAPublicURL(t *testing.T) {
	for _, path := range []string{"", "/registry", "/registry/"} {
		for _, upstreamPath := range []string{"", "/sub"} {
			t.Run(path+" to "+upstreamPath, func(t *testing.T) {
				upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					switch r.Method {
					case http.MethodPut:
						w.WriteHeader(http.StatusCreated)
					default:
						w.Header().Set("Location", upstreamPath+"/v2/a/blobs/uploads/1")
						w.WriteHeader(http.StatusAccepted)
					}
				}))
				defer upstream.Close()
				r := start(t, upstream.URL+upstreamPath, func(o *proxy.Options) { o.PublicURL = mustParse(t, "http://public.example"+path) })
				c, blob := client(t), []byte("a blob of 22 bytes, ok")
				resp, _ := do(t, c, "POST", r.url+"/v2/a/blobs/uploads/", nil)
				loc, err := resp.Location()
				if err != nil {
					t.Fatal(err)
				}
				next, ok := strings.CutPrefix(loc.Path, strings.TrimSuffix(path, "/"))
				if !ok || !strings.HasPrefix(next, "/v2/") {
					t.Fatalf("Location is %s", loc)
				}
				do(t, c, "PUT", r.url+next+"?digest="+url.QueryEscape(digestOf(blob)), blob)
				eventually(t, "an event", func() bool { return r.events.Len() == 1 })
				if d, err := r.events.Events()[0].Details(); err != nil || d.Target.Size != int64(len(blob)) {
					t.Errorf("size %d, want %d (%v)", d.Target.Size, len(blob), err)
				}
			})
		}
	}
}
