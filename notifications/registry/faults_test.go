package registry_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// reset ends a connection without an answer.
func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestFaultsThatPass(t *testing.T) {
	for _, kind := range []registrytest.Auth{registrytest.Htpasswd, registrytest.Token} {
		var f fixtures.Trap
		r := registrytest.Start(t, &registrytest.Options{Auth: kind, Wrap: f.Wrap})
		setUp := fixtures.Client(t, r, fixtures.Alice(r), nil)
		desc, manifest := fixtures.Image(t, setUp, "team/app", "v1")
		blob, b := fixtures.Content(t, 50_000)
		resolve := func(c *registry.Client) error {
			got, err := c.Resolve(t.Context(), "team/app", "v1")
			if err == nil && got.Digest != desc.Digest {
				return errors.New("something else")
			}
			return err
		}
		put := func(c *registry.Client) error {
			_, err := c.PutManifest(t.Context(), "team/app", "v1", desc.MediaType, manifest)
			return err
		}
		putBlob := func(c *registry.Client) error {
			return c.PutBlob(t.Context(), "team/app", blob, bytes.NewReader(b))
		}
		for _, test := range []struct {
			name         string
			method, path string
			times        int
			spoil        http.HandlerFunc
			call         func(*registry.Client) error
		}{
			{"the probe is reset", "GET", "/v2/", 2, reset, resolve},
			{"the probe is throttled", "GET", "/v2/", 1, fixtures.Status(429, "Retry-After", "0"), resolve},
			{"HEAD is reset", "HEAD", "/manifests/", 4, reset, resolve},
			{"HEAD is throttled", "HEAD", "/manifests/", 2, fixtures.Status(429, "Retry-After", "0"), resolve},
			{"HEAD is 503", "HEAD", "/manifests/", 2, fixtures.Status(503), resolve},
			{"HEAD has no digest", "HEAD", "/manifests/", 1, fixtures.Status(200, "Content-Type", v1.MediaTypeImageManifest, "Content-Length", "100"), resolve},
			{"HEAD is not there", "HEAD", "/manifests/", 1, fixtures.Status(405), resolve},
			{"PUT is reset", "PUT", "/manifests/", 2, reset, put},
			{"PUT is 503", "PUT", "/manifests/", 2, fixtures.Status(503), put},
			{"POST is 500", "POST", "/uploads/", 2, fixtures.Status(500), putBlob},
			{"PUT of a blob is reset", "PUT", "/uploads/", 1, reset, putBlob},
			{"PUT of a blob is 503", "PUT", "/uploads/", 1, fixtures.Status(503), putBlob},
			{"the token server is reset", "GET", "/token", 2, reset, resolve},
			{"the token server is throttled", "GET", "/token", 2, fixtures.Status(429, "Retry-After", "0"), resolve},
		} {
			if test.path == "/token" && kind != registrytest.Token {
				continue
			}
			t.Run(string(kind)+"/"+test.name, func(t *testing.T) {
				c := fixtures.Client(t, r, fixtures.Alice(r), nil)
				f.Set(test.method, test.path, test.times, test.spoil)
				if err := test.call(c); err != nil {
					t.Error(err)
				}
				if got := f.Done(); got != test.times {
					t.Errorf("%d requests were spoilt of %d", got, test.times)
				}
			})
		}
	}
}

