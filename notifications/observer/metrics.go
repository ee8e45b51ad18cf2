package observer

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/internal/outbox"
)

// metrics are an Observer's own. All label sets exist from the start, at zero.
type metrics struct {
	pull, push, mount, del prometheus.Counter
	unclassified           prometheus.Counter
	unread                 prometheus.Counter
	forgotten              prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "regcast_observer_events_total",
		Help: "Events made of a registry's traffic, by action.",
	}, []string{"action"})
	m := &metrics{
		pull:  events.WithLabelValues(notifications.ActionPull),
		push:  events.WithLabelValues(notifications.ActionPush),
		mount: events.WithLabelValues(notifications.ActionMount),
		del:   events.WithLabelValues(notifications.ActionDelete),
		unclassified: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "regcast_observer_unclassified_total",
			Help: "Requests that succeeded and made no event, or not all of them, because what they changed or read cannot be told for sure.",
		}),
		unread: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "regcast_observer_unread_manifests_total",
			Help: "Manifests that were passed on without being read for their references, as they were too large, had too many of them, were too many at a time, or were pushed in an encoding.",
		}),
		forgotten: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "regcast_observer_forgotten_uploads_total",
			Help: "Uploads under way that were forgotten to make room for others: the size of their blobs is not known.",
		}),
	}
	if reg != nil {
		reg.MustRegister(events, m.unclassified, m.unread, m.forgotten)
	}
	return m
}

// A counted sink counts the events on their way to the outbox.
type counted struct {
	*outbox.Outbox
	metrics *metrics
}

// Write implements [notifications.Sink].
func (c *counted) Write(ctx context.Context, batch []*notifications.Event) error {
	for _, e := range batch {
		switch e.Action {
		case notifications.ActionPull:
			c.metrics.pull.Inc()
		case notifications.ActionPush:
			c.metrics.push.Inc()
		case notifications.ActionMount:
			c.metrics.mount.Inc()
		case notifications.ActionDelete:
			c.metrics.del.Inc()
		}
	}
	return c.Outbox.Write(ctx, batch)
}
