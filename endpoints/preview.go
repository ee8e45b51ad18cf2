package endpoints

import (
	"context"
	"net/http"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A Preview is a request as it would be sent, without its secrets.
type Preview struct {
	Method string
	URL    string // as far as it may be shown
	Header http.Header
	Body   []byte
}

// hiddenValue stands for the value of a header that may be a secret.
const hiddenValue = "<secret>"

// Preview returns the request that a first attempt with batch would make, and false for
// a built-in endpoint, which makes none. Nothing is sent and no secret is read: the
// values of Authorization, of configured headers and of signatures are hidden.
func (e *Endpoint) Preview(batch []*notifications.Event) (Preview, bool) {
	w, ok := e.sender.(*Webhook)
	if !ok {
		return Preview{}, false
	}
	return w.preview(batch), true
}

func (w *Webhook) preview(batch []*notifications.Event) Preview {
	p := Preview{Method: http.MethodPost, URL: w.shown(), Body: w.format.appendBatch(nil, batch)}
	t := w.target.Load()
	if t == nil { // the URL is a secret and was not read; the headers do not depend on it
		var err error
		if t, err = w.newTarget("http://secret.invalid"); err != nil {
			return p
		}
	}
	var fields []field
	if w.opts.Authorization != nil {
		fields = append(fields, field{"Authorization", hiddenValue})
	}
	if w.signer != nil {
		fields = append(fields, w.signer.preview(batch)...)
	}
	ctx := sinks.WithAttempt(context.Background(), sinks.Attempt{Number: 1, First: 1})
	p.Header = requestHeader(ctx, t.request.Header, fields).Clone()
	for name := range w.opts.Headers {
		p.Header.Set(name, hiddenValue)
	}
	if p.Header.Get("Authorization") != "" {
		p.Header.Set("Authorization", hiddenValue)
	}
	p.Header.Del("Idempotency-Key") // empty, which net/http takes as a hint and does not send
	return p
}
