package endpoints

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// The headers that tell of the attempt, in canonical form.
const (
	headerAttempt    = "Regcast-Attempt"
	headerSequence   = "Regcast-Sequence"
	headerOutOfOrder = "Regcast-Out-Of-Order"
	headerReplay     = "Regcast-Replay"
)

// An answer's body is read so that its connection can be used again; one with more to
// read, or for longer, is closed.
const (
	maxDrained   = 64 << 10 // bytes
	maxDrainTime = time.Second
)

// usualSize is more than most events have in the body of a request, in bytes.
const usualSize = 1 << 10

// A Webhook posts batches to an HTTP endpoint. It makes one attempt for each Write and
// keeps nothing between them but connections: whoever writes decides about another.
// It is safe for concurrent use. Who made it calls Shutdown after the last Write.
type Webhook struct {
	opts    *Options
	format  format
	carrier *carrier
	rule    statusRule
	target  atomic.Pointer[target]
	secrets []string // of static headers, to blot out of what receivers echo
	closed  atomic.Bool
}

// NewWebhook returns a webhook that posts to rawURL, an http or https URL whose user
// information, if any, becomes an Authorization header. Nothing is connected yet.
// Errors: all that is wrong with the arguments, see [OptionError].
func NewWebhook(rawURL string, opts *Options) (*Webhook, error) {
	o := opts.withDefaults()
	var p problems
	o.validate(&p)
	o.validateWebhook(&p)
	return newWebhook(rawURL, o, p)
}

// newWebhook takes options that were validated with the result p.
func newWebhook(rawURL string, o *Options, p problems) (*Webhook, error) {
	w := &Webhook{
		opts:   o,
		format: formatOf(o.Format),
		rule:   statusRule{successOn: o.SuccessOn, retryOn: o.RetryOn, dropOn: o.DropOn},
	}
	switch {
	case o.URL == nil:
		t, err := w.newTarget(rawURL)
		if err != nil {
			p.add("url", "%w", err)
		}
		w.target.Store(t)
	case rawURL != "":
		p.add("url", "it is given twice, once as a secret")
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	var err error
	if w.carrier, err = newCarrier(o); err != nil {
		return nil, &OptionError{Option: "tls", Err: err}
	}
	for _, values := range o.Headers {
		w.secrets = append(w.secrets, values...)
	}
	return w, nil
}

// Write posts batch once. An empty batch is accepted.
//
// Errors: a [*DeliveryError]; notifications.ErrClosed after Shutdown.
func (w *Webhook) Write(ctx context.Context, batch []*notifications.Event) error {
	_, err := w.send(ctx, batch)
	return err
}

// send is Write that tells the status, too; 0 without an answer.
func (w *Webhook) send(ctx context.Context, batch []*notifications.Event) (status int, err error) {
	if w.closed.Load() {
		return 0, notifications.ErrClosed
	}
	if len(batch) == 0 {
		return 0, nil
	}
	t, err := w.currentTarget()
	if err != nil {
		return 0, w.secretError(Misdirected, fmt.Errorf("reading the URL: %w", err))
	}
	authorization, err := w.authorization()
	if err != nil {
		return 0, w.secretError(Auth, fmt.Errorf("reading the authorization: %w", err))
	}

	body := w.format.appendBatch(make([]byte, 0, len(batch)*usualSize), batch)
	bounded, cancel := context.WithTimeoutCause(ctx, w.opts.Timeout, errTimeout)
	defer cancel()
	req := t.request.WithContext(bounded)
	req.Header = requestHeader(ctx, t.request.Header, authorization)
	req.ContentLength = int64(len(body))
	// http.Transport sends headers and body in one piece if it knows the reader to be in
	// memory. A body that would tell when its buffer can be used again costs a system
	// call more, and far more than a new buffer.
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody()

	// RoundTrip, not Client.Do: no redirects, no cookies, no URL in errors.
	resp, err := w.carrier.current().RoundTrip(req)
	if err == nil && resp.StatusCode < 100 { // which net/http lets pass
		resp.Body.Close()
		err = errProtocol
	}
	if err != nil {
		return 0, w.transportError(ctx, err)
	}
	if resp.Body != http.NoBody {
		defer time.AfterFunc(maxDrainTime, cancel).Stop()
	}
	err = w.judge(resp, t, authorization)
	if w.closed.Load() {
		w.carrier.shutdown() // the connection has become idle after Shutdown
	}
	return resp.StatusCode, err
}

// judge turns an answer into nil or an error and is done with it. The status says it
// all: what becomes of the body decides only about the connection.
func (w *Webhook) judge(resp *http.Response, t *target, authorization string) error {
	defer resp.Body.Close()
	body := io.Reader(resp.Body)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		body = http.NoBody // it is the connection, which ends now
	}
	wait, asked := retryAfter(resp.Header, time.Now(), w.opts.Retry.RetryAfterMax)
	class, ok := w.rule.answerClass(resp.StatusCode, resp.Header, asked)
	if ok {
		_, _ = io.CopyN(io.Discard, body, maxDrained)
		return nil
	}
	excerpt := w.excerpt(body, t, authorization)
	_, _ = io.CopyN(io.Discard, body, maxDrained)
	return &DeliveryError{
		URL:      t.shown,
		Class:    class,
		Status:   resp.StatusCode,
		Location: t.location(resp),
		Excerpt:  excerpt,
		wait:     wait,
	}
}

// excerpt reads the beginning of a body and blots out what a receiver may have echoed.
func (w *Webhook) excerpt(body io.Reader, t *target, authorization string) []byte {
	begin := make([]byte, 2*sinks.MaxExcerpt)
	n, _ := io.ReadFull(body, begin) // what came before an error is worth having
	begin = blot(begin[:n], slices.Concat(w.secrets, t.secrets, []string{authorization}))
	return begin[:min(len(begin), sinks.MaxExcerpt)]
}

// authorization returns the header's value, "" for none.
func (w *Webhook) authorization() (string, error) {
	if w.opts.Authorization == nil {
		return "", nil
	}
	value, err := w.opts.Authorization()
	if err == nil && !validHeaderValue(value) {
		return "", errors.New("it has control characters")
	}
	return value, err
}

func (w *Webhook) secretError(c Class, err error) *DeliveryError {
	return &DeliveryError{URL: w.shown(), Class: c, Fault: FaultSecret, Err: err}
}

// shown is the URL as it may be shown.
func (w *Webhook) shown() string {
	if t := w.target.Load(); t != nil {
		return t.shown
	}
	return "<secret>"
}

// Shutdown closes idle connections. A Write in flight goes on; a later one returns
// notifications.ErrClosed. It returns nil.
func (w *Webhook) Shutdown(context.Context) error {
	w.closed.Store(true)
	w.carrier.shutdown()
	return nil
}

// requestHeader returns the headers of one request: base is not changed.
//
// The empty Idempotency-Key in base is never sent. It tells http.Transport that the
// request may be repeated, so that a kept connection which the receiver has closed
// meanwhile is replaced at once instead of looking like an outage. Receivers have to
// expect repeats anyway.
func requestHeader(ctx context.Context, base http.Header, authorization string) http.Header {
	a, attempted := sinks.AttemptFrom(ctx)
	if !attempted && authorization == "" {
		return base
	}
	h := maps.Clone(base)
	values := make([]string, 0, 4)
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if authorization != "" {
		set("Authorization", authorization)
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
