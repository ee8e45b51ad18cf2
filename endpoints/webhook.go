package endpoints

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
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
	guard   guard
	rule    statusRule
	signer  *signer // nil: requests are not signed
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
		guard:  guard{allow: o.AllowCIDRs, deny: o.DenyCIDRs},
		rule:   statusRule{successOn: o.SuccessOn, retryOn: o.RetryOn, dropOn: o.DropOn},
		signer: newSigner(&o.Signing),
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

// send is Write that tells the answer, too. A request that was refused because of a
// credential which has changed meanwhile is made once more.
func (w *Webhook) send(ctx context.Context, batch []*notifications.Event) (answer, error) {
	if w.closed.Load() {
		return answer{}, notifications.ErrClosed
	}
	if len(batch) == 0 {
		return answer{}, nil
	}
	used, err := w.credentials()
	if err != nil {
		return answer{}, err
	}
	ans, err := w.post(ctx, batch, used)
	if ans.status == http.StatusUnauthorized || ans.status == http.StatusForbidden {
		if now, rerr := w.credentials(); rerr == nil && now != used {
			return w.post(ctx, batch, now)
		}
	}
	return ans, err
}

// credentials are what of a request may change from one to the next.
type credentials struct {
	target        *target
	authorization string
	keys          *signingKeys // nil: the request is not signed
}

// secrets are those that a receiver may echo.
func (c credentials) secrets() []string {
	secrets := append(slices.Clone(c.target.secrets), c.authorization)
	if c.keys != nil {
		secrets = append(secrets, c.keys.secrets...)
	}
	return secrets
}

// credentials reads the secrets. Errors: *DeliveryError.
func (w *Webhook) credentials() (credentials, error) {
	t, err := w.currentTarget()
	if err != nil {
		return credentials{}, w.secretError(Misdirected, fmt.Errorf("reading the URL: %w", err))
	}
	authorization, err := w.authorization()
	if err != nil {
		return credentials{}, w.secretError(Auth, fmt.Errorf("reading the authorization: %w", err))
	}
	keys, err := w.signer.current()
	if err != nil {
		return credentials{}, w.secretError(Auth, fmt.Errorf("reading the %w", err))
	}
	return credentials{t, authorization, keys}, nil
}

// post makes one request.
func (w *Webhook) post(ctx context.Context, batch []*notifications.Event, c credentials) (answer, error) {
	if err := w.guard.checkHost(c.target.request.URL.Hostname()); err != nil {
		return answer{}, TransportError(ctx, w.shown(), err)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, w.opts.Timeout, errTimeout)
	defer cancel()
	body := w.format.appendBatch(make([]byte, 0, len(batch)*usualSize), batch)
	// RoundTrip, not Client.Do: no redirects, no cookies, no URL in errors.
	resp, err := w.carrier.current().RoundTrip(c.target.newRequest(bounded, w.fields(batch, body, c), body))
	if err == nil && resp.StatusCode < 100 { // which net/http lets pass
		resp.Body.Close()
		err = errProtocol
	}
	if err != nil {
		return answer{}, TransportError(ctx, w.shown(), err)
	}
	if resp.Body != http.NoBody {
		defer time.AfterFunc(maxDrainTime, cancel).Stop()
	}
	ans, err := w.judge(resp, c, w.opts.OnAttempt != nil || isPing(ctx))
	if w.closed.Load() {
		w.carrier.shutdown() // the connection has become idle after Shutdown
	}
	return ans, err
}

// fields are the headers that prove who we are.
func (w *Webhook) fields(batch []*notifications.Event, body []byte, c credentials) []field {
	var fields []field
	if c.authorization != "" {
		fields = append(fields, field{"Authorization", c.authorization})
	}
	if c.keys != nil {
		fields = append(fields, w.signer.sign(c.keys, batch, body)...)
	}
	return fields
}

// judge turns an answer into nil or an error and is done with it. The status says it
// all: what becomes of the body decides only about the connection. keep asks for the
// beginning of the body of an answer that accepts, too.
func (w *Webhook) judge(resp *http.Response, c credentials, keep bool) (answer, error) {
	defer resp.Body.Close()
	body := io.Reader(resp.Body)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		body = http.NoBody // it is the connection, which ends now
	}
	wait, asked := retryAfter(resp.Header, time.Now(), w.opts.Retry.RetryAfterMax)
	class, ok := w.rule.answerClass(resp.StatusCode, resp.Header, asked)
	ans := answer{status: resp.StatusCode}
	if (!ok || keep) && body != http.NoBody {
		ans.excerpt = w.excerpt(body, c)
	}
	_, _ = io.CopyN(io.Discard, body, maxDrained)
	if ok {
		return ans, nil
	}
	return ans, &DeliveryError{
		URL:      c.target.shown,
		Class:    class,
		Status:   resp.StatusCode,
		Location: c.target.location(resp),
		Excerpt:  ans.excerpt,
		Wait:     wait,
	}
}

// excerpt reads the beginning of a body and blots out what a receiver may have echoed.
func (w *Webhook) excerpt(body io.Reader, c credentials) []byte {
	begin := make([]byte, 2*sinks.MaxExcerpt)
	n, _ := io.ReadFull(body, begin) // what came before an error is worth having
	begin = blot(begin[:n], slices.Concat(w.secrets, c.secrets()))
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
