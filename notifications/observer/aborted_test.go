package observer_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
)

// A pull of which not all was sent says so, and nothing else does.
func TestAbortedPulls(t *testing.T) {
	path := "/v2/a/blobs/" + blob.String()
	for _, tc := range []struct {
		name, method string
		status       int
		header       []string
		body         string
		panics       bool
		want         string
	}{
		{"all of it", "GET", 200, []string{"Content-Length", "22"}, blobContent, false, "pull GET a@blob 22"},
		{"all of it, and the handler broke off then", "GET", 200, []string{"Content-Length", "22"}, blobContent, true, "pull GET a@blob 22"},
		{"less than was announced", "GET", 200, []string{"Content-Length", "22"}, blobContent[:7], false, "pull GET a@blob 22 aborted after 7"},
		{"nothing of it", "GET", 200, []string{"Content-Length", "22"}, "", true, "pull GET a@blob 22 aborted after 0"},
		{"of no announced length, and the handler broke off", "GET", 200, nil, blobContent[:7], true, "pull GET a@blob ? aborted after 7"},
		{"less than was announced of a part", "GET", 206, []string{"Content-Range", "bytes 2-11/22", "Content-Length", "10"}, blobContent[:7], false, "pull GET a@blob 22 aborted after 7"},
		{"all of a part", "GET", 206, []string{"Content-Range", "bytes 2-11/22", "Content-Length", "10"}, blobContent[:10], true, "pull GET a@blob 22"},
		{"of what is encoded", "GET", 200, []string{"Content-Encoding", "gzip", "Content-Length", "10"}, blobContent[:7], false, "pull GET a@blob ? aborted after 7"},
		{"HEAD", "HEAD", 200, []string{"Content-Length", "22"}, "", false, "pull HEAD a@blob 22"},
		{"HEAD, and a body", "HEAD", 200, []string{"Content-Length", "22"}, blobContent, false, "pull HEAD a@blob 22"},
		{"not modified, of a length", "GET", 304, []string{"Content-Length", "22"}, "", false, "pull GET a@blob ?"},
		{"redirected, with half a page", "GET", 307, []string{"Content-Length", "22", "Location", "/x"}, "<a", true, "pull GET a@blob ? redirected"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var rec notificationstest.Recorder
			o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for i := 0; i < len(tc.header); i += 2 {
					w.Header().Set(tc.header[i], tc.header[i+1])
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body) // of HEAD, the server takes none
				if tc.panics {
					panic(http.ErrAbortHandler)
				}
			}), &rec, notifications.SourceRecord{}, nil)
			server := httptest.NewServer(o)
			client := &http.Client{
				Transport:     &http.Transport{DisableKeepAlives: true},
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
			r, err := http.NewRequestWithContext(t.Context(), tc.method, server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := client.Do(r); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			server.Close()
			if err := o.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if got := strings.Join(briefs(t, rec.Events()), "; "); got != tc.want {
				t.Errorf("events %q, want %q", got, tc.want)
			}
		})
	}
}
