package observer_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/observer"
)

// BenchmarkRequest compares a handler with and without an Observer before it: the
// difference is what observing costs.
func BenchmarkRequest(b *testing.B) {
	manifestHeader := map[string]string{"Content-Type": ociManifest, "Docker-Content-Digest": manifest.String(), "Content-Length": strconv.Itoa(len(image))}
	blobHeader := map[string]string{"Content-Type": octets, "Docker-Content-Digest": blob.String(), "Content-Length": strconv.Itoa(len(blobContent))}
	for _, bm := range []struct {
		name, method, path, body string
		status                   int
		header                   map[string]string
		answer                   string
	}{
		{"blob GET", "GET", "/v2/a/b/blobs/" + blob.String(), "", 200, blobHeader, blobContent},
		{"manifest GET", "GET", "/v2/a/b/manifests/v1", "", 200, manifestHeader, image},
		{"manifest PUT", "PUT", "/v2/a/b/manifests/v1", image, 201, map[string]string{"Docker-Content-Digest": manifest.String()}, ""},
		{"upload PATCH", "PATCH", "/v2/a/b/blobs/uploads/1", blobContent, 202, map[string]string{"Location": "/v2/a/b/blobs/uploads/1"}, ""},
		{"tags GET", "GET", "/v2/a/b/tags/list", "", 200, nil, "{}"},
	} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for k, v := range bm.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(bm.status)
			_, _ = io.WriteString(w, bm.answer)
		})
		run := func(b *testing.B, h http.Handler) {
			r := httptest.NewRequest(bm.method, bm.path, nil)
			r.Header.Set("Content-Type", ociManifest)
			r.Header.Set("User-Agent", "client/1")
			r.SetBasicAuth("alice", "secret")
			w := &nowhere{header: make(http.Header)}
			body := strings.NewReader("")
			r.Body, r.ContentLength = io.NopCloser(body), int64(len(bm.body))
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(bm.body)
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		}
		b.Run(bm.name+"/bare", func(b *testing.B) { run(b, handler) })
		for name, sink := range map[string]notifications.Sink{"wanted": taker{}, "unwanted": refuser{}} {
			b.Run(bm.name+"/"+name, func(b *testing.B) {
				o := observer.New(handler, sink, notifications.SourceRecord{Addr: "registry.example:5000"}, &observer.Options{Wait: -1, Waiting: 1 << 20})
				run(b, o)
				if err := o.Shutdown(context.Background()); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// nowhere is a writer that costs nothing.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

// A taker takes everything.
type taker struct{}

func (taker) Write(context.Context, []*notifications.Event) error { return nil }

// A refuser wants nothing.
type refuser struct{ taker }

func (refuser) Wants(*notifications.Event) bool { return false }
