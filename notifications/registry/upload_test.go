package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A recorder notes the uploads that a registry gets.
type recorder struct {
	mu     sync.Mutex
	ranges []string // Content-Range of each PATCH
	length []string // Content-Length of each
}

func (r *recorder) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPatch {
			r.mu.Lock()
			r.ranges = append(r.ranges, req.Header.Get("Content-Range"))
			r.length = append(r.length, req.Header.Get("Content-Length"))
			r.mu.Unlock()
		}
		next.ServeHTTP(w, req)
	})
}

// patches is how many have come so far.
func (r *recorder) patches() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ranges)
}

// servers are registries by other people.
func servers(t *testing.T) map[string]http.Handler {
	ole := olareg.New(config.Config{Storage: config.ConfigStorage{StoreType: config.StoreMem}})
	t.Cleanup(func() { _ = ole.Close() })
	return map[string]http.Handler{
		"olareg": ole,
		"cue":    ociserver.New(ocimem.New(), nil),
	}
}

func TestUploadsToOtherRegistries(t *testing.T) {
	for name, handler := range servers(t) {
		t.Run(name, func(t *testing.T) {
			var seen recorder
			server := httptest.NewServer(seen.Wrap(handler))
			t.Cleanup(server.Close)
			c, err := registry.NewClient(server.URL, &registry.ClientOptions{ChunkSize: 1000})
			if err != nil {
				t.Fatal(err)
			}
			small, smallContent := fixtures.Content(t, 100)
			if err := c.PutBlob(t.Context(), "a", small, bytes.NewReader(smallContent)); err != nil {
				t.Errorf("at once: %v", err)
			}
			blob, b := fixtures.Content(t, 20_500)
			if err := c.PutBlobChunks(t.Context(), "a", blob, bytes.NewReader(b)); err != nil {
				t.Errorf("in chunks: %v", err)
			}
			// cue's server wants 8 KiB a chunk, olareg anything.
			want := []string{"1000", "1000"}
			if name == "cue" {
				want = []string{"8192", "8192", "4116"}
			}
			if got := seen.length[:min(len(seen.length), len(want))]; !slices.Equal(got, want) {
				t.Errorf("chunks %q, want %q", got, want)
			}
			reader, err := c.OpenBlob(t.Context(), "a", blob)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if u, err := c.MountBlob(t.Context(), "b", blob.Digest, "a"); err != nil || u != nil {
				t.Errorf("mounted: %v, %v", u, err)
			}
			empty, _ := fixtures.Content(t, 0)
			if err := c.PutBlob(t.Context(), "a", empty, bytes.NewReader(nil)); err != nil {
				t.Errorf("nothing at once: %v", err)
			}
			if err := c.PutBlobChunks(t.Context(), "a", empty, bytes.NewReader(nil)); err != nil {
				t.Errorf("nothing in chunks: %v", err)
			}
		})
	}
}

func TestChunksAreBounded(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("OCI-Chunk-Min-Length", strconv.Itoa(1<<40))
			next.ServeHTTP(w, req)
		})
	}})
	blob, b := fixtures.Content(t, 10)
	err := fixtures.Client(t, r, nil, nil).PutBlobChunks(t.Context(), "a", blob, bytes.NewReader(b))
	if !errors.Is(err, registry.ErrTooLarge) {
		t.Errorf("chunks of a terabyte: %v", err)
	}
}

