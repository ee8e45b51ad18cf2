package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// inFlight counts the requests that a handler serves.
type inFlight struct {
	next http.Handler
	busy chan struct{}
}

func counting(next http.Handler) *inFlight { return &inFlight{next, make(chan struct{}, 64)} }

func (f *inFlight) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.busy <- struct{}{}
	defer func() { <-f.busy }()
	f.next.ServeHTTP(w, r)
}

// A client that goes away after any byte of an upload leaves behind the same registry,
// with a proxy before it or without.
func TestUploadsAbortedAtEveryByte(t *testing.T) {
	const blob = "0123456789abcdef"
	type place struct {
		host string
		busy *inFlight
	}
	wrapped := func() (string, *inFlight) {
		var busy *inFlight
		r := registrytest.Start(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
			busy = counting(next)
			return busy
		}})
		return r.Host(), busy
	}
	host, busy := wrapped()
	direct := place{host, busy}
	host, busy = wrapped()
	proxied := place{start(t, "http://"+host, nil).host, busy}
	c := client(t)

	// try aborts after k bytes of the body and returns what is there then.
	try := func(p place, method string, chunked bool, k int) string {
		repo := fmt.Sprintf("r-%s-%v-%d", strings.ToLower(method), chunked, k)
		resp, _ := do(t, c, "POST", "http://"+p.host+"/v2/"+repo+"/blobs/uploads/", nil)
		loc, err := resp.Location()
		if err != nil {
			t.Fatal(err)
		}
		target := loc.RequestURI()
		if method == "PUT" {
			target += "&digest=" + digestOf([]byte(blob))
		}
		conn := dial(t, p.host)
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, p.host)
		if chunked {
			fmt.Fprintf(conn, "Transfer-Encoding: chunked\r\n\r\n")
			for _, b := range blob[:k] {
				fmt.Fprintf(conn, "1\r\n%c\r\n", b)
			}
		} else {
			fmt.Fprintf(conn, "Content-Length: %d\r\n\r\n%s", len(blob), blob[:k])
		}
		eventually(t, "the request arrives", func() bool { return len(p.busy.busy) > 0 || !chunked && k == len(blob) })
		conn.Close()
		eventually(t, "the registry is done with it", func() bool { return len(p.busy.busy) == 0 })
		state := ""
		if chunked || k < len(blob) {
			resp, body := do(t, c, "GET", "http://"+p.host+loc.RequestURI(), nil)
			state = fmt.Sprintf("upload %d %s %s", resp.StatusCode, resp.Header.Get("Range"), normalize(p.host, string(body)))
		}
		get := func() (*http.Response, []byte) {
			return do(t, c, "GET", "http://"+p.host+"/v2/"+repo+"/blobs/"+digestOf([]byte(blob)), nil)
		}
		if method == "PUT" && !chunked && k == len(blob) {
			eventually(t, "the blob is there", func() bool { resp, _ := get(); return resp.StatusCode == 200 })
		}
		resp, body := get()
		return fmt.Sprintf("%s; blob %d %s", state, resp.StatusCode, body)
	}
	for _, method := range []string{"PATCH", "PUT"} {
		for _, chunked := range []bool{false, true} {
			for k := range len(blob) + 1 {
				if want, got := try(direct, method, chunked, k), try(proxied, method, chunked, k); got != want {
					t.Errorf("%s, chunked %v, %d bytes:\ndirect  %s\nproxied %s", method, chunked, k, want, got)
				}
			}
		}
	}
}

// A client that goes away when it has sent all of a change makes an event all the same,
// as the registry completes it.
func TestAChangeOutlivesItsClient(t *testing.T) {
	const blob = "0123456789abcdef"
	for _, test := range []struct {
		name   string
		method string
		body   string
		action string
	}{
		{"PUT of a blob", "PUT", blob, notifications.ActionPush},
		{"PUT of a manifest", "PUT", manifestOf("{}", blob), notifications.ActionPush},
		{"DELETE", "DELETE", "", notifications.ActionDelete},
		{"mount", "POST", "", notifications.ActionMount},
	} {
		t.Run(test.name, func(t *testing.T) {
			arrived, release := make(chan context.Context, 1), make(chan struct{})
			var hold atomic.Bool
			registry := registrytest.Start(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !hold.Load() {
						next.ServeHTTP(w, r)
						return
					}
					body, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(strings.NewReader(string(body)))
					arrived <- r.Context()
					<-release
					if r.Context().Err() == nil {
						next.ServeHTTP(w, r)
					}
				})
			}})
			gone := make(chan struct{}) // when the proxy's server has seen the client go
			r := newRig(t, registry.URL(), nil)
			r.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if hold.Load() {
					context.AfterFunc(req.Context(), func() { close(gone) })
				}
				r.proxy.ServeHTTP(w, req)
			})
			r.server.Start()
			r.host = r.server.Listener.Addr().String()
			c := client(t)
			base := "http://" + r.host
			upload(t, c, base, "other", []byte(blob))
			upload(t, c, base, "team/app", []byte("{}"))
			dgst := digestOf([]byte(blob))
			target := "/v2/team/app/blobs/uploads/?mount=" + dgst + "&from=other"
			header := ""
			switch test.name {
			case "PUT of a blob":
				resp, _ := do(t, c, "POST", base+"/v2/team/app/blobs/uploads/", nil)
				loc, _ := resp.Location()
				target = loc.RequestURI() + "&digest=" + dgst
			case "PUT of a manifest":
				upload(t, c, base, "team/app", []byte(blob))
				target, header = "/v2/team/app/manifests/v1", "Content-Type: "+manifestType+"\r\n"
			case "DELETE":
				upload(t, c, base, "team/app", []byte(blob))
				target = "/v2/team/app/blobs/" + dgst
			}
			before := len(r.events.Events())
			hold.Store(true)
			conn := dial(t, r.host)
			fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n%s", test.method, target, r.host, header, len(test.body), test.body)
			ctx := <-arrived
			conn.Close()
			<-gone
			select {
			case <-ctx.Done():
				t.Error("the registry sees the client go")
			case <-time.After(50 * time.Millisecond):
			}
			close(release)
			eventually(t, "an event", func() bool { return len(r.events.Events()) > before })
			if e := r.events.Events()[before]; e.Action != test.action {
				t.Errorf("got %s", e.Action)
			}
		})
	}
}

