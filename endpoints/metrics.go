package endpoints

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/sinks"
)

// Metrics are those of all endpoints of a process. They are labelled by the endpoint's
// name; the endpoints of one name, one after the other, count on. All series of an
// endpoint begin at zero when it is made and end with [Metrics.Forget]. It is safe for
// concurrent use.
//
// What only an engine knows (what is pending, and what became of the rest) is asked of
// the [Ledger] at each scrape, so that these numbers always belong together.
type Metrics struct {
	attempts       *prometheus.CounterVec
	attemptSeconds *prometheus.HistogramVec
	delivery       *prometheus.HistogramVec
	inflight       *prometheus.GaugeVec
	lastSuccess    *prometheus.GaugeVec
	statuses       *prometheus.CounterVec // alias

	mu     sync.Mutex
	meters map[string]*meter
	ledger Ledger
}

// A Ledger is the part of a [sinks.Engine] that metrics need.
type Ledger interface {
	CursorInfos(ctx context.Context) ([]sinks.CursorInfo, error)
	DeadCount(ctx context.Context, cursor string) (map[sinks.DeadReason]uint64, error)
}

// scrapeTimeout bounds how long a scrape waits for the ledger.
const scrapeTimeout = 5 * time.Second

// NewMetrics returns metrics that are registered with reg, once for each reg; with nil
// they are registered nowhere. It panics if reg has metrics of the same names.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	byEndpoint := []string{"endpoint"}
	m := &Metrics{
		meters: make(map[string]*meter),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcast_endpoint_attempts_total",
			Help: "Requests made, by the status of the answer or the fault that prevented one.",
		}, []string{"endpoint", "code"}),
		attemptSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "regcast_endpoint_attempt_seconds",
			Help:    "Duration of requests.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60},
		}, byEndpoint),
		delivery: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "regcast_endpoint_delivery_seconds",
			Help:    "Time from when an event was stored to when it was accepted.",
			Buckets: []float64{.005, .025, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 72 * 3600},
		}, byEndpoint),
		inflight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "regcast_endpoint_inflight_requests",
			Help: "Requests in flight.",
		}, byEndpoint),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "regcast_endpoint_last_success_timestamp_seconds",
			Help: "When a batch was accepted last, in Unix time; 0: never since the start.",
		}, byEndpoint),
		statuses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "registry_notifications_status_total",
			Help: "Answers by status. Kept for dashboards of CNCF distribution: see regcast_endpoint_attempts_total.",
		}, []string{"code", "endpoint"}),
	}
	if reg != nil {
		reg.MustRegister(m)
	}
	return m
}

// Observe asks l, an engine, for what it knows of the endpoints' cursors, which have the
// endpoints' names. Call it before the first scrape.
func (m *Metrics) Observe(l Ledger) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ledger = l
}

// Forget ends the series of the endpoint of that name, which was shut down.
func (m *Metrics) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.meters, name)
	labels := prometheus.Labels{"endpoint": name}
	m.attempts.DeletePartialMatch(labels)
	m.attemptSeconds.DeletePartialMatch(labels)
	m.delivery.DeletePartialMatch(labels)
	m.inflight.DeletePartialMatch(labels)
	m.lastSuccess.DeletePartialMatch(labels)
	m.statuses.DeletePartialMatch(labels)
}

// meter returns the meter of the endpoint of that name. A nil Metrics has nil meters,
// which measure nothing.
func (m *Metrics) meter(name string) *meter {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.meters[name]; ok {
		return t
	}
	t := &meter{
		name:        name,
		metrics:     m,
		attempt:     m.attemptSeconds.WithLabelValues(name),
		delivery:    m.delivery.WithLabelValues(name),
		inflight:    m.inflight.WithLabelValues(name),
		lastSuccess: m.lastSuccess.WithLabelValues(name),
	}
	m.attempts.WithLabelValues(name, "200")
	for _, f := range Faults() {
		m.attempts.WithLabelValues(name, string(f))
	}
	m.statuses.WithLabelValues(statusText(200), name)
	m.meters[name] = t
	return t
}

// A meter measures one endpoint.
type meter struct {
	name        string
	metrics     *Metrics
	attempt     prometheus.Observer
	delivery    prometheus.Observer
	inflight    prometheus.Gauge
	lastSuccess prometheus.Gauge

	// Of the alias registry_notifications_events_total: events in attempts.
	successes, failures, errors atomic.Uint64

	mu       sync.Mutex
	state    func() StateName
	standing func() standing // nil: the ledger's
}

// propose asks f for the endpoint's state unless another is asked already.
func (t *meter) propose(f func() StateName) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == nil {
		t.state = f
	}
}

// observeState asks f for the endpoint's state, from now on.
func (t *meter) observeState(f func() StateName) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = f
}

// observeStanding asks f instead of the ledger.
func (t *meter) observeStanding(f func() standing) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.standing = f
}

// begin notes that an attempt begins.
func (t *meter) begin() {
	if t != nil {
		t.inflight.Inc()
	}
}

// cancel notes that there was none after all.
func (t *meter) cancel() {
	if t != nil {
		t.inflight.Dec()
	}
}

// end notes how an attempt with that many events ended.
func (t *meter) end(took time.Duration, events, status int, err error) {
	if t == nil {
		return
	}
	t.inflight.Dec()
	t.attempt.Observe(took.Seconds())
	code := "ok" // of an endpoint without statuses
	switch {
	case status != 0:
		t.metrics.statuses.WithLabelValues(statusText(status), t.name).Inc()
		code = strconv.Itoa(status)
	case err != nil:
		code = asDeliveryError(err).Code()
	}
	t.metrics.attempts.WithLabelValues(t.name, code).Inc()
	switch {
	case err == nil:
		t.lastSuccess.SetToCurrentTime()
		t.successes.Add(uint64(events))
	case status != 0:
		t.failures.Add(uint64(events))
	default:
		t.errors.Add(uint64(events))
	}
}

// settled is DeliverOptions.OnSettle.
func (t *meter) settled(outcome sinks.Outcome, settled []sinks.Delivery) {
	if t == nil || outcome != sinks.Delivered {
		return
	}
	now := time.Now()
	for i := range settled {
		t.delivery.Observe(now.Sub(settled[i].Stored).Seconds())
	}
}
