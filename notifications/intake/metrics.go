package intake

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
)

// metrics are a handler's own. All label sets exist from the start, at zero.
type metrics struct {
	events      *prometheus.CounterVec // by format
	lastEvent   *prometheus.GaugeVec   // by format
	duplicates  prometheus.Counter
	quarantined *prometheus.CounterVec // by reason
	redacted    prometheus.Counter
	refused     *prometheus.CounterVec // by status code
	ack         prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcast_intake_events_total",
			Help: "Events taken in and stored, by inbound format.",
		}, []string{"format"}),
		lastEvent: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "regcast_intake_last_event_timestamp_seconds",
			Help: "When an event came in last, a repeat included, as Unix time; 0 if none has since the start.",
		}, []string{"format"}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "regcast_intake_duplicates_total",
			Help: "Events that were stored before and acknowledged again.",
		}),
		quarantined: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcast_intake_quarantined_total",
			Help: "What could not be read as an event and was quarantined, by reason.",
		}, []string{"reason"}),
		redacted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "regcast_intake_redacted_total",
			Help: "Credentials found in events and removed before these were stored.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcast_intake_refused_total",
			Help: "Requests that were not answered with 202, by status code.",
		}, []string{"code"}),
		ack: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "regcast_intake_ack_seconds",
			Help:    "Time from the beginning of a request to its acknowledgement with 202.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // 0.5 ms to 4 s
		}),
	}
	m.events.WithLabelValues(formatDistribution)
	m.lastEvent.WithLabelValues(formatDistribution)
	for _, reason := range notifications.Reasons() {
		m.quarantined.WithLabelValues(string(reason))
	}
	for _, code := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusServiceUnavailable} {
		m.refused.WithLabelValues(strconv.Itoa(code))
	}
	if reg != nil {
		reg.MustRegister(m.events, m.lastEvent, m.duplicates, m.quarantined, m.redacted, m.refused, m.ack)
	}
	return m
}

// stored counts what became of a request that was acknowledged.
func (m *metrics) stored(format string, receipt notifications.Receipt, d notifications.Decoded) {
	if receipt.Accepted+receipt.Duplicates > 0 {
		m.events.WithLabelValues(format).Add(float64(receipt.Accepted))
		m.duplicates.Add(float64(receipt.Duplicates))
		m.lastEvent.WithLabelValues(format).SetToCurrentTime()
	}
	for _, q := range d.Bad {
		m.quarantined.WithLabelValues(string(q.Reason)).Inc()
	}
	if d.Redacted > 0 {
		m.redacted.Add(float64(d.Redacted))
	}
}
