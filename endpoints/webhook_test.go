package endpoints_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

var batch = notificationstest.Pushes(1, 1, "team/app")

func newWebhook(t *testing.T, url string, opts *endpoints.Options) *endpoints.Webhook {
	t.Helper()
	w, err := endpoints.NewWebhook(url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Shutdown(context.Background()) })
	return w
}

// receive starts an HTTP receiver.
func receive(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

// listen starts a receiver that speaks for itself on each connection.
func listen(t *testing.T, speak func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			speak(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// readRequest reads one request with a body from c, and reports whether there was one.
func readRequest(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	var got []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if bytes.HasSuffix(got, []byte("]}")) {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// deliveryError makes sure that err is one.
func deliveryError(t *testing.T, err error) *endpoints.DeliveryError {
	t.Helper()
	var e *endpoints.DeliveryError
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *DeliveryError", err)
	}
	return e
}

// mustFail writes batch and checks how that fails.
func mustFail(t *testing.T, w *endpoints.Webhook, class endpoints.Class, code string) *endpoints.DeliveryError {
	t.Helper()
	e := deliveryError(t, w.Write(context.Background(), batch))
	if e.Class != class || e.Code() != code {
		t.Errorf("%v: class %v, code %s, want %v, %s", e, e.Class, e.Code(), class, code)
	}
	return e
}

// TestRequest compares what comes over the wire with golden bytes.
func TestRequest(t *testing.T) {
	one := batch
	two := notificationstest.Pushes(1, 2, "team/app")
	attempt := sinks.Attempt{Number: 3, First: 41, Last: 42, OutOfOrder: true, Replay: "job7"}
	for _, c := range []struct {
		name  string
		opts  *endpoints.Options
		ctx   context.Context
		batch []*notifications.Event
		body  []byte
		want  []string // the header lines, sorted by net/http
	}{
		{"plain", nil, context.Background(), one, notifications.AppendEnvelope(nil, one), []string{
			"Content-Type: application/vnd.docker.distribution.events.v2+json",
			"User-Agent: regcast",
		}},
		{"attempt", &endpoints.Options{Version: "1.2.3", Authorization: endpoints.SecretString("Bearer hidden-token")},
			sinks.WithAttempt(context.Background(), attempt), two, notifications.AppendEnvelope(nil, two), []string{
				"Authorization: Bearer hidden-token",
				"Content-Type: application/vnd.docker.distribution.events.v2+json",
				"Regcast-Attempt: 3",
				"Regcast-Out-Of-Order: true",
				"Regcast-Replay: job7",
				"Regcast-Sequence: 41",
				"User-Agent: regcast/1.2.3",
			}},
		{"headers replace", &endpoints.Options{
			Format: endpoints.FormatDistributionV1, Version: "1.2.3",
			Headers: http.Header{
				"content-type": {"application/json"}, "USER-AGENT": {"ours"}, "x-team": {"registry", "audit"},
				"Host": {"virtual.example"},
			},
		}, context.Background(), one, notifications.AppendEnvelopeV1(nil, one), []string{
			"Content-Type: application/json",
			"User-Agent: ours",
			"X-Team: audit",
			"X-Team: registry",
		}},
		{"headers are removed", &endpoints.Options{
			Headers: http.Header{"Content-Type": {}, "User-Agent": nil},
		}, context.Background(), one, notifications.AppendEnvelope(nil, one), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []byte
			url := listen(t, func(conn net.Conn) {
				buf := make([]byte, 64<<10)
				for !bytes.HasSuffix(got, []byte("]}")) {
					n, err := conn.Read(buf)
					if got = append(got, buf[:n]...); err != nil {
						return
					}
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			})
			w := newWebhook(t, url+"/hook?a=b", c.opts)
			if err := w.Write(c.ctx, c.batch); err != nil {
				t.Fatal(err)
			}
			head, body, _ := strings.Cut(string(got), "\r\n\r\n")
			if diff := cmp.Diff(string(c.body), body); diff != "" {
				t.Errorf("body:\n%s", diff)
			}
			host := strings.TrimPrefix(url, "http://")
			if c.opts != nil && c.opts.Headers.Get("Host") != "" {
				host = c.opts.Headers.Get("Host")
			}
			want := append([]string{"POST /hook?a=b HTTP/1.1", "Host: " + host, fmt.Sprintf("Content-Length: %d", len(c.body))}, c.want...)
			if diff := cmp.Diff(sorted(want), sorted(strings.Split(head, "\r\n"))); diff != "" {
				t.Errorf("head:\n%s", diff)
			}
		})
	}
}

func TestStatusesOverSockets(t *testing.T) {
	var status atomic.Int64
	url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(int(status.Load()))
		if s := status.Load(); s != 204 && s != 304 {
			_, _ = io.WriteString(w, "because I say so")
		}
	})
	w := newWebhook(t, url, nil)
	for s, class := range map[int]endpoints.Class{
		304: endpoints.Misdirected, 400: endpoints.Rejected, 401: endpoints.Auth, 404: endpoints.Misdirected,
		410: endpoints.Gone, 413: endpoints.TooLarge, 429: endpoints.Throttled, 500: endpoints.Transient,
		503: endpoints.Throttled, 599: endpoints.Transient,
	} {
		status.Store(int64(s))
		e := mustFail(t, w, class, fmt.Sprint(s))
		if wait, _ := sinks.RetryAfter(e); wait != 7*time.Second {
			t.Errorf("%d: Retry-After %v, want 7s", s, wait)
		}
		if want := "because I say so"; s != 304 && string(e.Excerpt) != want {
			t.Errorf("%d: excerpt %q, want %q", s, e.Excerpt, want)
		}
		if notifications.IsPermanent(e) != class.Permanent() {
			t.Errorf("%d: permanent %v", s, notifications.IsPermanent(e))
		}
	}
	for _, s := range []int{200, 201, 202, 204, 299} {
		status.Store(int64(s))
		if err := w.Write(context.Background(), batch); err != nil {
			t.Errorf("%d: %v", s, err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Int64
	other := receive(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other+"/new?token=hidden-token")
			w.WriteHeader(status)
		})
		e := mustFail(t, newWebhook(t, url, nil), endpoints.Misdirected, fmt.Sprint(status))
		if want := other + "/new"; e.Location != want || !strings.Contains(e.Error(), want) {
			t.Errorf("%d: location %q in %q, want %q", status, e.Location, e, want)
		}
		mustNotLeak(t, e, "hidden-token")
	}
	if followed.Load() != 0 {
		t.Errorf("%d redirects were followed", followed.Load())
	}
}

func TestInformationalAnswersArePassedOver(t *testing.T) {
	url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProcessing)
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	})
	if err := newWebhook(t, url, nil).Write(context.Background(), batch); err != nil {
		t.Error(err)
	}
}

