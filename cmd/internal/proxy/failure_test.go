package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy"
)

// speak starts a server that does what it is told with each connection.
func speak(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return "http://" + l.Addr().String()
}

// say answers whatever comes.
func say(answer string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<16))
		_, _ = io.WriteString(c, answer)
	}
}

func closed(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestARegistryThatFails(t *testing.T) {
	hang := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) } // until the proxy gives up
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	defer secure.Close()
	for _, test := range []struct {
		name     string
		upstream string
		reason   string // or several, of which each error has one
		status   int
	}{
		{"down", closed(t), "connect", 502},
		{"hangs", speak(t, hang), "timeout", 504},
		{"closes", speak(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<16)) }), "protocol", 502},
		{"resets", speak(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<16))
			_ = c.(*net.TCPConn).SetLinger(0)
		}), "protocol", 502},
		{"resets at once", speak(t, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }), "connect protocol", 502}, // as the kernel has it
		{"answers garbage", speak(t, say("SSH-2.0-OpenSSH\r\n\r\n")), "protocol", 502},
		{"answers half a header", speak(t, say("HTTP/1.1 200 OK\r\nContent-Le")), "protocol", 502},
		{"switches protocols", speak(t, say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")), "protocol", 502},
		{"has a header without end", speak(t, say("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2<<20)+"\r\n\r\n")), "protocol", 502},
		{"speaks no TLS", strings.Replace(speak(t, say("HTTP/1.1 200 OK\r\n\r\n")), "http:", "https:", 1), "tls", 502},
		{"has a certificate of nobody's", secure.URL, "tls", 502},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			r := start(t, test.upstream, func(o *proxy.Options) {
				if test.reason == "timeout" {
					o.Timeouts.Metadata, o.Timeouts.Commit = 50*time.Millisecond, 50*time.Millisecond
				}
				o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			for _, method := range []string{"GET", "PUT", "HEAD"} {
				resp, body := do(t, client(t), method, r.url+"/v2/team/app/tags/list", nil)
				if resp.StatusCode != test.status {
					t.Fatalf("%s: %s %s", method, resp.Status, body)
				}
				if v := resp.Header.Get("Docker-Distribution-API-Version"); v != "registry/2.0" {
					t.Errorf("%s: API version %q", method, v)
				}
				var doc struct {
					Errors []struct{ Code, Message string }
				}
				if method == "HEAD" {
					if len(body) != 0 || resp.ContentLength <= 0 {
						t.Errorf("HEAD: %d %q", resp.ContentLength, body)
					}
				} else if err := json.Unmarshal(body, &doc); err != nil || len(doc.Errors) != 1 || doc.Errors[0].Code != "UNAVAILABLE" || resp.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s: %v %s", method, resp.Header, body)
				}
				if strings.Contains(string(body), "127.0.0.1") || strings.Contains(string(body), "x509") {
					t.Errorf("it tells too much: %s", body)
				}
			}
			var n float64
			for reason := range strings.FieldsSeq(test.reason) {
				n += r.metric(t, "regcast_proxy_upstream_errors_total", reason)
			}
			if n != 3 {
				t.Errorf("counted %v errors for %s of %v", n, test.reason, r.metric(t, "regcast_proxy_upstream_errors_total"))
			}
			if n := r.metric(t, "regcast_proxy_requests_total", "tags", "5xx"); n != 3 {
				t.Errorf("counted %v requests", n)
			}
			if n := strings.Count(log.String(), "\n"); n != 1 {
				t.Errorf("3 failures are %d lines in the log:\n%s", n, log.String())
			}
			if n := len(r.events.Events()); n != 0 {
				t.Errorf("%d events of what never happened", n)
			}
		})
	}
}

// A change whose connection to the registry dies is not sent again, whatever its client
// says of that: the registry may have made it.
func TestAChangeIsSentOnce(t *testing.T) {
	for _, method := range []string{"DELETE", "POST", "PUT"} {
		for _, name := range []string{"", "Idempotency-Key", "X-Idempotency-Key"} {
			for _, body := range []string{"", "x"} {
				changes := make(chan http.Header, 8)
				r := start(t, speak(t, func(c net.Conn) {
					in := bufio.NewReader(c)
					for {
						req, err := http.ReadRequest(in)
						if err != nil {
							return
						}
						_, _ = io.Copy(io.Discard, req.Body)
						if req.Method == method {
							changes <- req.Header
							return
						}
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				}), nil)
				c := client(t)
				do(t, c, "GET", r.url+"/v2/", nil) // only on a connection that has been of use are requests sent again
				var header []string
				if name != "" {
					header = []string{name, "17"}
				}
				if resp, _ := do(t, c, method, r.url+"/v2/team/app/blobs/uploads/1", []byte(body), header...); resp.StatusCode != http.StatusBadGateway {
					t.Errorf("%s, %q, body %q: %s", method, name, body, resp.Status)
				}
				if len(changes) != 1 {
					t.Errorf("%s, %q, body %q: the registry got it %d times", method, name, body, len(changes))
				}
				if got := (<-changes).Get(name); name != "" && got != "17" {
					t.Errorf("%s, body %q: the registry got %s %q", method, body, name, got)
				}
			}
		}
	}
}

// What breaks off, breaks off for the client, too.
func TestAnswersThatBreakOff(t *testing.T) {
	for name, test := range map[string]struct{ answer, reason string }{
		"shorter than announced": {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "broken"},
		"within a chunk":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nshort", "broken"},
		"no last chunk":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", "broken"},
		"no chunk":               {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nshort\r\n", "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, speak(t, say(test.answer)), nil)
			resp, err := client(t).Get(r.url + "/v2/team/app/blobs/" + digestOf(nil))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Error("the client sees a whole answer")
			}
			eventually(t, "the error is counted", func() bool { return r.metric(t, "regcast_proxy_upstream_errors_total", test.reason) == 1 })
		})
	}
	t.Run("longer than announced", func(t *testing.T) {
		r := start(t, speak(t, say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort and more")), nil)
		if resp, body := do(t, client(t), "GET", r.url+"/v2/", nil); resp.StatusCode != 200 || string(body) != "short" {
			t.Errorf("got %s %q", resp.Status, body)
		}
	})
}

// A client that stands still is not waited for when the registry has broken off what it
// answered early, or it would wait for the rest of the answer as long.
func TestAnAnswerThatBreaksOffBeforeTheRequestHasCome(t *testing.T) {
	r := start(t, speak(t, say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 10\r\n\r\nabc")), nil)
	c := dial(t, r.host)
	fmt.Fprintf(c, "PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusUnauthorized || string(body) != "abc" || err != io.ErrUnexpectedEOF {
		t.Errorf("got %s %q, %v", resp.Status, body, err)
	}
}

func TestIdle(t *testing.T) {
	const idle = 200 * time.Millisecond
	impatient := func(o *proxy.Options) { o.Timeouts.Idle = idle }

	t.Run("a registry that stops giving", func(t *testing.T) {
		r := start(t, speak(t, func(c net.Conn) {
			say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")(c)
			_, _ = io.Copy(io.Discard, c)
		}), impatient)
		resp, err := client(t).Get(r.url + "/v2/")
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Error("the client sees a whole answer")
		}
		eventually(t, "the error is counted", func() bool { return r.metric(t, "regcast_proxy_upstream_errors_total", "broken") == 1 })
	})
	t.Run("a registry that stops taking", func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		r := start(t, speak(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 100))
			<-stop
		}), impatient)
		req, _ := http.NewRequest("PATCH", r.url+"/v2/team/app/blobs/uploads/1", &zeros{n: 1 << 30})
		req.ContentLength = 1 << 30
		resp, err := client(t).Do(req)
		if err == nil { // else the proxy has closed the connection before all was sent
			resp.Body.Close()
			if resp.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("got %s", resp.Status)
			}
		}
		eventually(t, "the error is counted", func() bool { return r.metric(t, "regcast_proxy_upstream_errors_total", "idle") == 1 })
	})
	t.Run("a client that stops sending", func(t *testing.T) {
		r := start(t, speak(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), impatient)
		c := dial(t, r.host)
		fmt.Fprintf(c, "PATCH /v2/team/app/blobs/uploads/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nshort")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %s", resp.Status)
		}
		if n := r.metric(t, "regcast_proxy_upstream_errors_total"); n != 0 {
			t.Errorf("counted %v errors of the registry, which has done nothing wrong", n)
		}
	})
	t.Run("a client that stops sending what nobody wants", func(t *testing.T) {
		r := start(t, closed(t), impatient)
		c := dial(t, r.host)
		fmt.Fprintf(c, "PATCH /v2//team/app/blobs/uploads/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nshort")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("got %s", resp.Status)
		}
	})
	t.Run("a client that stops taking", func(t *testing.T) {
		done := make(chan error, 1)
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(w, &zeros{n: 1 << 30})
			done <- err
		}))
		t.Cleanup(upstream.Close)
		r := start(t, upstream.URL, impatient)
		c := dial(t, r.host)
		fmt.Fprintf(c, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
		select {
		case err := <-done:
			if err == nil {
				t.Error("it took all")
			}
		case <-time.After(patience):
			t.Error("the proxy waits for ever")
		}
	})
	t.Run("slow but steady", func(t *testing.T) {
		t.Parallel()
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		}))
		t.Cleanup(upstream.Close)
		const timeout = 4 * time.Second // a machine that stands still for so long is none to test on
		r := start(t, upstream.URL, func(o *proxy.Options) {
			o.Timeouts.Idle, o.Timeouts.Metadata, o.Timeouts.Commit = timeout, timeout, timeout
		})
		body, pipe := io.Pipe()
		const pieces = 30
		go func() {
			tick := time.NewTicker(timeout / 24)
			defer tick.Stop()
			for range pieces { // in all longer than every timeout
				<-tick.C
				_, _ = io.WriteString(pipe, "x")
			}
			pipe.Close()
		}()
		resp, err := client(t).Post(r.url+"/v2/team/app/blobs/uploads/", "", body)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != strings.Repeat("x", pieces) {
			t.Errorf("got %s %q %v", resp.Status, got, err)
		}
	})
	t.Run("idle between requests", func(t *testing.T) { // deadlines of one request do not hit the next
		t.Parallel()
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		}))
		t.Cleanup(upstream.Close)
		const timeout = 4 * time.Second
		r := start(t, upstream.URL, func(o *proxy.Options) { o.Timeouts.Idle = timeout })
		c := dial(t, r.host)
		answers := bufio.NewReader(c)
		for i := range 2 {
			if i > 0 {
				<-time.After(timeout + timeout/10)
			}
			fmt.Fprintf(c, "POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "x" {
				t.Errorf("got %s %q %v", resp.Status, got, err)
			}
			resp.Body.Close()
		}
	})
}

