package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A script answers the n-th request with its n-th step, and the last for ever; the
// registry of a script needs no authentication.
type script struct {
	steps []step
	at    []time.Time
	read  []string // of each request's body
}

// A step is a status and its Retry-After, or an error.
type step struct {
	status int
	after  string
	err    error
	body   bool // read the request's before
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/v2/" {
		return answered(req, http.StatusOK), nil
	}
	next := s.steps[min(len(s.at), len(s.steps)-1)]
	s.at = append(s.at, time.Now())
	read := ""
	if next.body && req.Body != nil {
		b, _ := io.ReadAll(req.Body)
		read = string(b)
	}
	s.read = append(s.read, read)
	if req.Body != nil {
		req.Body.Close()
	}
	if next.err != nil {
		return nil, next.err
	}
	resp := answered(req, next.status)
	if next.after != "" {
		resp.Header.Set("Retry-After", next.after)
	}
	return resp, nil
}

func answered(req *http.Request, status int) *http.Response {
	return &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader("{}")), Request: req}
}

func seconds(n ...int) []time.Duration {
	var all []time.Duration
	for _, s := range n {
		all = append(all, time.Duration(s)*time.Second)
	}
	return all
}

func TestRepetition(t *testing.T) {
	reset := step{err: errors.New("connection reset by peer")}
	ok := step{status: 200}
	date := time.Date(2000, 1, 1, 0, 0, 7, 0, time.UTC).Format(http.TimeFormat) // a bubble begins at midnight
	for _, test := range []struct {
		name   string
		method string
		steps  []step
		waits  []time.Duration // between the requests
		status int             // 0: an error
	}{
		{"once is enough", "GET", []step{ok}, nil, 200},
		{"connection errors, then an answer", "GET", []step{reset, reset, ok}, seconds(3, 3), 200},
		{"connection errors, five attempts", "GET", []step{reset}, seconds(3, 3, 3, 3), 0},
		{"an error that stays", "GET", []step{{err: &tls.CertificateVerificationError{}}}, nil, 0},
		{"503", "GET", []step{{status: 503}, ok}, seconds(3), 200},
		{"503, five attempts", "HEAD", []step{{status: 503}}, seconds(3, 3, 3, 3), 503},
		{"500 for a DELETE", "DELETE", []step{{status: 500}, ok}, seconds(3), 200},
		{"408", "GET", []step{{status: 408}, ok}, seconds(3), 200},
		{"429 in seconds", "GET", []step{{status: 429, after: "10"}, {status: 429, after: "0"}, ok}, seconds(10, 0), 200},
		{"429 by date", "GET", []step{{status: 429, after: date}, ok}, seconds(7), 200},
		{"Retry-After that is no such thing", "GET", []step{{status: 429, after: "soon"}, ok}, seconds(3), 200},
		{"429 for longer than we wait", "GET", []step{{status: 429, after: "3600"}}, nil, 429},
		{"404", "GET", []step{{status: 404}}, nil, 404},
		{"501", "GET", []step{{status: 501}}, nil, 501},
		{"a PATCH that may be stored", "PATCH", []step{{status: 500}}, nil, 500},
		{"a PATCH whose connection broke", "PATCH", []step{reset}, nil, 0},
		{"a PATCH that was refused", "PATCH", []step{{status: 429}, ok}, seconds(3), 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: test.steps}
				told := 0
				transport := NewTransport(s, &Options{
					Backoff: func(int) time.Duration { return 3 * time.Second },
					OnRetry: func(*http.Request, *http.Response, error, time.Duration) { told++ },
				})
				req, err := http.NewRequestWithContext(t.Context(), test.method, "http://r.example/v2/a/tags/list", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(req)
				status := 0
				if err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
				if status != test.status {
					t.Errorf("%d (%v), want %d", status, err, test.status)
				}
				var waits []time.Duration
				for i := 1; i < len(s.at); i++ {
					waits = append(waits, s.at[i].Sub(s.at[i-1]))
				}
				if !slices.Equal(waits, test.waits) || told != len(waits) {
					t.Errorf("waits %v, want %v; told of %d", waits, test.waits, told)
				}
			})
		})
	}
}

