package observer_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
	"github.com/regcast/regcast/notifications/observer/cache"
)

// What another proxy that shares the cache has seen is not replaced by what a manifest says.
func TestSeenByAnotherObserver(t *testing.T) {
	remembered := cache.NewMemory(100)
	lie := strings.Replace(image, `"size":22`, `"size":999999`, 1)
	for _, ask := range []func() *http.Request{
		func() *http.Request {
			return httptest.NewRequest("POST", "/v2/a/blobs/uploads/?digest="+blob.String(), strings.NewReader(blobContent))
		},
		func() *http.Request {
			r := httptest.NewRequest("PUT", "/v2/a/manifests/v1", strings.NewReader(lie))
			r.Header.Set("Content-Type", ociManifest)
			return r
		},
	} {
		o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		}), &notificationstest.Recorder{}, notifications.SourceRecord{}, &observer.Options{Descriptors: remembered})
		o.ServeHTTP(httptest.NewRecorder(), ask())
		if err := o.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	repository, err := remembered.Repository("a")
	if err != nil {
		t.Fatal(err)
	}
	if desc, err := repository.Stat(t.Context(), blob); err != nil || desc.Size != 22 {
		t.Errorf("%+v, %v", desc, err)
	}
}

// A cache loses entries: they expire, are evicted or flushed, and other proxies have them
// forgotten. It is told again after some minutes, and not with each request before.
func TestLostDescriptorsAreLearnedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dgst := digest.FromString("layer")
		registry := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				w.Header().Set("Location", "http://elsewhere.example/")
				w.WriteHeader(http.StatusTemporaryRedirect)
				return
			}
			w.Header().Set("Content-Length", "1234")
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Docker-Content-Digest", dgst.String())
		})
		remembered, recorder := cache.NewMemory(100), &notificationstest.Recorder{}
		o := observer.New(registry, recorder, notifications.SourceRecord{}, &observer.Options{Descriptors: remembered})
		repository, err := remembered.Repository("a/b")
		if err != nil {
			t.Fatal(err)
		}
		ask := func(method string) {
			o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/v2/a/b/blobs/"+dgst.String(), nil))
		}
		known := func() bool {
			ask(http.MethodHead)
			_, err := repository.Stat(t.Context(), dgst)
			return err == nil
		}
		lose := func() {
			if err := repository.Clear(t.Context(), dgst); err != nil && !errors.Is(err, cache.ErrUnknown) {
				t.Fatal(err)
			}
		}
		if !known() {
			t.Fatal("a HEAD is not remembered")
		}
		// When it is told again differs by entry.
		told := 0
		for range 60 {
			lose()
			time.Sleep(time.Minute)
			if known() {
				told++
			}
		}
		if told != 12 {
			t.Errorf("told %d times in an hour, want every 5 minutes", told)
		}
		lose()
		time.Sleep(6 * time.Minute)
		ask(http.MethodHead)
		ask(http.MethodGet)
		if err := o.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		events := recorder.Events()
		last := events[len(events)-1]
		if d, err := last.Details(); err != nil || d.Request.Method != http.MethodGet || d.Target.Size != 1234 {
			t.Errorf("%s, %v: want a size of 1234", last.AppendJSON(nil), err)
		}
	})
}
