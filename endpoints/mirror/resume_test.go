package mirror_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A wire is in front of a registry. It counts the bytes of layers, and is cut once when so
// many have passed.
type wire struct {
	part string       // of the paths that it counts
	cut  atomic.Int64 // bytes until then; 0: never
	got  atomic.Int64
	cuts atomic.Int32
}

func (c *wire) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, c.part) {
			next.ServeHTTP(w, r)
			return
		}
		r.Body = &countedBody{r.Body, c}
		next.ServeHTTP(&countedWriter{w, c}, r)
	})
}

// passed counts n bytes, and cuts if it is time.
func (c *wire) passed(n int) {
	c.got.Add(int64(n))
	if cut := c.cut.Load(); cut > 0 && c.got.Load() >= cut {
		c.cut.Store(0)
		c.cuts.Add(1)
		panic(http.ErrAbortHandler)
	}
}

type countedBody struct {
	io.ReadCloser
	wire *wire
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.wire.passed(n)
	return n, err
}

type countedWriter struct {
	http.ResponseWriter
	wire *wire
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.wire.passed(n)
	return n, err
}

// A blob that is cut goes on where it was, on either side.
func TestACutBlobGoesOn(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	const slack = 12 << 20 // what is in sockets when they are cut is lost
	if testing.Short() {
		t.Skip("64 MiB")
	}
	layer := noise(1, size)
	for name, test := range map[string]struct {
		source, target func(*wire, http.Handler) http.Handler
		most           int64 // bytes that the source sends
	}{
		"both can": {nil, nil, size + 2*slack},
		"the source has no ranges": {func(c *wire, next http.Handler) http.Handler {
			inner := c.wrap(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Range")
				inner.ServeHTTP(w, r)
			})
		}, nil, 3 * size},
		"the target says nothing of uploads": {nil, func(c *wire, next http.Handler) http.Handler {
			inner := c.wrap(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/uploads/") {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return
				}
				inner.ServeHTTP(w, r)
			})
		}, 2*size + slack},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := &wire{part: "/blobs/sha256:"}, &wire{part: "/blobs/uploads/"}
			wrap := func(c *wire, with func(*wire, http.Handler) http.Handler) func(http.Handler) http.Handler {
				if with == nil {
					return c.wrap
				}
				return func(next http.Handler) http.Handler { return with(c, next) }
			}
			r := newRig(t, &registrytest.Options{Directory: t.TempDir(), Wrap: wrap(from, test.source)},
				&registrytest.Options{Directory: t.TempDir(), Wrap: wrap(to, test.target)}, nil)
			desc := putImage(t, r.from, "team/app", "1.0", layer)
			from.got.Store(0)
			from.cut.Store(size / 3)
			to.cut.Store(2 * size / 3)
			r.deliver(t, push("team/app", "1.0", desc.Digest))
			r.arrived(t, "team/app", "1.0")
			if from.cuts.Load() != 1 || to.cuts.Load() != 1 {
				t.Errorf("the source was cut %d times, the target %d times", from.cuts.Load(), to.cuts.Load())
			}
			sent, received := from.got.Load(), to.got.Load()
			t.Logf("%d MiB from the source, %d MiB to the target", sent>>20, received>>20)
			if sent > test.most {
				t.Errorf("%d MiB from the source, want at most %d", sent>>20, test.most>>20)
			}
			most := int64(size + slack)
			if test.target != nil {
				most += 2*size/3 + slack
			}
			if received > most {
				t.Errorf("%d MiB to the target, want at most %d", received>>20, most>>20)
			}
			r.metrics(t, "inflight_bytes 0", "blobs_total copied 2")
		})
	}
}

// What a target loses of an upload is sent again; a target that always does is a failure
// after few tries.
func TestAnUploadThatIsForgotten(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		times, begun int32
		says         http.HandlerFunc
		class        endpoints.Class
	}{
		"forgotten once":   {1, 3, says(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"), 0},
		"forgotten always": {100, 1 + 3, says(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"), endpoints.Transient},
		"mangled once":     {1, 3, says(http.StatusBadRequest, "DIGEST_INVALID"), 0},
		"mangled always":   {100, 1 + 3, says(http.StatusBadRequest, "DIGEST_INVALID"), endpoints.Rejected},
		"no room":          {100, 2, says(http.StatusInsufficientStorage, "UNKNOWN"), endpoints.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var left, begun atomic.Int32
			r := newRig(t, nil, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					switch {
					case req.Method == http.MethodPost:
						begun.Add(1)
					case req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/uploads/") && left.Add(-1) >= 0:
						_, _ = io.Copy(io.Discard, req.Body)
						test.says(w, req)
						return
					}
					next.ServeHTTP(w, req)
				})
			}}, func(r *rig) { r.opts.BlobConcurrency = 1 })
			desc := putImage(t, r.from, "team/app", "1.0", noise(1, 1000))
			e := push("team/app", "1.0", desc.Digest)
			left.Store(test.times)
			if test.times > 1 {
				r.refused(t, e, test.class)
				test.begun-- // it ends with the first of two blobs
			} else {
				r.deliver(t, e)
				r.arrived(t, "team/app", "1.0")
			}
			if begun.Load() != test.begun {
				t.Errorf("%d uploads were begun, want %d", begun.Load(), test.begun)
			}
			r.metrics(t, "inflight_bytes 0")
		})
	}
}
