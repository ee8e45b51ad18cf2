package verify_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"
	"time"

	"github.com/regcast/regcast/notifications/verify"
)

func TestHandler(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		header http.Header
		body   io.Reader
		max    int64
		want   int
	}{
		"signed":         {signed(t, now, oldSecret), bytes.NewReader(body), 0, http.StatusAccepted},
		"as large as is": {signed(t, now, oldSecret), bytes.NewReader(body), int64(len(body)), http.StatusAccepted},
		"not signed":     {nil, bytes.NewReader(body), 0, http.StatusUnauthorized},
		"by another":     {signed(t, now, newSecret), bytes.NewReader(body), 0, http.StatusUnauthorized},
		"too old":        {signed(t, now.Add(-time.Hour), oldSecret), bytes.NewReader(body), 0, http.StatusUnauthorized},
		"too large":      {signed(t, now, oldSecret), bytes.NewReader(body), int64(len(body)) - 1, http.StatusRequestEntityTooLarge},
		"broken off":     {signed(t, now, oldSecret), iotest.ErrReader(errors.New("broken off")), 0, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			called := false
			handler := newVerifier(t, &verify.Options{MaxBody: c.max}, oldSecret).Handler(http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) {
					called = true
					if got, err := io.ReadAll(r.Body); !bytes.Equal(got, body) || err != nil {
						t.Errorf("the body behind it is %q, %v", got, err)
					}
					if r.ContentLength != int64(len(body)) {
						t.Errorf("its length is said to be %d", r.ContentLength)
					}
					w.WriteHeader(http.StatusAccepted)
				}))
			req := httptest.NewRequest(http.MethodPost, "/", c.body)
			req.ContentLength = -1 // as a sender that does not know it
			if c.header != nil {
				req.Header = c.header
			}
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, req)
			if rec.Code != c.want || called != (c.want == http.StatusAccepted) {
				t.Errorf("%d %q, called: %v; want %d", rec.Code, rec.Body, called, c.want)
			}
			if challenge := rec.Header().Get("WWW-Authenticate"); (challenge != "") != (c.want == http.StatusUnauthorized) {
				t.Errorf("%d with the challenge %q", rec.Code, challenge)
			}
		})
	}
}