// What changes something has more time than others: were it cut off, its event would be
// lost.
func TestTimeoutsByClass(t *testing.T) {
	const metadata = 150 * time.Millisecond
	var answers atomic.Bool // else it never does
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if !answers.Load() {
			<-r.Context().Done()
			return
		}
		<-time.After(2 * metadata)
	}))
	defer upstream.Close()
	r := start(t, upstream.URL, func(o *proxy.Options) { o.Timeouts.Metadata = metadata })
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/v2/", 504},
		{"GET", "/v2/team/app/tags/list", 504},
		{"HEAD", "/v2/team/app/blobs/" + digestOf(nil), 504},
		{"DELETE", "/v2/team/app/manifests/latest", 200},
		{"DELETE", "/v2/team/app/blobs/" + digestOf(nil), 200},
		{"DELETE", "/v2/team/app/tags/reference/latest", 200},
		{"DELETE", "/api/v2.0/projects/team/repositories/app", 200},
		{"PUT", "/v2/team/app/blobs/uploads/1?digest=" + digestOf(nil), 200},
		{"POST", "/v2/team/app/blobs/uploads/?digest=" + digestOf(nil), 200},
		{"PUT", "/v2/team/app/manifests/latest", 200},
		{"PUT", "/artifacts-uploads/1", 200},
	} {
		answers.Store(test.want == http.StatusOK)
		for _, body := range []string{"", "x"} {
			if resp, _ := do(t, client(t), test.method, r.url+test.path, []byte(body)); resp.StatusCode != test.want {
				t.Errorf("%s %s: %s, want %d", test.method, test.path, resp.Status, test.want)
			}
		}
	}
}

