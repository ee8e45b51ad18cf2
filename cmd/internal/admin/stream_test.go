package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/cmd/internal/admin"
)

// open begins a stream and returns its lines; leaving ctx ends it from the caller's side.
func open(ctx context.Context, t *testing.T, srv *httptest.Server, path string, headers ...string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	r := request("GET", path, "", headers...).WithContext(ctx)
	r.RequestURI, r.URL.Host, r.Host = "", srv.Listener.Addr().String(), ""
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res, bufio.NewScanner(res.Body)
}

// block reads lines up to an empty one.
func block(s *bufio.Scanner) (lines []string) {
	for s.Scan() && s.Text() != "" {
		lines = append(lines, s.Text())
	}
	return lines
}

func TestStream(t *testing.T) {
	d := populated()
	d.Live = make(chan admin.Event, 2)
	srv := httptest.NewServer(newHandler(d, tokens))
	defer srv.Close()
	res, lines := open(t.Context(), t, srv, "/events/stream?repository=team/**&limit=2&after=3", "Last-Event-ID", "6")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	want := []string{`Stream {"repository":"team/**","Limit":2,"After":6}`}
	if diff := cmp.Diff(want, d.Calls()); diff != "" {
		t.Errorf("the dispatcher was asked (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{": regcast"}, block(lines)); diff != "" {
		t.Errorf("first (-want +got):\n%s", diff)
	}
	e := d.EventList[0].Event
	d.Live <- e
	if diff := cmp.Diff([]string{"id: 7", "data: " + eventJSON + `,"event":{"id":"e7"}}`}, block(lines)); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	e.Sequence, e.Raw = 8, json.RawMessage("{\n\"id\":\n\"line breaks\"}")
	d.Live <- e
	if got := block(lines); len(got) != 2 || got[0] != "id: 8" || !strings.Contains(got[1], `"line breaks"`) {
		t.Errorf("event %q, want one line of data", got)
	}
	if lines.Scan() {
		t.Errorf("after the limit comes %q", lines.Text())
	}
}

func TestAStreamThatFailsSaysSo(t *testing.T) {
	d := ended()
	d.Errs = map[string]error{"streaming": errors.New("disk on fire")}
	srv := httptest.NewServer(newHandler(d, tokens))
	defer srv.Close()
	_, lines := open(t.Context(), t, srv, "/events/stream")
	block(lines)
	if diff := cmp.Diff([]string{"event: error", `data: {"error":"disk on fire"}`}, block(lines)); diff != "" {
		t.Errorf("last event (-want +got):\n%s", diff)
	}
	if lines.Scan() {
		t.Errorf("then comes %q", lines.Text())
	}
}

// The server's Close waits for its handlers: that of a caller who went away must end.
func TestACallerOfAStreamGoesAway(t *testing.T) {
	d := populated()
	d.Live = make(chan admin.Event)
	srv := httptest.NewServer(newHandler(d, tokens))
	ctx, cancel := context.WithCancel(t.Context())
	_, lines := open(ctx, t, srv, "/events/stream")
	block(lines)
	d.Live <- d.EventList[0].Event
	block(lines)
	cancel()
	srv.Close()
}

func TestRefuseEndsStreamsAndTheAPI(t *testing.T) {
	d := populated()
	d.Live = make(chan admin.Event)
	h := newHandler(d, tokens)
	srv := httptest.NewServer(h)
	defer srv.Close()
	_, lines := open(t.Context(), t, srv, "/events/stream")
	block(lines)
	h.Refuse()
	h.Refuse()
	if lines.Scan() {
		t.Errorf("the stream goes on with %q", lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream was cut, not ended: %v", err)
	}
	for _, rt := range admin.Routes() {
		w := ask(h, request(rt.Method, somewhere(rt), bodyOf(rt)))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || strings.TrimSpace(w.Body.String()) != `{"error":"stopping"}` {
			t.Errorf("%s: %d %s", rt, w.Code, w.Body)
		}
	}
	r := httptest.NewRequest("GET", "/healthz", nil)
	if w := ask(h, r); w.Code != 200 {
		t.Errorf("/healthz: %d", w.Code)
	}
}

func TestThereIsAMostOfStreams(t *testing.T) {
	d := populated()
	d.Live = make(chan admin.Event)
	h := newHandler(d, tokens)
	srv := httptest.NewServer(h)
	defer srv.Close()
	defer h.Refuse()
	for range admin.MaxStreams {
		if res, _ := open(t.Context(), t, srv, "/events/stream"); res.StatusCode != 200 {
			t.Fatalf("%d", res.StatusCode)
		}
	}
	res, _ := open(t.Context(), t, srv, "/events/stream")
	if res.StatusCode != 503 {
		t.Errorf("one more than the most: %d", res.StatusCode)
	}
	d.Live <- d.EventList[0].Event // one goes on
	close(d.Live)                  // all end
	for {
		res, _ := open(t.Context(), t, srv, "/events/stream")
		if res.StatusCode == 200 {
			break // there is room again
		}
	}
}

func TestHeadOfAStreamEnds(t *testing.T) {
	d := populated()
	d.Live = make(chan admin.Event)
	srv := httptest.NewServer(newHandler(d, tokens))
	defer srv.Close()
	r := request("HEAD", "/events/stream", "")
	r.RequestURI, r.URL.Host, r.Host = "", srv.Listener.Addr().String(), ""
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

// A pipeListener takes one connection that needs no network, so that time may be faked.
type pipeListener struct {
	conns chan net.Conn
	close sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *pipeListener) Close() error {
	l.close.Do(func() { close(l.conns) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// piped sends r to a server and returns its connection, and a function that shuts down
// the server, which waits for the answer's end.
func piped(t *testing.T, h http.Handler, r *http.Request) (client net.Conn, shutdown func()) {
	t.Helper()
	client, conn := net.Pipe()
	l := &pipeListener{conns: make(chan net.Conn, 1)}
	l.conns <- conn
	srv := &http.Server{Handler: h, WriteTimeout: time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { srv.Serve(l) })
	if err := r.Write(client); err != nil {
		t.Fatal(err)
	}
	return client, func() {
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		serving.Wait()
	}
}

func TestAStreamShowsThatItIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := populated()
		d.Live = make(chan admin.Event)
		client, shutdown := piped(t, newHandler(d, tokens), request("GET", "/events/stream", ""))
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(res.Body)
		block(lines)
		began := time.Now()
		for range 3 {
			if diff := cmp.Diff([]string{": alive"}, block(lines)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}
		if took := time.Since(began); took != 3*admin.Heartbeat {
			t.Errorf("three signs of life in %v", took)
		}
		client.Close()
		shutdown()
	})
}

func TestACallerThatReadsNoMoreIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := populated()
		d.Live = make(chan admin.Event)
		client, shutdown := piped(t, newHandler(d, tokens), request("GET", "/events/stream", ""))
		defer client.Close()
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		block(bufio.NewScanner(res.Body))
		began := time.Now()
		d.Live <- d.EventList[0].Event
		shutdown()
		if took := time.Since(began); took < 10*time.Second || took > time.Minute {
			t.Errorf("it was cut off after %v", took)
		}
		if _, err := io.Copy(io.Discard, client); err != nil {
			t.Errorf("the connection was not closed: %v", err)
		}
	})
}
