package endpoints

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/regcast/regcast/sinks"
)

// The headers that tell of the attempt, in canonical form.
const (
	headerAttempt    = "Regcast-Attempt"
	headerSequence   = "Regcast-Sequence"
	headerOutOfOrder = "Regcast-Out-Of-Order"
	headerReplay     = "Regcast-Replay"
)

// A target is where requests go, and what all of them have in common.
type target struct {
	raw     string
	request http.Request // a template; its header is not changed
	shown   string
	secret  bool     // the URL came from a secret
	secrets []string // parts of the URL that must not be shown
}

var errNotURL = errors.New("not an absolute http or https URL")

// newTarget parses a URL. Its error does not show it.
func (w *Webhook) newTarget(raw string) (*target, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errNotURL
	}
	t := &target{raw: raw, secret: w.opts.URL != nil}
	header := w.baseHeader()
	if u.User != nil {
		t.secrets = append(t.secrets, userSecrets(u.User)...)
		if header.Get("Authorization") == "" {
			header.Set("Authorization", basic(u.User))
		}
	}
	host := header.Get("Host")
	header.Del("Host")
	t.secrets = append(t.secrets, u.RawQuery)
	t.shown = showURL(u, !t.secret)
	if t.secret {
		t.secrets = append(t.secrets, u.EscapedPath(), u.Path)
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	t.request = http.Request{
		Method: http.MethodPost, URL: u, Host: host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return t, nil
}

// baseHeader returns the headers that all requests have, Host included.
func (w *Webhook) baseHeader() http.Header {
	h := http.Header{
		"User-Agent":      {"regcast"},
		"Content-Type":    {w.format.contentType()},
		"Idempotency-Key": {},
	}
	if w.opts.Version != "" {
		h.Set("User-Agent", "regcast/"+w.opts.Version)
	}
	for name, values := range w.opts.Headers {
		h[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	return h
}

// currentTarget follows a URL that is a secret.
func (w *Webhook) currentTarget() (*target, error) {
	if w.opts.URL == nil {
		return w.target.Load(), nil
	}
	raw, err := w.opts.URL()
	if err != nil {
		return nil, err
	}
	if t := w.target.Load(); t != nil && t.raw == raw {
		return t, nil
	}
	t, err := w.newTarget(raw)
	if err != nil {
		return nil, err
	}
	w.target.Store(t)
	return t, nil
}

// A field is a header of one request.
type field struct{ name, value string } // the name in canonical form

// newRequest returns a request with those headers and body. Each of its attempts by http.Transport ends
// with ctx.
func (t *target) newRequest(ctx context.Context, fields []field, body []byte) *http.Request {
	r := t.request.WithContext(ctx)
	r.Header = requestHeader(ctx, t.request.Header, fields)
	r.ContentLength = int64(len(body))
	// http.Transport sends headers and body in one piece if it knows the reader to be in
	// memory. A body that would tell when its buffer can be used again costs a system
	// call more, and far more than a new buffer.
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	return r
}

// requestHeader returns the headers of one request: base, which is not changed, fields,
// and those that tell of the attempt.
//
// The empty Idempotency-Key in base is never sent. It tells http.Transport that the
// request may be repeated, so that a kept connection which the receiver has closed
// meanwhile is replaced at once instead of looking like an outage. Receivers have to
// expect repeats anyway.
func requestHeader(ctx context.Context, base http.Header, fields []field) http.Header {
	a, attempted := sinks.AttemptFrom(ctx)
	ping := !attempted && isPing(ctx)
	if !attempted && !ping && len(fields) == 0 {
		return base
	}
	h := maps.Clone(base)
	values := make([]string, 0, 3+len(fields))
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	for _, f := range fields {
		set(f.name, f.value)
	}
	if ping {
		set(headerTest, "true")
	}
	if !attempted {
		return h
	}
	set(headerAttempt, strconv.Itoa(a.Number))
	set(headerSequence, strconv.FormatUint(a.First, 10))
	if a.OutOfOrder {
		h[headerOutOfOrder] = []string{"true"}
	}
	if a.Replay != "" {
		set(headerReplay, a.Replay)
	}
	return h
}

// location says where a redirect points to, as far as that may be shown.
func (t *target) location(resp *http.Response) string {
	if resp.StatusCode < 300 || resp.StatusCode > 399 {
		return ""
	}
	value := resp.Header.Get("Location")
	if value == "" {
		return ""
	}
	to, err := t.request.URL.Parse(value)
	if err != nil {
		return ""
	}
	return showURL(to, !t.secret)
}
