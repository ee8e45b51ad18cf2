package registry_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A blob reads as any reader that can seek does.
func TestBlobReader(t *testing.T) {
	for _, kind := range fixtures.EveryAuth() {
		r := registrytest.Start(t, &registrytest.Options{Auth: kind})
		c := fixtures.Client(t, r, fixtures.Alice(r), nil)
		for _, size := range []int{0, 1, 10_000} {
			blob, b := fixtures.Content(t, size)
			if err := c.PutBlob(t.Context(), "a", blob, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			reader, err := c.OpenBlob(t.Context(), "a", blob)
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(reader, b); err != nil {
				t.Errorf("%s, %d bytes: %v", kind, size, err)
			}
			if err := reader.Close(); err != nil {
				t.Error(err)
			}
			if _, err := reader.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("after Close: %v", err)
			}
		}
	}
}

// Content that is not the digest's is never read to its end without an error.
func TestBlobReaderVerifies(t *testing.T) {
	blob, b := fixtures.Content(t, 10_000)
	_, other := fixtures.Content(t, 10_000)
	serve := func(b []byte, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			http.ServeContent(w, req, "", modified(), bytes.NewReader(b))
		}
	}
	noRanges := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	for _, test := range []struct {
		name   string
		handle http.HandlerFunc
		from   int64
		want   error
	}{
		{"as it is", serve(b), 0, nil},
		{"another content", serve(other), 0, registry.ErrMismatch},
		{"too much", serve(append(bytes.Clone(b), 0)), 0, registry.ErrMismatch},
		{"too little", serve(b[:9_000]), 0, registry.ErrMismatch},
		{"a digest that lies", serve(b, "Docker-Content-Digest", "sha256:00"), 0, registry.ErrMismatch},
		{"a range", serve(b), 5_000, nil},
		{"a range of something larger", serve(append(bytes.Clone(b), 0)), 5_000, registry.ErrMismatch},
		{"no ranges", noRanges, 5_000, registry.ErrUnsupported},
		{"another range", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-4999/10000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(b[:5000])
		}, 5_000, registry.ErrMismatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := registrytest.Start(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/v2/" {
						next.ServeHTTP(w, req)
						return
					}
					test.handle(w, req)
				})
			}})
			reader, err := fixtures.Client(t, r, nil, nil).OpenBlob(t.Context(), "a", blob)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			if _, err := reader.Seek(test.from, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(reader)
			if !errors.Is(err, test.want) {
				t.Errorf("%d bytes, %v; want %v", len(got), err, test.want)
			}
			if err == nil && !bytes.Equal(got, b[test.from:]) {
				t.Error("something else was read")
			}
		})
	}
}

// A blob goes through in constant memory, down and up.
func TestLargeBlobsInConstantMemory(t *testing.T) {
	size, dgst := int64(1<<30), "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14"
	if raceEnabled {
		size, dgst = 64<<20, "3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351"
	}
	blob := v1.Descriptor{Digest: digest.NewDigestFromEncoded(digest.SHA256, dgst), Size: size}
	received := int64(0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.Method {
		case http.MethodGet:
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
			if req.URL.Path != "/v2/" {
				_, _ = io.CopyN(w, zeroes{}, size)
			}
		case http.MethodPost:
			w.Header().Set("Location", "/v2/a/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodPut:
			received, _ = io.Copy(io.Discard, req.Body)
			w.WriteHeader(http.StatusCreated)
		}
	}))
	t.Cleanup(server.Close)
	c, err := registry.NewClient(server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := c.OpenBlob(t.Context(), "a", blob)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := c.PutBlob(t.Context(), "a", blob, reader); err != nil {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if received != size {
		t.Errorf("%d bytes arrived", received)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8<<20 {
		t.Errorf("%d bytes were allocated in all for a blob of %d", allocated, size)
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
