package observer_test

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
	"github.com/regcast/regcast/notifications/observer/cache"
)

// An Observer's own memory of descriptors is counted and measured where it is made; nobody
// else could.
func TestOwnDescriptorsAreMeasured(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet: // which does not tell of the blob
			w.Header().Set("Location", "http://elsewhere.example/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case http.MethodDelete:
			w.WriteHeader(http.StatusAccepted)
		default:
			w.Header().Set("Content-Length", "22")
			w.Header().Set("Docker-Content-Digest", blob.String())
		}
	}), &notificationstest.Recorder{}, notifications.SourceRecord{}, &observer.Options{Registerer: reg})
	for _, method := range []string{"GET", "HEAD", "GET", "GET", "DELETE"} {
		o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/v2/a/b/blobs/"+blob.String(), nil))
	}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"requests": 3, "misses": 1, "hits": 2, "errors": 0} {
		if got := metric(t, reg, "regcast_descriptor_cache_"+name+"_total"); got != want {
			t.Errorf("%v %s, want %v", got, name, want)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	measured := make(map[string]uint64)
	for _, f := range families {
		if f.GetName() == "regcast_descriptor_cache_operation_seconds" {
			for _, m := range f.Metric {
				measured[m.Label[0].GetValue()] = m.GetHistogram().GetSampleCount()
			}
		}
	}
	if want := (map[string]uint64{"stat": 3, "set": 1, "clear": 1}); !maps.Equal(measured, want) {
		t.Errorf("measured %v, want %v", measured, want)
	}
}

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
