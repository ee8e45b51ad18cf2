package observer_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/observer"
)

// TestHostileRequests sends what servers read differently. It must reach the registry as
// it is, and make an event only if that is right however the registry has read it.
func TestHostileRequests(t *testing.T) {
	d := blob.String()
	word := "Docker-Content-Digest: " + d
	push := fmt.Sprintf("push PUT a/b:v1@image manifest.v1+json %d refs=config,blob", len(image))
	for _, tc := range []struct {
		name, request, answer string
		want                  string
		unclassified          bool
	}{
		{"escaped slash in the name", "GET /v2/a%2Fb/blobs/" + d, "200", "", true},
		{"escaped letter in the name", "PUT /v2/%61/b/manifests/v1 " + image, "201", push, false},
		{"escaped dots", "PUT /v2/x/%2e%2e/a/manifests/v1", "201", "", true},
		{"escaped colon in the digest", "DELETE /v2/a/manifests/" + strings.Replace(d, ":", "%3A", 1), "202", "delete DELETE a@blob kind=manifest", false},
		{"two slashes", "DELETE /v2//a/manifests/v1", "202", "", true},
		{"two slashes first", "DELETE //v2/a/manifests/v1", "202", "", true},
		{"dots", "DELETE /v2/x/../a/manifests/v1", "202", "", true},
		{"dots that hide a prefix", "DELETE /x/../v2/a/manifests/v1", "202", "", true},
		{"a change that was refused", "DELETE /v2/x/../a/manifests/v1", "400", "", false},
		{"semicolon in the path", "DELETE /v2/a/manifests/v1;x", "202", "", true},
		{"NUL", "DELETE /v2/a/manifests/v1%00", "202", "", true},
		{"capitals", "DELETE /v2/A/manifests/v1", "202", "", true},
		{"an absolute target", "GET http://evil.example/v2/a/blobs/" + d, "200", "pull GET a@blob 2", false},
		{"another API", "DELETE /api/x", "200", "", false},
		{"a method of nobody", "PURGE /v2/a/manifests/v1", "200", "", false},
		{"a method in small letters", "put /v2/a/manifests/v1", "200", "", false},

		{"a digest twice", "PUT /v2/a/blobs/uploads/1?digest=" + d + "&digest=" + other.String(), "201", "", true},
		{"a digest twice, and the registry names one", "PUT /v2/a/blobs/uploads/1?digest=" + other.String() + "&digest=" + d, "201 " + word, "push PUT a@blob ?", false},
		{"a digest twice, escaped", "PUT /v2/a/blobs/uploads/1?digest=" + d + "&dig%65st=" + other.String(), "201", "", true},
		{"a digest and a semicolon", "PUT /v2/a/blobs/uploads/1?digest=" + d + ";digest=" + other.String(), "201", "", true},
		{"a digest and another behind a semicolon", "PUT /v2/a/blobs/uploads/1?digest=" + d + "&x;digest=" + other.String(), "201", "", true},
		{"a digest and a semicolon, and the registry names one", "PUT /v2/a/blobs/uploads/1?digest=" + other.String() + ";x", "201 " + word, "push PUT a@blob ?", false},
		{"a mount and a semicolon", "POST /v2/a/blobs/uploads/?mount=" + d + ";from=c", "201 " + word, "", true},
		{"a digest behind a semicolon", "PUT /v2/a/blobs/uploads/1?x;digest=" + d, "201", "", true},
		{"a digest that is none", "PUT /v2/a/blobs/uploads/1?digest=sha256:short", "201", "", true},
		{"a digest badly escaped", "PUT /v2/a/blobs/uploads/1?digest=%zz", "201", "", true},
		{"a mount twice", "POST /v2/a/blobs/uploads/?mount=" + d + "&mount=" + other.String() + "&from=c", "201", "", true},
		{"a mount twice, and the registry names one", "POST /v2/a/blobs/uploads/?mount=" + d + "&mount=" + other.String() + "&from=c", "201 " + word, "mount POST a@blob ? from=c", false},
		{"a mount from two", "POST /v2/a/blobs/uploads/?mount=" + d + "&from=c&from=d", "201", "mount POST a@blob ?", false},
		{"a mount from what is no name", "POST /v2/a/blobs/uploads/?mount=" + d + "&from=../c", "201", "mount POST a@blob ?", false},

		{"two digests in the answer", "PUT /v2/a/b/manifests/v1 " + image, "201 " + word + "\nDocker-Content-Digest: " + other.String(), push, false},
		{"a media type of any length", "PUT /v2/a/b/manifests/v1\nContent-Type: application/" + strings.Repeat("x", 10_000) + " " + strings.ReplaceAll(image, ociManifest, ""), "201",
			"push PUT a/b:v1@" + digest.FromString(strings.ReplaceAll(image, ociManifest, "")).String() + fmt.Sprintf(" %d refs=config,blob", len(image)-len(ociManifest)), false},
		{"chunks that are none, and a length", "PUT /v2/a/b/manifests/v1\nTransfer-Encoding: chunked " + image, "201", "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			target, answered := "", false
			w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				target, answered = r.RequestURI, true
				_, _ = io.Copy(io.Discard, r.Body)
				status, header, _ := strings.Cut(tc.answer, " ")
				for line := range strings.Lines(header) {
					name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
					w.Header().Add(name, value)
				}
				var code int
				fmt.Sscan(status, &code)
				w.WriteHeader(code)
				_, _ = io.WriteString(w, "ok")
			}), &observer.Options{IncludeReferences: true})
			head, body, _ := strings.Cut(tc.request, " {")
			if body != "" {
				body = "{" + body
			}
			line, fields, _ := strings.Cut(head, "\n")
			if fields != "" {
				fields += "\r\n"
			}
			resp := w.raw(t, fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", line, fields, len(body), body))
			if answered {
				if want := strings.Fields(line)[1]; target != want {
					t.Errorf("the registry got %q, want %q", target, want)
				}
			} else if resp.StatusCode < 400 {
				t.Errorf("status %d, and the registry got nothing", resp.StatusCode)
			}
			w.end()
			if diff := cmp.Diff(tc.want, strings.Join(briefs(t, w.events.Events()), "; ")); diff != "" {
				t.Errorf("events, -want +got:\n%s", diff)
			}
			counted := metric(t, w.metrics, "regcast_observer_unclassified_total")
			if tc.unclassified != (counted == 1) {
				t.Errorf("%v unclassified", counted)
			}
		})
	}
}

// raw sends bytes and reads an answer.
func (w *watched) raw(t testing.TB, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}