// A wait ends with the context, and does not begin if it would not end before.
func TestWaitsEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{status: 503}}}
		transport := NewTransport(s, &Options{Backoff: func(int) time.Duration { return time.Minute }})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://r.example/v2/a/tags/list", nil)
		begin := time.Now()
		resp, err := transport.RoundTrip(req)
		if err != nil || resp.StatusCode != 503 || time.Since(begin) != 0 {
			t.Errorf("a wait that cannot end: %v, %v after %v", resp, err, time.Since(begin))
		}

		cancelled, stop := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		time.AfterFunc(10*time.Second, func() { stop(why) })
		req, _ = http.NewRequestWithContext(cancelled, "GET", "http://r.example/v2/a/tags/list", nil)
		begin = time.Now()
		if _, err := transport.RoundTrip(req); !errors.Is(err, why) || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// A stream is sent again only if nothing of it was read, and is closed once, at the end.
func TestStreamsAreNeverSentTwice(t *testing.T) {
	reset := errors.New("connection refused")
	for _, test := range []struct {
		name   string
		steps  []step
		reads  []string
		status int
	}{
		{"refused before it was read", []step{{err: reset}, {status: 503}, {status: 201, body: true}}, []string{"", "", "a blob"}, 201},
		{"broken after it was read", []step{{err: reset, body: true}, {status: 201, body: true}}, []string{"a blob"}, 0},
		{"503 after it was read", []step{{status: 503, body: true}, {status: 201, body: true}}, []string{"a blob"}, 503},
		{"refused for good before it was read", []step{{status: 400}}, []string{""}, 400},
		{"401 after it was read", []step{{status: 401, body: true}, {status: 201, body: true}}, []string{"a blob"}, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: test.steps}
				body := &closeCounter{Reader: strings.NewReader("a blob")}
				req, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://r.example/v2/a/blobs/uploads/1", body)
				resp, err := NewTransport(s, nil).RoundTrip(req)
				status := 0
				if err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
				if status != test.status || !slices.Equal(s.read, test.reads) || body.closed.Load() != 1 {
					t.Errorf("%d, %v; read %q; closed %d times", status, err, s.read, body.closed.Load())
				}
			})
		})
	}
}

type closeCounter struct {
	io.Reader
	closed atomic.Int32
}

func (c *closeCounter) Close() error {
	c.closed.Add(1)
	return nil
}

// A transport may read and close after it has returned: an attempt that was given up
// disturbs no other.
func TestTurnsOfAStream(t *testing.T) {
	body := &closeCounter{Reader: strings.NewReader("a blob")}
	req, _ := http.NewRequest("PUT", "http://r.example/", body)
	p := newPayload(req)
	first := p.current
	if !p.rewind() {
		t.Fatal("a stream that nobody read cannot be sent")
	}
	second := p.current
	if n, err := first.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("an attempt that was given up reads %d bytes, %v", n, err)
	}
	first.Close()
	if b, err := io.ReadAll(io.LimitReader(second, 3)); err != nil || string(b) != "a b" {
		t.Errorf("the next reads %q, %v", b, err)
	}
	if p.rewind() {
		t.Error("a stream is sent again that was read and not closed yet")
	}
	p.sent()
	if body.closed.Load() != 0 {
		t.Error("a stream is closed while its transport reads it")
	}
	second.Close()
	second.Close()
	if body.closed.Load() != 1 {
		t.Errorf("closed %d times", body.closed.Load())
	}
}

// A body that can be had again is sent whole each time.
func TestBodiesThatCanBeHadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{err: errors.New("reset"), body: true}, {status: 500, body: true}, {status: 201, body: true}}}
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://r.example/v2/a/manifests/x", bytes.NewReader([]byte("a manifest")))
		resp, err := NewTransport(s, nil).RoundTrip(req)
		if err != nil || resp.StatusCode != 201 || !slices.Equal(s.read, []string{"a manifest", "a manifest", "a manifest"}) {
			t.Errorf("%v, %v; read %q", resp, err, s.read)
		}
	})
}

// A registry that takes a request and never answers is another connection error.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		transport := NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/v2/" {
				return answered(req, http.StatusOK), nil
			}
			if attempts++; attempts == 2 {
				return answered(req, http.StatusOK), nil
			}
			<-req.Context().Done()
			return nil, req.Context().Err()
		}), nil)
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://r.example/v2/a/tags/list", nil)
		resp, err := transport.RoundTrip(req)
		if err != nil || attempts != 2 {
			t.Fatalf("%v after %d attempts", err, attempts)
		}
		time.Sleep(time.Hour) // the limit is for the header, not for the body
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "{}" {
			t.Errorf("%q, %v", b, err)
		}
		resp.Body.Close()
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
