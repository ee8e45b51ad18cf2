package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
)

// A layer of a gigabyte needs no more memory than a small one, in either direction.
func TestStreamsInConstantMemory(t *testing.T) {
	const bound = 24 << 20 // bytes of heap, all three processes of the test in one
	size := int64(1 << 30)
	if raceEnabled || testing.Short() {
		size = 64 << 20
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
			_, _ = io.Copy(w, &zeros{n: size})
			return
		}
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			t.Errorf("the registry got %d bytes: %v", n, err)
		}
		w.WriteHeader(http.StatusCreated)
	}))
	defer upstream.Close()
	r := start(t, upstream.URL, nil)
	c := client(t)
	for name, ask := range map[string]func() error{
		"download": func() error {
			resp, err := c.Get(r.url + "/v2/team/app/blobs/" + digestOf(nil))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
				t.Errorf("the client got %d bytes: %v", n, err)
			}
			return nil
		},
		"upload": func() error {
			req, err := http.NewRequest("PUT", r.url+"/v2/team/app/blobs/uploads/1?digest="+digestOf(nil), &zeros{n: size})
			if err != nil {
				return err
			}
			req.ContentLength = size
			resp, err := c.Do(req)
			if err != nil {
				return err
			}
			if resp.StatusCode != http.StatusCreated {
				t.Errorf("the client got %s", resp.Status)
			}
			return resp.Body.Close()
		},
	} {
		var before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		done := make(chan error, 1)
		go func() { done <- ask() }()
		var most uint64
		tick := time.NewTicker(10 * time.Millisecond)
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			case <-tick.C:
			}
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
		tick.Stop()
		if most > before.HeapAlloc+bound {
			t.Errorf("%s: the heap grew by %d MiB", name, (most-before.HeapAlloc)>>20)
		}
	}
	for direction, want := range map[string]float64{"in": float64(size), "out": float64(size)} {
		if got := r.metric(t, "regcast_proxy_bytes_total", direction); got != want {
			t.Errorf("counted %v bytes %s, want %v", got, direction, want)
		}
	}
	if n := r.metric(t, "regcast_proxy_inflight_requests"); n != 0 {
		t.Errorf("%v requests are under way", n)
	}
}

// What a registry says before its answer passes, in either version of HTTP, and leaves
// nothing behind in the answer.
func TestEarlyHints(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</hint>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "answer")
	}))
	defer upstream.Close()
	for _, http2 := range []bool{false, true} {
		r := newRig(t, upstream.URL, nil)
		r.server.EnableHTTP2 = http2
		r.server.StartTLS()
		var hints []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, h))
			return nil
		}})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.server.URL+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := []string{"103 map[Link:[</hint>]]"}; !slices.Equal(hints, want) {
			t.Errorf("HTTP/2 %v: %q, want %q", http2, hints, want)
		}
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Link") != "" || resp.ContentLength != 6 {
			t.Errorf("HTTP/2 %v: %s, %v, length %d", http2, resp.Status, resp.Header, resp.ContentLength)
		}
	}
}

// The size of a blob is known if the last request of its upload has no body, in either version
// of HTTP: that is how most clients end one.
func TestTheEndOfAnUploadWithoutABody(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", "/v2/team/app/blobs/uploads/1")
		w.WriteHeader(map[string]int{"POST": 202, "PATCH": 202, "PUT": 201}[r.Method])
	}))
	defer upstream.Close()
	for _, http2 := range []bool{false, true} {
		r := newRig(t, upstream.URL, nil)
		r.server.EnableHTTP2 = http2
		r.server.StartTLS()
		at, c := r.server.URL+"/v2/team/app/blobs/uploads/", r.server.Client()
		do(t, c, "POST", at, nil)
		do(t, c, "PATCH", at+"1", []byte("a layer"))
		do(t, c, "PUT", at+"1?digest="+digestOf([]byte("a layer")), nil)
		eventually(t, "an event", func() bool { return r.events.Len() == 1 })
		details, err := r.events.Events()[0].Details()
		if err != nil {
			t.Fatal(err)
		}
		if details.Target.Size != 7 || details.Remark.SizeUnknown {
			t.Errorf("HTTP/2 %v: %d bytes, unknown %v", http2, details.Target.Size, details.Remark.SizeUnknown)
		}
	}
}