func TestFaultsThatStay(t *testing.T) {
	var f fixtures.Trap
	r := registrytest.Start(t, &registrytest.Options{Wrap: f.Wrap})
	// A connection of its own for each request: on one that was used before, net/http
	// repeats a request by itself.
	base := &http.Transport{DisableKeepAlives: true}
	c := fixtures.Client(t, r, nil, &registry.ClientOptions{
		Transport: auth.NewTransport(base, &auth.Options{Backoff: fixtures.Soon}),
	})
	desc, manifest := fixtures.Image(t, c, "team/app", "v1")
	lie := func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", desc.MediaType)
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		w.WriteHeader(http.StatusCreated)
		if req.Method == http.MethodGet {
			_, _ = w.Write(manifest)
		}
	}
	lie200 := func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", desc.MediaType)
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		_, _ = w.Write(manifest)
	}
	other := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", desc.MediaType)
		_, _ = w.Write([]byte("{}"))
	}
	get := func(ref string) func() error {
		return func() error { _, _, err := c.Manifest(t.Context(), "team/app", ref, nil); return err }
	}
	for _, test := range []struct {
		name         string
		method, path string
		times        int
		spoil        http.HandlerFunc
		call         func() error
		want         error
		spoilt       int
	}{
		{"five resets", "GET", "/manifests/", 9, reset, get("v1"), io.EOF, 5},
		{"five times 503", "GET", "/manifests/", 9, fixtures.Status(503), get("v1"), nil, 5},
		{"throttled for an hour", "GET", "/manifests/", 9, fixtures.Status(429, "Retry-After", "3600"), get("v1"), registry.ErrThrottled, 1},
		{"forbidden", "GET", "/manifests/", 9, fixtures.Status(403), get("v1"), registry.ErrDenied, 1},
		{"a digest that lies", "GET", "/manifests/", 1, lie200, get("v1"), registry.ErrMismatch, 1},
		{"another manifest than that of the digest", "GET", "/manifests/", 1, other, get(desc.Digest.String()), registry.ErrMismatch, 1},
		{"a digest that is none", "GET", "/manifests/", 1, fixtures.Status(200, "Docker-Content-Digest", "x"), get("v1"), registry.ErrMismatch, 1},
		{"too much", "GET", "/manifests/", 1, func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = io.Copy(w, io.LimitReader(zeroes{}, 5<<20))
		}, get("v1"), registry.ErrTooLarge, 1},
		{"too much, and it says so", "GET", "/manifests/", 1, fixtures.Status(200, "Content-Length", "5000000"), get("v1"), registry.ErrTooLarge, 1},
		{"something else was stored", "PUT", "/manifests/", 1, lie, func() error {
			_, err := c.PutManifest(t.Context(), "team/app", "v1", desc.MediaType, manifest)
			return err
		}, registry.ErrMismatch, 1},
		{"a HEAD that lies about the blob", "HEAD", "/blobs/", 1, fixtures.Status(200, "Content-Length", "5", "Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)), func() error {
			_, err := c.StatBlob(t.Context(), "team/app", v1.DescriptorEmptyJSON.Digest)
			return err
		}, nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.Set(test.method, test.path, test.times, test.spoil)
			err := test.call()
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if got := f.Done(); got != test.spoilt {
				t.Errorf("%d requests, want %d", got, test.spoilt)
			}
		})
	}
}

// A manifest that breaks off is asked for again, a blob goes on where it broke.
func TestBodiesThatBreakOff(t *testing.T) {
	for _, kind := range []registrytest.Auth{registrytest.Htpasswd, registrytest.Token} {
		var f fixtures.Trap
		var meter registrytest.Meter
		var ranges atomic.Int32
		var whole http.Handler
		r := registrytest.Start(t, &registrytest.Options{Auth: kind, Wrap: func(next http.Handler) http.Handler {
			whole = next
			return meter.Wrap(f.Wrap(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Header.Get("Range") != "" {
					ranges.Add(1)
				}
				next.ServeHTTP(w, req)
			})))
		}})
		c := fixtures.Client(t, r, fixtures.Alice(r), nil)
		desc, manifest := fixtures.Image(t, c, "team/app", "v1")
		blob, b := fixtures.Content(t, 300_000)
		if err := c.PutBlob(t.Context(), "team/app", blob, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		cut := func(after int) http.HandlerFunc {
			return func(w http.ResponseWriter, req *http.Request) {
				whole.ServeHTTP(&cutWriter{ResponseWriter: w, left: after}, req)
			}
		}

		f.Set("GET", "/manifests/", 2, cut(100))
		if got, content, err := c.Manifest(t.Context(), "team/app", "v1", nil); err != nil || got.Digest != desc.Digest || !bytes.Equal(content, manifest) {
			t.Errorf("%s: %v, %v", kind, got, err)
		}
		f.Set("GET", "/manifests/", 9, cut(100))
		if _, _, err := c.Manifest(t.Context(), "team/app", "v1", nil); !errors.Is(err, io.ErrUnexpectedEOF) || f.Done() != 3 {
			t.Errorf("%s: a manifest that always breaks off: %v after %d", kind, err, f.Done())
		}

		f.Set("GET", "/blobs/", 3, cut(70_000))
		reader, err := c.OpenBlob(t.Context(), "team/app", blob)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, b) || ranges.Load() == 0 {
			t.Errorf("%s: %d bytes, %v, %d ranges", kind, len(got), err, ranges.Load())
		}
		reader.Close()

		f.Set("GET", "/blobs/", 99, cut(0))
		reader, err = c.OpenBlob(t.Context(), "team/app", blob)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(reader); err == nil || len(got) != 0 || f.Done() != 5 {
			t.Errorf("%s: a blob that always breaks off: %d bytes, %v, %d requests", kind, len(got), err, f.Done())
		}
		reader.Close()
	}
}