// A request in flight is waited for, and cut when there is no more time.
func TestShutdown(t *testing.T) {
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer upstream.Close()
	r := start(t, upstream.URL, nil)
	answer := make(chan int, 2)
	ask := func() {
		w := httptest.NewRecorder()
		r.proxy.ServeHTTP(w, httptest.NewRequest("DELETE", "/v2/team/app/manifests/latest", nil))
		answer <- w.Code
	}
	go ask()
	<-arrived
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- r.proxy.Shutdown(ctx) }()
	eventually(t, "new requests are refused", func() bool {
		w := httptest.NewRecorder()
		r.proxy.ServeHTTP(w, httptest.NewRequest("TRACE", "/v2/", nil))
		return w.Code == http.StatusServiceUnavailable
	})
	select {
	case err := <-ended:
		t.Fatalf("Shutdown returned %v while a request was under way", err)
	default:
	}
	cancel()
	if got := <-answer; got != http.StatusServiceUnavailable {
		t.Errorf("the request that was cut got %d", got)
	}
	<-ended // with the observer's word on its events
	if n := r.metric(t, "regcast_proxy_upstream_errors_total"); n != 0 {
		t.Errorf("counted %v errors of the registry, which has done nothing wrong", n)
	}
	if err := r.proxy.Shutdown(context.Background()); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// A client that neither reads nor sends any more does not hold up a Drain whose time is
