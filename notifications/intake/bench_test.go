package intake_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/intake"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// sieve is an engine that keeps nothing.
type sieve struct{}

func (sieve) Record(_ context.Context, events []*notifications.Event, bad []notifications.Quarantined) (notifications.Receipt, error) {
	return notifications.Receipt{Accepted: len(events), Quarantined: len(bad)}, nil
}

// blank is a response that nobody reads.
type blank struct{ header http.Header }

func (b blank) Header() http.Header         { return b.header }
func (b blank) Write(p []byte) (int, error) { return len(p), nil }
func (b blank) WriteHeader(int)             {}

// BenchmarkHandler shows what intake adds to a request, against a handler that only
// reads the body and answers 202.
func BenchmarkHandler(b *testing.B) {
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	})
	ours := intake.NewHandler(sieve{}, nil)
	bodies := map[string][]byte{
		"1":   []byte(envelope(push)),
		"100": []byte(envelope(notificationstest.Pushes(0, 100, "team/app", "team/web")...)),
	}
	for _, handler := range []struct {
		name string
		http.Handler
	}{{"bare", bare}, {"intake", ours}} {
		for _, events := range []string{"1", "100"} {
			b.Run(handler.name+"/"+events, func(b *testing.B) {
				body := bytes.NewReader(bodies[events])
				r := httptest.NewRequest(http.MethodPost, intake.Path, nil)
				r.Header.Set("Content-Type", notifications.MediaTypeV2)
				r.ContentLength = int64(len(bodies[events]))
				r.Body = io.NopCloser(body)
				w := blank{make(http.Header)}
				b.SetBytes(r.ContentLength)
				b.ReportAllocs()
				for b.Loop() {
					body.Reset(bodies[events])
					handler.ServeHTTP(w, r)
				}
			})
		}
	}
}