func TestSwitchingProtocolsIsNoAnswer(t *testing.T) {
	url := listen(t, func(c net.Conn) {
		if readRequest(c) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			_, _ = c.Read(make([]byte, 1)) // until the other side gives up
		}
	})
	mustFail(t, newWebhook(t, url, nil), endpoints.Misdirected, "101")
}

func TestReceiverThatNeverAnswers(t *testing.T) {
	release := make(chan struct{})
	url := receive(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	w := newWebhook(t, url, &endpoints.Options{Timeout: 30 * time.Millisecond})
	e := mustFail(t, w, endpoints.Transient, "timeout")
	if notifications.IsPermanent(e) {
		t.Error("a timeout is permanent")
	}
}

func TestCallerGivesUp(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 1)
	url := receive(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-arrived; cancel() }()
	err := newWebhook(t, url, nil).Write(ctx, batch)
	if e := deliveryError(t, err); e.Class != endpoints.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("%v: class %v, want canceled", err, e.Class)
	}
}

// TestReceiverThatAnswersAGigabyte makes sure that no more is read than the bound, and
// that nothing of it is kept.
func TestReceiverThatAnswersAGigabyte(t *testing.T) {
	var sent atomic.Int64
	var status atomic.Int64
	url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 1 << 10 {
			n, err := w.Write(chunk)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	w := newWebhook(t, url, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	status.Store(200)
	if err := w.Write(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	status.Store(500)
	if e := mustFail(t, w, endpoints.Transient, "500"); len(e.Excerpt) != sinks.MaxExcerpt {
		t.Errorf("an excerpt of %d bytes, want %d", len(e.Excerpt), sinks.MaxExcerpt)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
		t.Errorf("%d MiB allocated", got>>20)
	}
	if got := sent.Load(); got > 64<<20 {
		t.Errorf("%d MiB were sent, want what fits in the sockets", got>>20)
	}
}

// TestAnswerThatNeverEnds makes sure that an answer counts although its body hangs, and
// does not keep a lane for the whole timeout.
func TestAnswerThatNeverEnds(t *testing.T) {
	var status atomic.Int64
	release := make(chan struct{})
	url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	defer close(release)
	w := newWebhook(t, url, &endpoints.Options{Timeout: 10 * time.Minute})
	started := time.Now()
	status.Store(200)
	if err := w.Write(context.Background(), batch); err != nil {
		t.Error(err)
	}
	status.Store(500)
	if e := mustFail(t, w, endpoints.Transient, "500"); string(e.Excerpt) != "half" {
		t.Errorf("excerpt %q", e.Excerpt)
	}
	if took := time.Since(started); took > 2*time.Minute {
		t.Errorf("two attempts took %v", took)
	}
}

// TestShutdownWithARequestInFlight makes sure that no connection is left behind.
func TestShutdownWithARequestInFlight(t *testing.T) {
	arrived, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(arrived); <-release }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	s.Start()
	defer s.Close()
	w := newWebhook(t, s.URL, nil)
	done := make(chan error, 1)
	go func() { done <- w.Write(context.Background(), batch) }()
	<-arrived
	if err := w.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := w.Write(context.Background(), batch); !errors.Is(err, notifications.ErrClosed) {
		t.Errorf("after Shutdown: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("what was in flight: %v", err)
	}
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Error("the connection is kept")
	}
}

func TestEndlessHeader(t *testing.T) {
	url := listen(t, func(c net.Conn) {
		if !readRequest(c) {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		for range 1 << 10 {
			if _, err := io.WriteString(c, "X-More: "+strings.Repeat("x", 4<<10)+"\r\n"); err != nil {
				return
			}
		}
	})
	mustFail(t, newWebhook(t, url, nil), endpoints.Transient, "protocol")
}

func TestResets(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer string
		want   string // code; "" for accepted
	}{
		{"before the answer", "", "reset"},
		{"in the status line", "HTTP/1.1 20", "protocol"},
		{"in the header", "HTTP/1.1 200 OK\r\nContent-Le", "protocol"},
		{"in the body of a success", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf", ""},
		{"in the body of a failure", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 1000\r\n\r\nhalf", "502"},
		{"in a chunk", "HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nff", "502"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := listen(t, func(conn net.Conn) {
				if readRequest(conn) {
					_, _ = io.WriteString(conn, c.answer)
					_ = conn.(*net.TCPConn).SetLinger(-1)
				}
			})
			w := newWebhook(t, url, nil)
			if c.want == "" {
				if err := w.Write(context.Background(), batch); err != nil {
					t.Error(err)
				}
				return
			}
			e := mustFail(t, w, endpoints.Transient, c.want)
			if c.want == "502" && string(e.Excerpt) != "half" {
				t.Errorf("excerpt %q", e.Excerpt)
			}
		})
	}
}

func TestNoReceiver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	e := mustFail(t, newWebhook(t, "http://"+l.Addr().String(), nil), endpoints.Transient, "connect")
	var op *net.OpError
	if !errors.As(e, &op) {
		t.Errorf("%v does not wrap the cause", e)
	}
	serveNames(t)
	mustFail(t, newWebhook(t, "http://receiver.invalid./hook", nil), endpoints.Transient, "dns")
}

func TestAnswersThatAreNotHTTP(t *testing.T) {
	for _, answer := range []string{"SSH-2.0-OpenSSH_9.9\r\n", "HTTP/9.9 999999 x\r\n\r\n", "HTTP/1.1 000 x\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "HTTP/1.1 200 OK\r\nbroken line\r\n\r\n", "\x00\x01\x02"} {
		url := listen(t, func(c net.Conn) {
			if readRequest(c) {
				_, _ = io.WriteString(c, answer)
			}
		})
		mustFail(t, newWebhook(t, url, nil), endpoints.Transient, "protocol")
	}
}

// FuzzAnswer makes sure that nothing a receiver can say is taken for acceptance without a
// status that means it, or ends the process.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 000 x\r\n\r\n", "HTTP/1.1 101 x\r\n\r\n", "HTTP/1.0 302\r\nLocation: ::\r\n\r\n",
		"HTTP/1.1 503 x\r\nRetry-After: -1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 410 Gone\r\nWebhook-Delivery: disable\r\n\r\n",
	} {
		f.Add([]byte(answer))
	}
	var answer atomic.Pointer[[]byte]
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if readRequest(c) {
				_, _ = c.Write(*answer.Load())
			}
			c.Close()
		}
	}()
	f.Cleanup(func() { l.Close(); <-done })
	w, err := endpoints.NewWebhook("http://"+l.Addr().String(), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		answer.Store(&raw)
		err := w.Write(context.Background(), batch)
		if err == nil {
			if !accepting.Match(raw) {
				t.Errorf("%q means accepted", raw)
			}
			return
		}
		if e := deliveryError(t, err); e.Error() == "" || e.Code() == "" || len(e.Excerpt) > sinks.MaxExcerpt {
			t.Errorf("%q: %+v", raw, e)
		}
	})
}