// over, and whoever waits for an answer then gets one.
func TestDrainCutsClientsThatStandStill(t *testing.T) {
	for name, test := range map[string]struct {
		request string
		serve   http.HandlerFunc
		status  int // of the answer
	}{
		"one that does not read": {
			"GET /v2/team/app/blobs/" + digestOf(nil) + " HTTP/1.1\r\nHost: x\r\n\r\n",
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, &zeros{n: 1 << 40}) },
			http.StatusOK,
		},
		"one that does not send": {
			"PATCH /v2/team/app/blobs/uploads/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nshort",
			func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
			http.StatusServiceUnavailable,
		},
		"one that waits for an answer": {
			"DELETE /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n",
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			http.StatusServiceUnavailable,
		},
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{})
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				test.serve(w, r)
			}))
			t.Cleanup(upstream.Close)
			r := start(t, upstream.URL, nil)
			conn := dial(t, r.host)
			_, _ = io.WriteString(conn, test.request)
			<-arrived
			<-time.After(200 * time.Millisecond) // until buffers are full
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				r.proxy.Drain(ctx)
			}()
			select {
			case <-ended:
			case <-time.After(patience):
				t.Error("Drain hangs")
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.status {
				t.Errorf("the client got %s, want %d", resp.Status, test.status)
			}
		})
	}
}

// zeros is a reader of n zeros that are nowhere in memory.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	clear(p[:n])
	z.n -= n
	return int(n), nil
}

// Several proxies count side by side.
func TestTwoProxiesInOneProcess(t *testing.T) {
	first := start(t, closed(t), nil)
	second := start(t, closed(t), func(o *proxy.Options) { o.Name, o.Registerer = "other", first.metrics })
	do(t, client(t), "GET", second.url+"/v2/", nil)
	if n := first.metric(t, "regcast_proxy_requests_total", "other", "5xx"); n != 1 {
		t.Errorf("counted %v requests of the second", n)
	}
	if n := first.metric(t, "regcast_proxy_requests_total", "main", "5xx"); n != 0 {
		t.Errorf("counted %v requests of the first", n)
	}
}