// A chunk whose answer is lost, or that was stored in part, goes on where the registry is.
func TestUploadsResume(t *testing.T) {
	for _, kind := range []registrytest.Auth{registrytest.Htpasswd, registrytest.Token} {
		for name, spoil := range map[string]func(next http.Handler) http.HandlerFunc{
			"the answer is lost": func(next http.Handler) http.HandlerFunc {
				return func(_ http.ResponseWriter, req *http.Request) {
					next.ServeHTTP(httptest.NewRecorder(), req)
					panic(http.ErrAbortHandler)
				}
			},
			"500 after it was stored": func(next http.Handler) http.HandlerFunc {
				return func(w http.ResponseWriter, req *http.Request) {
					next.ServeHTTP(httptest.NewRecorder(), req)
					w.WriteHeader(http.StatusInternalServerError)
				}
			},
			"503 before it was stored": func(http.Handler) http.HandlerFunc { return fixtures.Status(503) },
			"another writer was there": func(next http.Handler) http.HandlerFunc {
				return func(w http.ResponseWriter, req *http.Request) {
					again := req.Clone(req.Context())
					all, _ := io.ReadAll(req.Body)
					again.Body = io.NopCloser(bytes.NewReader(all[:400]))
					again.ContentLength = 400
					again.Header.Del("Content-Range")
					next.ServeHTTP(httptest.NewRecorder(), again)
					req.Body = io.NopCloser(bytes.NewReader(all))
					next.ServeHTTP(w, req) // 416: 400 bytes are there already
				}
			},
		} {
			t.Run(string(kind)+"/"+name, func(t *testing.T) {
				var f fixtures.Trap
				var whole http.Handler
				r := registrytest.Start(t, &registrytest.Options{Auth: kind, Wrap: func(next http.Handler) http.Handler {
					whole = next
					return f.Wrap(next)
				}})
				c := fixtures.Client(t, r, fixtures.Alice(r), &registry.ClientOptions{ChunkSize: 1000})
				f.Set("PATCH", "/uploads/", 2, spoil(whole))
				blob, b := fixtures.Content(t, 3500)
				if err := c.PutBlobChunks(t.Context(), "team/app", blob, bytes.NewReader(b)); err != nil {
					t.Error(err)
				}
				if n := f.Done(); n != 2 {
					t.Errorf("spoilt %d times", n)
				}
				if got, err := c.StatBlob(t.Context(), "team/app", blob.Digest); err != nil || got.Size != 3500 {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
	}
}

// An upload that was left goes on with a new client, and one that is cancelled is gone.
func TestUploadsOverARestart(t *testing.T) {
	for _, kind := range fixtures.EveryAuth() {
		r := registrytest.Start(t, &registrytest.Options{Auth: kind})
		blob, b := fixtures.Content(t, 3500)
		u, err := fixtures.Client(t, r, fixtures.Alice(r), nil).StartUpload(t.Context(), "team/app")
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Append(t.Context(), b[:2000]); err != nil || u.Offset() != 2000 {
			t.Fatalf("%d bytes, %v", u.Offset(), err)
		}
		c := fixtures.Client(t, r, fixtures.Alice(r), nil)
		resumed, err := c.ResumeUpload(t.Context(), "team/app", u.Location())
		if err != nil || resumed.Offset() != 2000 {
			t.Fatalf("%s: %v, %v", kind, resumed, err)
		}
		if err := resumed.PutChunks(t.Context(), blob, bytes.NewReader(b[2000:])); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := c.StatBlob(t.Context(), "team/app", blob.Digest); err != nil {
			t.Error(err)
		}

		u, err = c.StartUpload(t.Context(), "team/app")
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Cancel(t.Context()); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := c.ResumeUpload(t.Context(), "team/app", u.Location()); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("%s: a cancelled upload: %v", kind, err)
		}
	}
}

// An upload that cannot be is cancelled: the registry keeps no part of it.
func TestFailedUploadsAreCancelled(t *testing.T) {
	for name, put := range map[string]func(*testing.T, *registry.Client) error{
		"another digest": func(t *testing.T, c *registry.Client) error {
			blob, _ := fixtures.Content(t, 1000)
			_, other := fixtures.Content(t, 1000)
			return c.PutBlob(t.Context(), "a", blob, bytes.NewReader(other))
		},
		"another digest, in chunks": func(t *testing.T, c *registry.Client) error {
			blob, _ := fixtures.Content(t, 1000)
			_, other := fixtures.Content(t, 1000)
			return c.PutBlobChunks(t.Context(), "a", blob, bytes.NewReader(other))
		},
		"too little": func(t *testing.T, c *registry.Client) error {
			blob, b := fixtures.Content(t, 1000)
			return c.PutBlob(t.Context(), "a", blob, io.LimitReader(bytes.NewReader(b), 900))
		},
		"too little, in chunks": func(t *testing.T, c *registry.Client) error {
			blob, b := fixtures.Content(t, 1000)
			return c.PutBlobChunks(t.Context(), "a", blob, io.LimitReader(bytes.NewReader(b), 900))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var meter registrytest.Meter
			r := registrytest.Start(t, &registrytest.Options{Wrap: meter.Wrap})
			if err := put(t, fixtures.Client(t, r, nil, &registry.ClientOptions{ChunkSize: 300})); err == nil {
				t.Error("it was stored")
			}
			if got := meter.Requests(); !slices.ContainsFunc(got, func(request string) bool {
				return strings.HasPrefix(request, "DELETE /v2/a/blobs/uploads/")
			}) {
				t.Errorf("it was not cancelled: %q", got)
			}
		})
	}
}

// A caller's reader is the caller's again when Put returns, although a transport that was
// answered early may be reading still. The race detector sees a Read that goes on.
func TestReadersAreGivenBack(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodPut || req.Method == http.MethodPatch {
				w.WriteHeader(http.StatusBadRequest) // without reading
				return
			}
			next.ServeHTTP(w, req)
		})
	}})
	c := fixtures.Client(t, r, nil, nil)
	blob, b := fixtures.Content(t, 1<<20)
	for range 20 {
		reader := &fixtures.CountingReader{R: bytes.NewReader(b)}
		if err := c.PutBlob(t.Context(), "a", blob, reader); err == nil {
			t.Fatal("it was stored")
		}
		reader.N = 0
		if err := c.PutBlob(t.Context(), "a", blob, bytes.NewReader(b)); err == nil {
			t.Fatal("it was stored")
		}
		clear(b)
	}
}

