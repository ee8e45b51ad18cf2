package endpoints_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// TestPipeline delivers in order past failures, filters, and loses no more than what is
// refused for good: one event of a batch, not the batch.
func TestPipeline(t *testing.T) {
	var got notificationstest.Recorder
	var posts atomic.Int64
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		events := decode(t, r)
		switch poison := slices.Contains(notificationstest.Numbers(events), 7); {
		case posts.Add(1)%3 == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case poison:
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			write(t, &got, events...)
		}
	})
	m, err := sinks.NewMatcher(sinks.Rules{Repositories: []string{"team/*"}}, sinks.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewPedanticRegistry()
	p, err := endpoints.New("audit", url, &endpoints.Options{
		Match: m, Metrics: endpoints.NewMetrics(reg), Batch: sinks.BatchOptions{MaxEvents: 8},
		Retry: endpoints.RetryOptions{Initial: time.Millisecond, Max: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Wants(notificationstest.Push("team/app", "v1", 1)) || p.Wants(notificationstest.Push("other", "v1", 1)) {
		t.Error("Wants is not what the matcher says")
	}
	write(t, p, notificationstest.Pushes(0, 20, "team/app", "team/db")...)
	write(t, p, notificationstest.Pushes(20, 5, "other/app")...)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	var want []int
	for n := range 20 {
		if n != 7 {
			want = append(want, n)
		}
	}
	if numbers := notificationstest.Numbers(got.Events()); !slices.Equal(numbers, want) {
		t.Errorf("received %v, want %v", numbers, want)
	}
	mustHave(t, scrape(t, reg), map[string]float64{
		`regcast_endpoint_events_total{endpoint="audit",outcome="delivered"}`: 19,
		`regcast_endpoint_events_total{endpoint="audit",outcome="dead"}`:      1,
		`regcast_endpoint_events_total{endpoint="audit",outcome="filtered"}`:  5,
		`regcast_endpoint_events_total{endpoint="audit",outcome="dropped"}`:   0,
		`regcast_endpoint_dead_letters{endpoint="audit",reason="rejected"}`:   1,
		`regcast_endpoint_pending_events{endpoint="audit"}`:                   0,
		`registry_notifications_events_total{endpoint="audit",type="Events"}`: 20,
	})
}

func TestPipelineThatCannotDeliver(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	p, err := endpoints.New("audit", "http://127.0.0.1:1", &endpoints.Options{
		Metrics: endpoints.NewMetrics(reg),
		Retry:   endpoints.RetryOptions{Initial: time.Millisecond, Max: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, p, notificationstest.Pushes(0, 3, "team/app")...)
	eventually(t, func() bool { // retrying, or down, which it is some milliseconds later
		return scrape(t, reg)[`regcast_endpoint_state{endpoint="audit",state="ok"}`] == 0
	})
	if pending := scrape(t, reg)[`regcast_endpoint_pending_events{endpoint="audit"}`]; pending != 3 {
		t.Errorf("%v events pending, want 3", pending)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	var left *sinks.LeftError
	if err := p.Shutdown(ctx); !errors.As(err, &left) || left.Events != 3 {
		t.Errorf("Shutdown = %v, want that 3 events are left", err)
	}
	mustHave(t, scrape(t, reg), map[string]float64{`regcast_endpoint_events_total{endpoint="audit",outcome="dropped"}`: 3})
}
