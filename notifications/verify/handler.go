package verify

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// Handler returns a handler that passes to next the requests with a valid signature, with
// a body that can be read again. It answers the others: 401 without a valid signature, 413
// if the body is larger than Options.MaxBody, 400 if it breaks off.
func (v *Verifier) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, v.opts.MaxBody))
		if err != nil {
			status := http.StatusBadRequest
			if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
				status = http.StatusRequestEntityTooLarge
			}
			http.Error(w, err.Error(), status)
			return
		}
		if err := v.Verify(r.Header, body); err != nil {
			w.Header().Set("WWW-Authenticate", "Webhook-Signature") // RFC 9110, 15.5.2, wants a challenge
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		again := r.WithContext(r.Context()) // a copy: a handler does not change its request
		again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		next.ServeHTTP(w, again)
	})
}
