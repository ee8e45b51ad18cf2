package endpoints_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// scrape returns all series of reg by the text before their value.
func scrape(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", answer.Code, answer.Body)
	}
	series := make(map[string]float64)
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		series[line[:at]] = value
	}
	return series
}

// mustHave checks some of the series.
func mustHave(t *testing.T, series map[string]float64, want map[string]float64) {
	t.Helper()
	got := make(map[string]float64)
	for name := range want {
		if value, ok := series[name]; ok {
			got[name] = value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMetricsBeginAtZeroAndEnd(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	metrics := endpoints.NewMetrics(reg)
	if got := scrape(t, reg); len(got) != 0 {
		t.Errorf("series without endpoints: %v", got)
	}
	newEndpoint(t, "console:", &endpoints.Options{Metrics: metrics})
	series := scrape(t, reg)
	zero := []string{
		`regcast_endpoint_pending_events{endpoint="audit"}`,
		`regcast_endpoint_oldest_pending_seconds{endpoint="audit"}`,
		`regcast_endpoint_inflight_requests{endpoint="audit"}`,
		`regcast_endpoint_attempts_total{code="200",endpoint="audit"}`,
		`regcast_endpoint_attempts_total{code="timeout",endpoint="audit"}`,
		`regcast_endpoint_attempt_seconds_count{endpoint="audit"}`,
		`regcast_endpoint_delivery_seconds_count{endpoint="audit"}`,
		`regcast_endpoint_last_success_timestamp_seconds{endpoint="audit"}`,
		`registry_notifications_pending_total{endpoint="audit"}`,
		`registry_notifications_status_total{code="200 OK",endpoint="audit"}`,
	}
	for _, outcome := range []string{"delivered", "filtered", "dead", "evicted", "dropped"} {
		zero = append(zero, `regcast_endpoint_events_total{endpoint="audit",outcome="`+outcome+`"}`)
	}
	for _, reason := range sinks.DeadReasons() {
		zero = append(zero, `regcast_endpoint_dead_letters{endpoint="audit",reason="`+string(reason)+`"}`)
	}
	for _, kind := range []string{"Events", "Successes", "Failures", "Errors"} {
		zero = append(zero, `registry_notifications_events_total{endpoint="audit",type="`+kind+`"}`)
	}
	want := map[string]float64{`regcast_endpoint_state{endpoint="audit",state="ok"}`: 1}
	for _, name := range zero {
		want[name] = 0
	}
	mustHave(t, series, want)

	metrics.Forget("audit")
	if got := scrape(t, reg); len(got) != 0 {
		t.Errorf("series of a forgotten endpoint: %v", got)
	}
}

func TestMetricsOfAttempts(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	opts := &endpoints.Options{Metrics: endpoints.NewMetrics(reg)}
	status := http.StatusOK
	url := receive(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	e := newEndpoint(t, url, opts)
	write(t, e, notificationstest.Pushes(0, 2, "team/app")...)
	status = http.StatusNotFound
	policy := e.DeliverOptions().Policy
	err := e.Write(context.Background(), batch)
	policy.Judge(&sinks.Attempt{Number: 1, Events: 1, Started: time.Now()}, err)
	again := newEndpoint(t, "http://127.0.0.1:1", opts) // the same name after a reload: it counts on
	if err := again.Write(context.Background(), batch); err == nil {
		t.Fatal("accepted")
	}
	_ = again.Shutdown(context.Background())
	_ = again.Write(context.Background(), batch) // closed: not an attempt

	series := scrape(t, reg)
	mustHave(t, series, map[string]float64{
		`regcast_endpoint_attempts_total{code="200",endpoint="audit"}`:               1,
		`regcast_endpoint_attempts_total{code="404",endpoint="audit"}`:               1,
		`regcast_endpoint_attempts_total{code="connect",endpoint="audit"}`:           1,
		`regcast_endpoint_attempt_seconds_count{endpoint="audit"}`:                   3,
		`regcast_endpoint_inflight_requests{endpoint="audit"}`:                       0,
		`regcast_endpoint_state{endpoint="audit",state="ok"}`:                        0,
		`regcast_endpoint_state{endpoint="audit",state="misdirected"}`:               1,
		`registry_notifications_events_total{endpoint="audit",type="Successes"}`:     2,
		`registry_notifications_events_total{endpoint="audit",type="Failures"}`:      1,
		`registry_notifications_events_total{endpoint="audit",type="Errors"}`:        1,
		`registry_notifications_status_total{code="200 OK",endpoint="audit"}`:        1,
		`registry_notifications_status_total{code="404 Not Found",endpoint="audit"}`: 1,
	})
	if at := series[`regcast_endpoint_last_success_timestamp_seconds{endpoint="audit"}`]; time.Since(time.UnixMilli(int64(at*1e3))) > time.Minute {
		t.Errorf("last success at %v", at)
	}
	again.DeliverOptions() // from now on it is the one that delivers
	mustHave(t, scrape(t, reg), map[string]float64{`regcast_endpoint_state{endpoint="audit",state="ok"}`: 1})
}

// A fakeLedger is what an engine says.
type fakeLedger struct {
	info sinks.CursorInfo
	dead map[sinks.DeadReason]uint64
	err  error
}

func (l *fakeLedger) CursorInfos(context.Context) ([]sinks.CursorInfo, error) {
	return []sinks.CursorInfo{{Name: "other", Pending: 99}, l.info}, l.err
}

func (l *fakeLedger) DeadCount(context.Context, string) (map[sinks.DeadReason]uint64, error) {
	return l.dead, l.err
}

func TestMetricsOfTheLedger(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	metrics := endpoints.NewMetrics(reg)
	newEndpoint(t, "console:", &endpoints.Options{Metrics: metrics})
	ledger := &fakeLedger{
		info: sinks.CursorInfo{Name: "audit", Pending: 7, OldestPending: time.Now().Add(-time.Hour)},
		dead: map[sinks.DeadReason]uint64{sinks.DeadRejected: 3},
	}
	ledger.info.Totals[sinks.Delivered] = 100
	ledger.info.Totals[sinks.Filtered] = 50
	ledger.info.Totals[sinks.DeadLettered] = 4
	ledger.info.Totals[sinks.Evicted] = 2
	metrics.Observe(ledger)
	series := scrape(t, reg)
	mustHave(t, series, map[string]float64{
		`regcast_endpoint_pending_events{endpoint="audit"}`:                   7,
		`regcast_endpoint_events_total{endpoint="audit",outcome="delivered"}`: 100,
		`regcast_endpoint_events_total{endpoint="audit",outcome="filtered"}`:  50,
		`regcast_endpoint_events_total{endpoint="audit",outcome="dead"}`:      4,
		`regcast_endpoint_events_total{endpoint="audit",outcome="evicted"}`:   2,
		`regcast_endpoint_dead_letters{endpoint="audit",reason="rejected"}`:   3,
		`registry_notifications_events_total{endpoint="audit",type="Events"}`: 106,
		`registry_notifications_pending_total{endpoint="audit"}`:              7,
	})
	if age := series[`regcast_endpoint_oldest_pending_seconds{endpoint="audit"}`]; age < 3600 || age > 3660 {
		t.Errorf("oldest pending is %v s old, want an hour", age)
	}

	ledger.err = errors.New("disk on fire")
	series = scrape(t, reg)
	if _, ok := series[`regcast_endpoint_pending_events{endpoint="audit"}`]; ok {
		t.Error("a ledger that cannot be read says that something is pending")
	}
	mustHave(t, series, map[string]float64{`regcast_endpoint_state{endpoint="audit",state="ok"}`: 1})
}
