package registry_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A seekable can be sought, and no more: the transport cannot send it again by itself.
type seekable struct {
	r    *bytes.Reader
	fail error // of a read behind a Seek that goes back
	back bool
}

func (s *seekable) Read(p []byte) (int, error) {
	if s.back && s.fail != nil {
		return 0, s.fail
	}
	return s.r.Read(p)
}

func (s *seekable) Seek(offset int64, whence int) (int64, error) {
	s.back = s.back || whence == io.SeekStart
	return s.r.Seek(offset, whence)
}

// half lets a registry have half of a body, and then breaks the connection.
func half(next http.Handler) http.HandlerFunc {
	return func(_ http.ResponseWriter, req *http.Request) {
		req.Body = &brokenBody{ReadCloser: req.Body, left: req.ContentLength / 2}
		next.ServeHTTP(httptest.NewRecorder(), req)
		panic(http.ErrAbortHandler)
	}
}

type brokenBody struct {
	io.ReadCloser
	left int64
}

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// A blob that was sent in part goes on where the registry is.
func TestPutsGoOn(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, test := range []struct {
		name    string
		spoil   func(next http.Handler) http.HandlerFunc
		times   int
		fail    error
		want    error
		patches int
	}{
		{"half of it", half, 1, nil, nil, 1},
		{"500 after half of it", func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, req *http.Request) {
				req.Body = &brokenBody{ReadCloser: req.Body, left: 10}
				next.ServeHTTP(w, req)
			}
		}, 1, nil, nil, 1},
		{"nothing of it", func(http.Handler) http.HandlerFunc { return reset }, 1, nil, nil, 1},
		{"all of it, and the answer is lost", func(next http.Handler) http.HandlerFunc {
			return func(_ http.ResponseWriter, req *http.Request) {
				next.ServeHTTP(httptest.NewRecorder(), req)
				panic(http.ErrAbortHandler)
			}
		}, 1, nil, nil, 0},
		{"it is throttled", func(http.Handler) http.HandlerFunc { return fixtures.Status(503, "Retry-After", "30") }, 9, nil, errAny, 0},
		{"the reader fails", half, 1, broken, broken, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var f fixtures.Trap
			var seen recorder
			var whole http.Handler
			r := registrytest.Start(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
				whole = next
				return seen.Wrap(f.Wrap(next))
			}})
			c := fixtures.Client(t, r, nil, nil)
			f.Set("PUT", "/uploads/", test.times, test.spoil(whole))
			blob, b := fixtures.Content(t, 100_000)
			// What is before the blob is not the blob's.
			all := &seekable{r: bytes.NewReader(append([]byte("before"), b...)), fail: test.fail}
			_, _ = all.r.Seek(6, io.SeekStart)
			err := c.PutBlob(t.Context(), "team/app", blob, all)
			if !errors.Is(err, test.want) && (test.want != errAny || err == nil) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if f.Done() == 0 {
				t.Error("nothing was spoilt")
			}
			// One whose body cannot be read may end before the registry has seen it.
			if n := seen.patches(); n > test.patches || n < test.patches && test.fail == nil {
				t.Errorf("%d PATCHes, want %d", n, test.patches)
			}
			if _, err := c.StatBlob(t.Context(), "team/app", blob.Digest); (err == nil) != (test.want == nil) {
				t.Error(err)
			}
		})
	}
}

var errAny = errors.New("any error")

// A registry that breaks off for ever, or lies about what it has, gets no blob for ever.
func TestPutsDoNotGoOnForEver(t *testing.T) {
	for name, says := range map[string]string{"nothing": "0-0", "more than there is": "0-1000000", "nonsense": "0-x", "a byte more each time": ""} {
		t.Run(name, func(t *testing.T) {
			received, last := 0, 0
			r := registrytest.Start(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					switch req.Method {
					case http.MethodPut, http.MethodPatch:
						n, _ := io.Copy(io.Discard, req.Body)
						received += int(n)
						panic(http.ErrAbortHandler)
					case http.MethodGet:
						value := says
						if last++; value == "" {
							value = "0-" + string(rune('0'+min(last, 9)))
						}
						w.Header().Set("Location", req.URL.String())
						w.Header().Set("Range", value)
						w.WriteHeader(http.StatusNoContent)
					default:
						next.ServeHTTP(w, req)
					}
				})
			}})
			blob, b := fixtures.Content(t, 1000)
			err := fixtures.Client(t, r, nil, nil).PutBlob(t.Context(), "a", blob, &seekable{r: bytes.NewReader(b)})
			if err == nil || errors.Is(err, registry.ErrNotFound) {
				t.Error(err)
			}
			if received > 33*1000 {
				t.Errorf("%d bytes were sent", received)
			}
		})
	}
}

// A source that breaks off, and then has no ranges or other ones, is read to the end.
func TestBlobReaderWithoutRanges(t *testing.T) {
	blob, b := fixtures.Content(t, 100_000)
	whole := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	for name, ranged := range map[string]http.HandlerFunc{
		"it sends all": whole,
		"it is unsatisfiable": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		},
		"it sends another": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 10-99/100000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(b[10:100])
		},
		"it sends a part": func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Range", "bytes 50000-50099/100000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(b[50_000:50_100])
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			r := registrytest.Start(t, &registrytest.Options{Wrap: func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/v2/" {
						return
					}
					switch asked++; {
					case asked == 1:
						w.Header().Set("Content-Length", "100000")
						_, _ = w.Write(b[:50_000])
						_ = http.NewResponseController(w).Flush()
						panic(http.ErrAbortHandler)
					case req.Header.Get("Range") != "":
						ranged(w, req)
					default:
						whole(w, req)
					}
				})
			}})
			reader, err := fixtures.Client(t, r, nil, nil).OpenBlob(t.Context(), "a", blob)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}