// Whoever only reads takes the request along.
func TestAReadEndsWithItsClient(t *testing.T) {
	arrived, cancelled := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(cancelled)
	}))
	defer upstream.Close()
	r := start(t, upstream.URL, nil)
	conn := dial(t, r.host)
	fmt.Fprintf(conn, "GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	conn.Close()
	<-cancelled
	eventually(t, "it is counted", func() bool { return r.metric(t, "regcast_proxy_requests_total", "manifest", "none") == 1 })
	if n := r.metric(t, "regcast_proxy_upstream_errors_total"); n != 0 {
		t.Errorf("counted %v errors of the registry, which has done nothing wrong", n)
	}
	if n := len(r.events.Events()); n != 0 {
		t.Errorf("%d events", n)
	}
}

func TestDownloadsAbortedHalfWay(t *testing.T) {
	ended := make(chan error, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(1<<30))
		_, err := io.Copy(w, &zeros{n: 1 << 30})
		ended <- err
	}))
	defer upstream.Close()
	r := start(t, upstream.URL, nil)
	conn := dial(t, r.host)
	fmt.Fprintf(conn, "GET /v2/team/app/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n", digestOf(nil))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-ended; err == nil {
		t.Error("the registry has sent all")
	}
	eventually(t, "an event", func() bool { return len(r.events.Events()) == 1 })
	if e := r.events.Events()[0]; e.Action != notifications.ActionPull {
		t.Errorf("got %s", e.Action)
	}
	if n := r.metric(t, "regcast_proxy_upstream_errors_total"); n != 0 {
		t.Errorf("counted %v errors of the registry, which has done nothing wrong", n)
	}
}

// The client of an upload that goes through is told what the registry says, even if that
// comes before all was sent.
func TestExpectContinue(t *testing.T) {
	const size = 1 << 20
	read := make(chan int64, 1)
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://token.example/t",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
			read <- 0
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
		read <- n
	}))
	defer registry.Close()
	r := start(t, registry.URL, func(o *proxy.Options) { o.PublicURL = nil })
	for _, test := range []struct {
		name, authorization string
		first, last         int
	}{
		{"early 401", "", 0, 401},
		{"100 and 201", "Authorization: Basic eDp5\r\n", 100, 201},
	} {
		conn := dial(t, r.host)
		fmt.Fprintf(conn, "PUT /v2/team/app/blobs/uploads/1?digest=%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n%sContent-Length: %d\r\n\r\n",
			digestOf(nil), test.authorization, size)
		answers := bufio.NewReader(conn)
		next := func() int {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		if test.first != 0 {
			if got := next(); got != test.first {
				t.Errorf("%s: first %d", test.name, got)
			}
			if _, err := io.CopyN(conn, &zeros{n: size}, size); err != nil {
				t.Fatal(err)
			}
		}
		if got := next(); got != test.last {
			t.Errorf("%s: %d", test.name, got)
		}
		if n := <-read; n != 0 && n != size {
			t.Errorf("%s: the registry has read %d bytes", test.name, n)
		}
	}
}

// In HTTP/2 a client can take a request back although its connection stays.
func TestAChangeOutlivesItsStream(t *testing.T) {
	for _, test := range []struct{ method, body string }{{"PUT", "{}"}, {"DELETE", ""}} {
		arrived, release := make(chan context.Context, 1), make(chan struct{})
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			arrived <- r.Context()
			<-release
			w.Header().Set("Docker-Content-Digest", digestOf([]byte(test.body)))
			w.WriteHeader(http.StatusCreated)
		}))
		t.Cleanup(upstream.Close)
		gone := make(chan struct{})
		r := newRig(t, upstream.URL, nil)
		r.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			context.AfterFunc(req.Context(), func() { close(gone) })
			r.proxy.ServeHTTP(w, req)
		})
		r.server.EnableHTTP2 = true
		r.server.StartTLS()
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, test.method, r.server.URL+"/v2/team/app/manifests/v1", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", manifestType)
		done := make(chan error, 1)
		go func() {
			resp, err := r.server.Client().Do(req)
			if err == nil {
				resp.Body.Close()
			}
			done <- err
		}()
		behind := <-arrived
		cancel()
		if err := <-done; err == nil {
			t.Errorf("%s: the client has got an answer", test.method)
		}
		<-gone
		select {
		case <-behind.Done():
			t.Errorf("%s: the registry sees the client go", test.method)
		case <-time.After(50 * time.Millisecond):
		}
		close(release)
		eventually(t, "an event of a "+test.method, func() bool { return len(r.events.Events()) == 1 })
	}
}
