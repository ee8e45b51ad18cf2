package intake_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/intake"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// endless is a reader of n zeros that are nowhere in memory.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.n)
	clear(p[:n])
	e.n -= n
	return n, nil
}

func TestHugeBody(t *testing.T) {
	const size = 100 << 20
	for name, announced := range map[string]int64{"announced": size, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, intake.Options{})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			req, err := http.NewRequest(http.MethodPost, r.url, &endless{size})
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = announced
			resp, got := r.do(t, req)
			runtime.ReadMemStats(&after)
			if resp.StatusCode != http.StatusAccepted || got != answer(0, 0, 1) {
				t.Fatalf("got %s %s", resp.Status, got)
			}
			q := r.bad[0]
			if q.Reason != notifications.ReasonTooLarge || q.Size != size || len(q.Body) != notifications.MaxQuarantinedBody {
				t.Errorf("quarantined for %s %d of %d bytes", q.Reason, len(q.Body), q.Size)
			}
			// Doubling up to the limit allocates twice the limit, what is thrown away
			// included.
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 4*intake.DefaultMaxBody {
				t.Errorf("allocated %d MiB", grown>>20)
			}
		})
	}
}

// Who never stops writing is answered all the same, and cut off.
func TestEndlessBody(t *testing.T) {
	const size = 1 << 40
	for name, announced := range map[string]int64{"announced": size, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			s := new(store)
			body := &endless{size}
			req := httptest.NewRequest(http.MethodPost, intake.Path, body)
			req.ContentLength = announced
			w := httptest.NewRecorder()
			intake.NewHandler(s, nil).ServeHTTP(w, req)
			if w.Code != http.StatusAccepted || w.Body.String() != answer(0, 0, 1) || w.Header().Get("Connection") != "close" {
				t.Errorf("got %d %s, Connection %q", w.Code, w.Body, w.Header().Get("Connection"))
			}
			if q := s.bad[0]; q.Reason != notifications.ReasonTooLarge || q.Size != int(announced) {
				t.Errorf("quarantined for %s, %d bytes", q.Reason, q.Size)
			}
			if read := size - body.n; read > 512<<20 {
				t.Errorf("read %d MiB", read>>20)
			}
		})
	}
}

func TestMillionEvents(t *testing.T) {
	r := newRig(t, intake.Options{})
	body := `{"events":[` + strings.Repeat("{},", 999_999) + "{}]}"
	if _, got := r.post(t, "", strings.NewReader(body)); got != answer(0, 0, 1) {
		t.Fatalf("got %s", got)
	}
	if q := r.bad[0]; q.Reason != notifications.ReasonTooMany || q.Size != len(body) {
		t.Errorf("quarantined for %s, %d bytes", q.Reason, q.Size)
	}
}

func TestLimits(t *testing.T) {
	opts := intake.Options{MaxBody: 100_000, MaxEvents: 3}
	exactly := func(n int) string {
		text := envelope(push)
		return text + strings.Repeat(" ", n-len(text))
	}
	tests := map[string]struct {
		body string
		want notifications.Reason // "" for accepted
	}{
		"as many events as allowed": {envelope(notificationstest.Pushes(0, 3, "a")...), ""},
		"one more":                  {envelope(notificationstest.Pushes(0, 4, "a")...), notifications.ReasonTooMany},
		"as long as allowed":        {exactly(100_000), ""},
		"a byte more":               {exactly(100_001), notifications.ReasonTooLarge},
	}
	for name, test := range tests {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked %v", name, chunked), func(t *testing.T) {
				r := newRig(t, opts)
				var body io.Reader = strings.NewReader(test.body)
				if chunked {
					body = io.MultiReader(body) // hides the length
				}
				resp, got := r.post(t, "", body)
				if resp.StatusCode != http.StatusAccepted {
					t.Fatalf("got %s %s", resp.Status, got)
				}
				switch {
				case test.want == "" && (len(r.bad) > 0 || len(r.events) == 0):
					t.Errorf("quarantined %+v", r.bad)
				case test.want != "" && (len(r.bad) != 1 || r.bad[0].Reason != test.want || r.bad[0].Size != len(test.body)):
					t.Errorf("stored %d, quarantined %d", len(r.events), len(r.bad))
				}
			})
		}
	}
}

