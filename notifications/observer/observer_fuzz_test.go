package observer_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
)

// FuzzObserver has a registry that answers anything to anything. Whatever it is, it passes,
// and no event says what cannot be.
func FuzzObserver(f *testing.F) {
	b, m := blob.String(), manifest.String()
	for _, s := range []struct {
		request string // lines of: method, target, header or body
		status  int
		answer  string // header
	}{
		{"GET /v2/a/b/manifests/v1\nAccept: x", 200, "Content-Type: " + ociManifest + "\nDocker-Content-Digest: " + m},
		{"HEAD /v2/a/b/blobs/" + b, 307, "Location: /x"},
		{"GET /v2/a/b/blobs/" + b, 206, "Content-Range: bytes 0-1/*"},
		{"PUT /v2/a/b/manifests/" + m + "?tag=v1\nContent-Type: " + ociManifest + "\n\n" + image, 201, "Oci-Tag: v1,v2"},
		{"POST /v2/a/b/blobs/uploads/?mount=" + b + "&from=c", 201, "Location: /v2/a/b/blobs/" + b},
		{"POST /v2/a/b/blobs/uploads/\nContent-Type: application/x-www-form-urlencoded\n\nmount=" + b, 201, "Location: /v2/a/b/blobs/" + b},
		{"POST /v2/a/b/blobs/uploads/", 202, "Location: /v2/a/b/manifests/v1?x#y\nRange: 0-7"},
		{"PATCH /v2/a/b/blobs/uploads/1\n\nhello", 202, "Location: //x/y\nRange: 0-99999999999999999999"},
		{"PUT /v2/a/b/blobs/uploads/1?digest=" + b + "&digest=" + m, 204, "Content-Length: -1"},
		{"DELETE /v2/a/b/manifests/" + m, 202, ""},
		{"DELETE /v2/a/b/tags/reference/v1", 202, ""},
		{"DELETE /api/v2.0/projects/a/repositories/b%252Fc", 200, ""},
		{"GET /v2/a%2Fb/manifests/%2e%2e\nAuthorization: Bearer e30.eyJzdWIiOiJhIn0.c2ln", 416, "Etag: \"" + m + "\""},
	} {
		f.Add(s.request, s.status, s.answer)
	}
	f.Fuzz(func(t *testing.T, request string, status int, answer string) {
		if status < 200 || status > 999 {
			return
		}
		var rec notificationstest.Recorder
		o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			addHeader(w.Header(), answer)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, image)
		}), &rec, notifications.SourceRecord{}, &observer.Options{
			IncludeReferences: true, Parity: observer.Strict,
			Extra: []func(*http.Request) (observer.Deletion, bool){observer.GitLabRoutes, observer.HarborRoutes},
		})
		r := parseRequest(request)
		if r == nil {
			return
		}
		for range 2 { // a second time with what the first has left
			w := httptest.NewRecorder()
			o.ServeHTTP(w, r.Clone(context.Background()))
			if w.Code != status {
				t.Errorf("status %d, not %d", w.Code, status)
			}
			r.Body = http.NoBody
		}
		if err := o.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, e := range rec.Events() {
			checkEvent(t, e)
		}
	})
}

// parseRequest reads the fuzzer's request, nil if a server would not have let it through.
func parseRequest(s string) *http.Request {
	head, body, _ := strings.Cut(s, "\n\n")
	line, header, _ := strings.Cut(head, "\n")
	method, target, _ := strings.Cut(line, " ")
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	r := &http.Request{
		Method: method, URL: u, Host: "registry.example", RequestURI: target, RemoteAddr: "192.0.2.7:1",
		Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
	addHeader(r.Header, header)
	return r
}

func addHeader(h http.Header, lines string) {
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ": ")
		h.Add(name, value)
	}
}

// checkEvent fails if e is none that receivers could read, or says what is impossible.
func checkEvent(t *testing.T, e *notifications.Event) {
	t.Helper()
	if !notifications.KnownAction(e.Action) {
		t.Errorf("action %q", e.Action)
	}
	if _, err := reference.WithName(e.Repository); err != nil {
		t.Errorf("repository %q: %v", e.Repository, err)
	}
	if e.Tag != "" {
		if named, err := reference.WithName(e.Repository); err == nil {
			if _, err := reference.WithTag(named, e.Tag); err != nil {
				t.Errorf("tag %q: %v", e.Tag, err)
			}
		}
	}
	d, err := e.Details()
	if err != nil {
		t.Fatal(err)
	}
	checkDigest(t, e.Digest, e.Action != notifications.ActionDelete)
	for _, r := range d.Target.References {
		checkDigest(t, r.Digest, true)
	}
	if d.Target.FromRepository != "" {
		if _, err := reference.WithName(d.Target.FromRepository); err != nil {
			t.Errorf("from %q: %v", d.Target.FromRepository, err)
		}
	}
	if d.Target.Size < 0 || len(d.Target.MediaType) > 255 || len(e.Actor) > 255 {
		t.Errorf("event %+v", d)
	}
	again := notifications.Decode(notifications.AppendEnvelope(nil, []*notifications.Event{e}), nil)
	if len(again.Events) != 1 {
		t.Errorf("%s cannot be read again: %+v", brief(t, e), again)
	}
}

func checkDigest(t *testing.T, d digest.Digest, needed bool) {
	t.Helper()
	if d == "" && !needed {
		return
	}
	if err := d.Validate(); err != nil && err != digest.ErrDigestUnsupported {
		t.Errorf("digest %q: %v", d, err)
	}
}
