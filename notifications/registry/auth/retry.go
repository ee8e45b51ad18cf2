package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/regcast/regcast/notifications/registry/internal/answer"
	"github.com/regcast/regcast/notifications/registry/internal/backoff"
)

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
		answer.Discard(resp)
		if err := backoff.Pause(req.Context(), wait); err != nil {
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
		answer.Discard(resp)
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
	if asked, ok := answer.RetryAfter(resp.Header, time.Now()); ok {
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

// fits tells whether a wait ends before the context does.
func fits(ctx context.Context, wait time.Duration) bool {
	deadline, bounded := ctx.Deadline()
	return !bounded || time.Until(deadline) > wait
}