func TestMaxEventBytes(t *testing.T) {
	large := *push
	large.Tag = strings.Repeat("x", 100) // not the largest tag that there may be
	form := string(large.AppendJSON(nil))
	pad := func(n int) string { return form[:len(form)-1] + `,"x":"` + strings.Repeat("x", n) + `"}` }
	for name, test := range map[string]struct {
		limit, size int
		want        string
	}{
		"within the default":   {0, 1_000_000, answer(1, 0, 0)},
		"beyond the default":   {0, 2_000_000, answer(0, 0, 1)},
		"within a higher one":  {3 << 20, 2_000_000, answer(1, 0, 0)},
		"beyond a smaller one": {1000, 2000, answer(0, 0, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, intake.Options{MaxEventBytes: test.limit})
			if _, got := r.post(t, "", strings.NewReader(pad(test.size))); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// One body of the largest size fits whatever the memory for all, or its sender would be
// told 503 for ever.
func TestLargestBodyFits(t *testing.T) {
	r := newRig(t, intake.Options{MaxBody: 1 << 20, MaxBuffered: 1})
	for _, chunked := range []bool{false, true} {
		text := envelope(push)
		var body io.Reader = strings.NewReader(text + strings.Repeat(" ", 1<<20-len(text)))
		if chunked {
			body = io.MultiReader(body)
		}
		if resp, got := r.post(t, "", body); got != answer(1, 0, 0) {
			t.Errorf("chunked %v: got %s %s", chunked, resp.Status, got)
		}
	}
}

// Two large bodies do not fit into the memory for one; what is small always does.
func TestMemoryOfAllBodies(t *testing.T) {
	r := newRig(t, intake.Options{MaxBody: 1 << 20, MaxBuffered: 3 << 19 * intake.MemoryFactor})
	large := envelope(push) + strings.Repeat(" ", 900_000)

	entered, leave := make(chan struct{}), make(chan struct{})
	r.err = func([]*notifications.Event) error {
		close(entered)
		<-leave
		return nil
	}
	first := make(chan string)
	go func() {
		resp, err := http.Post(r.url, "", strings.NewReader(large))
		if err != nil {
			first <- err.Error()
			return
		}
		defer resp.Body.Close()
		got, _ := io.ReadAll(resp.Body)
		first <- string(got)
	}()
	<-entered
	resp, got := r.post(t, "", strings.NewReader(large))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a second large body got %s %s", resp.Status, got)
	}
	close(leave)
	if got := <-first; got != answer(1, 0, 0) {
		t.Errorf("the first large body got %s", got)
	}
	r.mu.Lock()
	r.err = nil
	r.mu.Unlock()
	if _, got := r.post(t, "", strings.NewReader(large)); got != answer(1, 0, 0) {
		t.Errorf("what the first had was not given back: got %s", got)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestProtocols(t *testing.T) {
	body := string(push.AppendJSON(nil))
	head := "Host: x\r\nContent-Type: application/json\r\n"
	tests := map[string]string{
		"HTTP/1.0":             "POST /events HTTP/1.0\r\n" + head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		"chunked, in pieces":   "POST /events HTTP/1.1\r\n" + head + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body, 7),
		"Expect: 100-continue": "POST /events HTTP/1.1\r\n" + head + fmt.Sprintf("Connection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, intake.Options{})
			answers, _ := r.raw(t, text)
			got, err := io.ReadAll(answers)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(got, []byte(" 202 Accepted\r\n")) || !bytes.HasSuffix(got, []byte(answer(1, 0, 0))) {
				t.Errorf("got %s", got)
			}
			if continued := bytes.HasPrefix(got, []byte("HTTP/1.1 100 Continue")); continued != strings.HasPrefix(name, "Expect") {
				t.Errorf("100 Continue: %v", continued)
			}
		})
	}
}

func chunks(body string, size int) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

func TestCutOffSenders(t *testing.T) {
	tests := map[string]struct {
		text   string
		hangUp bool
		code   string
	}{
		"a body that never ends":     {"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", false, "400"},
		"a body that is cut off":     {"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", true, "400"},
		"a chunk that is none":       {"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, "400"},
		"a huge body that is cut":    {"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n{", true, "400"},
		"a header that never ends":   {"POST /events HTTP/1.1\r\nHost: x\r\nX-", false, ""},
		"nothing on an idle socket":  {"", false, ""},
		"headers larger than we let": {"POST /events HTTP/1.1\r\nHost: x\r\nX-Y: " + strings.Repeat("y", 80<<10), false, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, intake.Options{})
			// A server of its own, with limits that a test can wait for.
			config := intake.NewServer(r.handler)
			config.ReadHeaderTimeout, config.ReadTimeout = 2*time.Second, 3*time.Second
			r.server = httptest.NewUnstartedServer(nil)
			r.server.Config = config
			r.server.Start()
			defer r.server.Close()

			answers, conn := r.raw(t, test.text)
			if test.hangUp {
				if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			got, err := io.ReadAll(answers) // ends with the connection, or the deadline fails it
			if err != nil && strings.Contains(err.Error(), "timeout") {
				t.Fatalf("the connection is still open: %v", err)
			}
			if test.code != "" && !strings.HasPrefix(string(got), "HTTP/1.1 "+test.code) {
				t.Errorf("got %q, want %s", got, test.code)
			}
			if len(r.events)+len(r.bad) > 0 {
				t.Error("a body that did not come was stored")
			}
		})
	}
}

func FuzzHandler(f *testing.F) {
	f.Add("", []byte(envelope(push)))
	f.Add("application/json; charset=x", []byte(`{"events":[{}]}`))
	f.Add("text/plain", []byte{0xff})
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		s := new(store)
		h := intake.NewHandler(s, &intake.Options{MaxBody: 1000, MaxEvents: 3})
		req := httptest.NewRequest(http.MethodPost, "/events", bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != http.StatusAccepted || len(s.events)+len(s.bad) == 0 {
			t.Fatalf("answered %d, stored %d, quarantined %d", w.Code, len(s.events), len(s.bad))
		}
		if got, want := w.Body.String(), answer(len(s.events), 0, len(s.bad)); got != want {
			t.Fatalf("answered %s, want %s", got, want)
		}
	})
}
