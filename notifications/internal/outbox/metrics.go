package outbox

import "github.com/prometheus/client_golang/prometheus"

// metrics are an outbox's own. All label sets exist from the start, at zero.
type metrics struct {
	full, closed, refused, shutdown prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, waiting func() int) *metrics {
	unrecorded := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "regcast_observer_unrecorded_events_total",
		Help: "Events of operations that have happened, and that no sink has, by reason.",
	}, []string{"reason"})
	if reg != nil {
		reg.MustRegister(unrecorded, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "regcast_observer_waiting_events",
			Help: "Events that wait for the sink to take them.",
		}, func() float64 { return float64(waiting()) }))
	}
	return &metrics{
		full:     unrecorded.WithLabelValues("full"),
		closed:   unrecorded.WithLabelValues("closed"),
		refused:  unrecorded.WithLabelValues("refused"),
		shutdown: unrecorded.WithLabelValues("shutdown"),
	}
}