// A registry that does not mount takes an upload: at once, or after it said no.
func TestMountsThatAreUploads(t *testing.T) {
	blob, b := fixtures.Content(t, 1000)
	for name, test := range map[string]struct {
		options registrytest.Options
		refuse  http.HandlerFunc
	}{
		"no such blob there": {registrytest.Options{Auth: registrytest.Token}, nil},
		"not allowed to see it": {registrytest.Options{Auth: registrytest.Token, Tokens: registrytest.TokenOptions{
			Grant: func(_, _, name string, actions []string) []string {
				if name == "secret" {
					return nil
				}
				return actions
			},
		}}, nil},
		"no mounts": {registrytest.Options{}, fixtures.Status(http.StatusMethodNotAllowed)},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Wrap = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Query().Has("mount") && test.refuse != nil {
						test.refuse(w, req)
						return
					}
					next.ServeHTTP(w, req)
				})
			}
			r := registrytest.Start(t, &test.options)
			c := fixtures.Client(t, r, fixtures.Alice(r), nil)
			u, err := c.MountBlob(t.Context(), "a", blob.Digest, "secret")
			if err != nil || u == nil {
				t.Fatalf("%v, %v", u, err)
			}
			if err := u.Put(t.Context(), blob, bytes.NewReader(b)); err != nil {
				t.Error(err)
			}
			if _, err := c.StatBlob(t.Context(), "a", blob.Digest); err != nil {
				t.Error(err)
			}
		})
	}
}

// Sessions may have any address in the registry, and a query that is not ours to touch.
func TestUploadLocations(t *testing.T) {
	blob, b := fixtures.Content(t, 5)
	for _, kind := range fixtures.EveryAuth() {
		var final string
		r := registrytest.Start(t, &registrytest.Options{Auth: kind, Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if rest, ours := strings.CutPrefix(req.URL.Path, "/artifacts-uploads/"); ours {
					final = req.URL.RawQuery
					req.URL.Path = "/v2/team/app/blobs/uploads/" + rest
				}
				next.ServeHTTP(&headerChanger{ResponseWriter: w, change: func(h http.Header) {
					if path, found := strings.CutPrefix(h.Get("Location"), r0(req)+"/v2/team/app/blobs/uploads/"); found {
						h.Set("Location", fmt.Sprintf("/artifacts-uploads/%s&x=%%2F+y", path))
					}
				}}, req)
			})
		}})
		c := fixtures.Client(t, r, fixtures.Alice(r), nil)
		stream := io.MultiReader(bytes.NewReader(b)) // its token has to be there before it
		if err := c.PutBlob(t.Context(), "team/app", blob, stream); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if !strings.Contains(final, "&x=%2F+y&digest=sha256%3A") {
			t.Errorf("%s: the session's query was changed: %q", kind, final)
		}
	}
}

// r0 is the base URL that a request was made to.
func r0(req *http.Request) string { return "http://" + req.Host }