// accepting is what an answer that means accepted has in it, after others that do not.
var accepting = regexp.MustCompile(`HTTP/\d\.\d +2\d\d`)

// TestConnectionsAreKept makes sure that attempts share a connection, and that one which
// the receiver has closed meanwhile does not look like an outage.
func TestConnectionsAreKept(t *testing.T) {
	var connections atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("thanks ", 1000))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	w := newWebhook(t, s.URL, nil)
	for range 20 {
		if err := w.Write(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for 20 attempts", n)
	}
	for range 20 {
		s.CloseClientConnections()
		if err := w.Write(context.Background(), batch); err != nil {
			t.Fatalf("after the receiver closed a kept connection: %v", err)
		}
	}
}

// TestReceiverThatClosesWithoutAWord answers one request on each connection, promises to
// keep it and closes it when the next request has come.
func TestReceiverThatClosesWithoutAWord(t *testing.T) {
	url := listen(t, func(c net.Conn) {
		if readRequest(c) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_ = readRequest(c)
		}
	})
	w := newWebhook(t, url, nil)
	for n := range 5 {
		if err := w.Write(context.Background(), batch); err != nil {
			t.Fatalf("attempt %d: %v", n, err)
		}
	}
}

func TestSecretsAreReadAgain(t *testing.T) {
	var seen atomic.Value
	handle := func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.URL.Path + " " + r.Header.Get("Authorization"))
	}
	url := receive(t, handle)
	dir := t.TempDir()
	token, target := filepath.Join(dir, "token"), filepath.Join(dir, "url")
	put := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(token, "Bearer first\n")
	put(target, url+"/first")
	w := newWebhook(t, "", &endpoints.Options{URL: endpoints.SecretFile(target), Authorization: endpoints.SecretFile(token)})
	for _, want := range []string{"/first Bearer first", "/other Bearer other", "/again Bearer again"} {
		path, auth, _ := strings.Cut(want, " ")
		put(token, auth) // of the same length, within one tick of the file's clock
		put(target, url+path)
		if err := w.Write(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		if got := seen.Load(); got != want {
			t.Errorf("the receiver saw %q, want %q", got, want)
		}
	}
	put(token, "  \n")
	mustFail(t, w, endpoints.Auth, "secret")
	put(token, "Bearer a\r\nX-Evil: b")
	mustFail(t, w, endpoints.Auth, "secret")
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	if e := mustFail(t, w, endpoints.Auth, "secret"); !errors.Is(e, os.ErrNotExist) {
		t.Errorf("%v does not say that the file is missing", e)
	}
	put(token, "Bearer first")
	put(target, "not a URL with hidden-token")
	mustNotLeak(t, mustFail(t, w, endpoints.Misdirected, "secret"), "hidden-token", "/again")
}

func TestUserInformationBecomesAuthorization(t *testing.T) {
	var user, password atomic.Value
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		user.Store(u)
		password.Store(p)
		w.WriteHeader(http.StatusForbidden)
	})
	w := newWebhook(t, strings.Replace(url, "http://", "http://bob:hidden%20token@", 1), nil)
	e := mustFail(t, w, endpoints.Auth, "403")
	if user.Load() != "bob" || password.Load() != "hidden token" {
		t.Errorf("the receiver saw %v, %v", user.Load(), password.Load())
	}
	mustNotLeak(t, e, "hidden token", "hidden%20token", "bob")
}

func sorted(lines []string) []string {
	lines = append([]string(nil), lines...)
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	slices.Sort(lines)
	return lines
}
