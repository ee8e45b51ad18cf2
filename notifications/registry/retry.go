package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxDrained is how much of an answer that is not used is read, in bytes, so that its
// connection can be used again.
const maxDrained = 64 << 10

// exponential is the waiting time that most clients of registries have: it doubles from
// 250 ms to 5 s, and a random quarter of it is taken away so that clients spread out.
func exponential(attempt int) time.Duration {
	wait := 250 * time.Millisecond << min(attempt-1, 10)
	wait = min(wait, 5*time.Second)
	return wait - rand.N(wait/4)
}

// send makes a request with a value for Authorization ("" for none), and again if it
// fails in a way that may pass.
func (t *Transport) send(req *http.Request, body *payload, authorization string) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := t.attempt(req, body.current, authorization)
		wait, again := t.judge(req, resp, err, attempt)
		if !again || !fits(req.Context(), wait) || !body.rewind() {
			return resp, err
		}
		if t.opts.OnRetry != nil {
			t.opts.OnRetry(req, resp, err, wait)
		}
		discard(resp)
		if err := pause(req.Context(), wait); err != nil {
			body.close()
			return nil, err
		}
	}
}

// attempt makes a request once.
func (t *Transport) attempt(req *http.Request, body io.ReadCloser, authorization string) (*http.Response, error) {
	out := req.WithContext(req.Context())
	out.Header = req.Header.Clone()
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	out.Body = body
	if authorization != "" {
		out.Header.Set("Authorization", authorization)
	}
	if crossed(req) {
		out.Header.Del("Authorization")
	}
	if _, given := out.Header["User-Agent"]; !given {
		out.Header.Set("User-Agent", t.opts.UserAgent)
	}
	if t.opts.HeaderTimeout < 0 || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return t.base.RoundTrip(out)
	}
	ctx, cancel := context.WithCancel(req.Context())
	timer := time.AfterFunc(t.opts.HeaderTimeout, cancel)
	resp, err := t.base.RoundTrip(out.WithContext(ctx))
	if !timer.Stop() && req.Context().Err() == nil {
		discard(resp)
		return nil, fmt.Errorf("no answer in %v: %w", t.opts.HeaderTimeout, os.ErrDeadlineExceeded)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols { // whose body is the connection
		resp.Body = &cancellingBody{resp.Body, cancel}
	}
	return resp, nil
}

// A cancellingBody ends the context of its request when it is closed.
type cancellingBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancellingBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// judge tells whether what came of an attempt may be different next time, and when that is.
func (t *Transport) judge(req *http.Request, resp *http.Response, err error, attempt int) (time.Duration, bool) {
	if attempt >= t.opts.Attempts || req.Context().Err() != nil {
		return 0, false
	}
	wait := t.opts.Backoff(attempt)
	if err != nil {
		var certificate *tls.CertificateVerificationError
		return wait, req.Method != http.MethodPatch && !errors.As(err, &certificate)
	}
	if !passing(req.Method, resp.StatusCode) {
		return 0, false
	}
	if asked, ok := retryAfter(resp.Header, time.Now()); ok {
		return asked, asked <= t.opts.MaxRetryAfter
	}
	return wait, true
}

// passing tells whether an answer is of the kind that another attempt may not get. A
// PATCH that failed may have been stored in part: the upload's session knows.
func passing(method string, status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return status >= 500 && method != http.MethodPatch
}

// retryAfter reads the header of that name (RFC 9110 section 10.2.3): seconds or a date.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// fits tells whether a wait ends before the context does.
func fits(ctx context.Context, wait time.Duration) bool {
	deadline, bounded := ctx.Deadline()
	return !bounded || time.Until(deadline) > wait
}

// pause waits, or returns why the context ended before.
func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// discard is done with an answer, which may be nil.
func discard(resp *http.Response) {
	if resp != nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
		resp.Body.Close()
	}
}
