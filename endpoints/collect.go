package endpoints

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/sinks"
)

// A standing is how far an endpoint is, all numbers of one moment.
type standing struct {
	sinks.CursorInfo
	dead map[sinks.DeadReason]uint64 // dead letters that are kept
}

// accounted are the outcomes that, with what is pending, make up what was stored.
var accounted = [...]sinks.Outcome{
	sinks.Delivered, sinks.Filtered, sinks.DeadLettered, sinks.Evicted, sinks.Dropped,
}

// descriptions are of the series that are asked for at a scrape.
type descriptions struct {
	state, pending, oldest, events, dead, aliasEvents, aliasPending *prometheus.Desc
}

func describe() descriptions {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return descriptions{
		state:        desc("regcast_endpoint_state", "1 for the state that the endpoint is in, else 0.", "endpoint", "state"),
		pending:      desc("regcast_endpoint_pending_events", "Events that are stored and not settled for the endpoint.", "endpoint"),
		oldest:       desc("regcast_endpoint_oldest_pending_seconds", "Age of the oldest pending event.", "endpoint"),
		events:       desc("regcast_endpoint_events_total", "Events settled since the endpoint's start, by outcome.", "endpoint", "outcome"),
		dead:         desc("regcast_endpoint_dead_letters", "Dead letters that are kept, by reason.", "endpoint", "reason"),
		aliasEvents:  desc("registry_notifications_events_total", "Events settled, and events in attempts. Kept for dashboards of CNCF distribution: see regcast_endpoint_events_total.", "type", "endpoint"),
		aliasPending: desc("registry_notifications_pending_total", "Kept for dashboards of CNCF distribution: see regcast_endpoint_pending_events.", "endpoint"),
	}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
	d := describe()
	for _, desc := range []*prometheus.Desc{d.state, d.pending, d.oldest, d.events, d.dead, d.aliasEvents, d.aliasPending} {
		ch <- desc
	}
}

// Collect implements [prometheus.Collector]. When the ledger cannot be read, its series
// are missing from the scrape.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
	m.mu.Lock()
	ledger := m.ledger
	meters := slices.SortedFunc(maps.Values(m.meters), func(a, b *meter) int { return strings.Compare(a.name, b.name) })
	m.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	book := open(ctx, ledger)
	d := describe()
	for _, t := range meters {
		t.collectState(ch, &d)
		if s, err := t.read(ctx, book); err == nil {
			t.collectStanding(ch, &d, &s)
		}
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.attempts, m.attemptSeconds, m.delivery, m.inflight, m.lastSuccess, m.statuses}
}

// A book is what the ledger said, once for all endpoints.
type book struct {
	ledger Ledger // nil: there is none, all is zero
	infos  map[string]sinks.CursorInfo
	err    error
}

func open(ctx context.Context, l Ledger) *book {
	b := &book{ledger: l, infos: make(map[string]sinks.CursorInfo)}
	if l == nil {
		return b
	}
	var infos []sinks.CursorInfo
	infos, b.err = l.CursorInfos(ctx)
	for _, info := range infos {
		b.infos[info.Name] = info
	}
	return b
}

// read returns the endpoint's standing.
func (t *meter) read(ctx context.Context, b *book) (standing, error) {
	t.mu.Lock()
	own := t.standing
	t.mu.Unlock()
	switch {
	case own != nil:
		return own(), nil
	case b.ledger == nil || b.err != nil:
		return standing{}, b.err
	}
	dead, err := b.ledger.DeadCount(ctx, t.name)
	return standing{CursorInfo: b.infos[t.name], dead: dead}, err
}

func (t *meter) collectState(ch chan<- prometheus.Metric, d *descriptions) {
	t.mu.Lock()
	state := t.state
	t.mu.Unlock()
	if state == nil {
		return
	}
	now := state()
	for _, name := range StateNames() {
		value := 0.0
		if name == now {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(d.state, prometheus.GaugeValue, value, t.name, string(name))
	}
}

func (t *meter) collectStanding(ch chan<- prometheus.Metric, d *descriptions, s *standing) {
	emit := func(desc *prometheus.Desc, kind prometheus.ValueType, value uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, kind, float64(value), labels...)
	}
	age := 0.0
	if !s.OldestPending.IsZero() {
		age = max(time.Since(s.OldestPending).Seconds(), 0)
	}
	ch <- prometheus.MustNewConstMetric(d.oldest, prometheus.GaugeValue, age, t.name)
	emit(d.pending, prometheus.GaugeValue, s.Pending, t.name)
	emit(d.aliasPending, prometheus.GaugeValue, s.Pending, t.name)
	taken := uint64(0)
	for _, outcome := range accounted {
		emit(d.events, prometheus.CounterValue, s.Totals[outcome], t.name, outcome.String())
		if outcome != sinks.Filtered {
			taken += s.Totals[outcome]
		}
	}
	for _, reason := range sinks.DeadReasons() {
		emit(d.dead, prometheus.GaugeValue, s.dead[reason], t.name, string(reason))
	}
	emit(d.aliasEvents, prometheus.CounterValue, taken, "Events", t.name)
	emit(d.aliasEvents, prometheus.CounterValue, t.successes.Load(), "Successes", t.name)
	emit(d.aliasEvents, prometheus.CounterValue, t.failures.Load(), "Failures", t.name)
	emit(d.aliasEvents, prometheus.CounterValue, t.errors.Load(), "Errors", t.name)
}