// A cutWriter ends the connection after a number of bytes of the body.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		_, _ = w.ResponseWriter.Write(p[:w.left])
		w.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

// A query may hold the state of an upload or a signature: no error shows it.
func TestErrorsHideQueries(t *testing.T) {
	var f fixtures.Trap
	r := registrytest.Start(t, &registrytest.Options{Wrap: f.Wrap})
	c := fixtures.Client(t, r, nil, nil)
	blob, b := fixtures.Content(t, 10)
	for name, spoil := range map[string]http.HandlerFunc{
		"an error":   fixtures.Status(400),
		"no answer":  reset,
		"a redirect": fixtures.Status(307, "Location", "http://127.0.0.1:1/bucket?signature=secret"),
	} {
		for _, method := range []string{"PUT", "GET"} {
			f.Set(method, "", 100, spoil)
			var err error
			if method == "PUT" {
				err = c.PutBlob(t.Context(), "a", blob, bytes.NewReader(b))
			} else {
				err = fixtures.First(c.Tags(t.Context(), "a", nil))
			}
			if f.Done() == 0 || err == nil || strings.Contains(err.Error(), "?") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s to %s: %v", name, method, err)
			}
		}
	}
}

// What a registry says besides no.
func TestErrors(t *testing.T) {
	var f fixtures.Trap
	r := registrytest.Start(t, &registrytest.Options{Wrap: f.Wrap})
	c := fixtures.Client(t, r, nil, nil)
	f.Set("GET", "/manifests/", 1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(429)
		_, _ = io.WriteString(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\ndown","detail":{"n":1}},{"code":"X","message":"y"}]}`)
	})
	_, _, err := c.Manifest(t.Context(), "a", "v1", nil)
	var answer *registry.Error
	if !errors.As(err, &answer) {
		t.Fatal(err)
	}
	if answer.Status != 429 || answer.RetryAfter != 2*time.Minute || len(answer.Details) != 2 || string(answer.Details[0].Detail) != `{"n":1}` {
		t.Errorf("%+v", answer)
	}
	if got, want := err.Error(), "429 Too Many Requests; TOOMANYREQUESTS: slow down; X: y (GET "+r.URL()+"/v2/a/manifests/v1)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, test := range []struct {
		status int
		body   string
		header []string
		is     error
	}{
		{404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, nil, registry.ErrNotFound},
		{401, `{"errors":[{"code":"UNAUTHORIZED"}]}`, nil, registry.ErrUnauthorized},
		{401, `{"errors":[{"code":"DENIED"}]}`, nil, registry.ErrDenied},
		{401, ``, []string{"WWW-Authenticate", `Bearer error="insufficient_scope"`}, registry.ErrDenied},
		{403, `no JSON`, nil, registry.ErrDenied},
		{405, ``, nil, registry.ErrUnsupported},
		{400, `{"errors":[{"code":"UNSUPPORTED"}]}`, nil, registry.ErrUnsupported},
		{429, ``, []string{"Retry-After", "99"}, registry.ErrThrottled},
		{304, ``, nil, registry.ErrNotModified},
		{418, ``, nil, nil},
	} {
		f.Set("GET", "/manifests/", 1, func(w http.ResponseWriter, req *http.Request) {
			fixtures.Status(test.status, test.header...)(w, req)
			_, _ = io.WriteString(w, test.body)
		})
		_, _, err := c.Manifest(t.Context(), "a", "v1", nil)
		for _, sentinel := range []error{registry.ErrNotFound, registry.ErrUnauthorized, registry.ErrDenied, registry.ErrUnsupported, registry.ErrThrottled, registry.ErrNotModified, registry.ErrMismatch} {
			if errors.Is(err, sentinel) != (sentinel == test.is) {
				t.Errorf("%d %s: %v is %v: %v", test.status, test.body, err, sentinel, errors.Is(err, sentinel))
			}
		}
	}
}
