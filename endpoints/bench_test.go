package endpoints_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
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

// BenchmarkDeliver delivers from memory to a receiver, one event for each request, with
// as many repositories as there are lanes for.
func BenchmarkDeliver(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run("batch="+strconv.Itoa(size), func(b *testing.B) {
			receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
			}))
			defer receiver.Close()
			e, err := endpoints.NewEndpoint("audit", receiver.URL, &endpoints.Options{
				Batch: sinks.BatchOptions{MaxEvents: size}, Metrics: endpoints.NewMetrics(nil),
			})
			if err != nil {
				b.Fatal(err)
			}
			engine := sinks.NewMemory(nil)
			defer engine.Shutdown(context.Background())
			ctx, cancel := context.WithCancel(context.Background())
			cursor, err := engine.Cursor(ctx, e.Name(), nil)
			if err != nil {
				b.Fatal(err)
			}
			repos := make([]string, 64)
			for i := range repos {
				repos[i] = "team/app-" + strconv.Itoa(i)
			}
			events := notificationstest.Pushes(0, b.N, repos...)
			const chunk = 1000
			room := make(chan struct{}, b.N/chunk+5)
			for range 5 {
				room <- struct{}{}
			}
			settled := 0
			opts := e.DeliverOptions()
			count := opts.OnSettle
			opts.OnSettle = func(o sinks.Outcome, d []sinks.Delivery) {
				count(o, d)
				for range (settled+len(d))/chunk - settled/chunk {
					room <- struct{}{}
				}
				if settled += len(d); settled == b.N {
					cancel()
				}
			}
			b.ResetTimer()
			go func() {
				for part := range slices.Chunk(events, chunk) {
					<-room
					if err := engine.Write(ctx, part); err != nil {
						b.Error(err)
						return
					}
				}
			}()
			if err := sinks.Deliver(ctx, cursor, e, opts); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			_ = e.Shutdown(context.Background())
		})
	}
}
