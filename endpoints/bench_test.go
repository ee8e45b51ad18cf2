package endpoints_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// BenchmarkAttempt compares an attempt with one event with the least that net/http's
// client can do with the same body and receiver, a timeout included in both.
func BenchmarkAttempt(b *testing.B) {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer receiver.Close()
	batch := []*notifications.Event{notificationstest.Push("team/app", "v1", 1)}
	ctx := sinks.WithAttempt(context.Background(), sinks.Attempt{Number: 1, First: 7, Last: 7})

	b.Run("webhook", func(b *testing.B) {
		w, err := endpoints.NewWebhook(receiver.URL+"/hook", &endpoints.Options{Version: "1.0", Authorization: endpoints.SecretString("Bearer abc")})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := w.Write(ctx, batch); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}
		body := notifications.AppendEnvelope(nil, batch)
		b.ReportAllocs()
		for b.Loop() {
			resp, err := client.Post(receiver.URL+"/hook", notifications.MediaTypeV2, bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}
