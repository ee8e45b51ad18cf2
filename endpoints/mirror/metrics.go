package mirror

import "github.com/prometheus/client_golang/prometheus"

// Metrics are those of all mirrors of a process, labelled by the endpoint's name; the
// mirrors of one name, one after the other, count on. All series of a mirror begin at zero
// when it is made and end with [Metrics.Forget]. They are safe for concurrent use.
type Metrics struct {
	bytes     *prometheus.CounterVec
	underWay  *prometheus.GaugeVec
	blobs     *prometheus.CounterVec
	manifests *prometheus.CounterVec
	reasons   *prometheus.CounterVec
}

// What becomes of a blob: a metric label.
type blobOutcome string

const (
	blobCopied  blobOutcome = "copied"
	blobMounted blobOutcome = "mounted" // the target had it in another repository
	blobSkipped blobOutcome = "skipped" // the target had it
)

// What becomes of a manifest: a metric label.
type manifestOutcome string

const (
	manifestCopied     manifestOutcome = "copied"
	manifestSkipped    manifestOutcome = "skipped"    // the target had it, and its tag
	manifestSuperseded manifestOutcome = "superseded" // an event whose time is over
	manifestDeleted    manifestOutcome = "deleted"    // or untagged
	manifestLeft       manifestOutcome = "left"       // pushed by digest, and refers to nothing that the target has
	manifestMissing    manifestOutcome = "missing"    // the source does not have it, and its index was copied without it
)

// NewMetrics returns metrics that are registered with reg, once for each reg; with nil
// they are registered nowhere. It panics if reg has metrics of the same names.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcast_mirror_bytes_total", Help: "Bytes of blobs that passed from source to target.",
		}, []string{"endpoint"}),
		underWay: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "regcast_mirror_inflight_bytes", Help: "Bytes that are still to pass of the blobs under way.",
		}, []string{"endpoint"}),
		blobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcast_mirror_blobs_total", Help: "Blobs that the target has, by how it came to them.",
		}, []string{"endpoint", "outcome"}),
		manifests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcast_mirror_manifests_total",
			Help: "Manifests put, found there, deleted or untagged, and events that were superseded, or left because their manifest refers to nothing that the target has; missing are those that an index was copied without.",
		}, []string{"endpoint", "outcome"}),
		reasons: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcast_mirror_superseded_total",
			Help: "Events that were superseded: the tag has moved, the source has it no more, or has again what was deleted.",
		}, []string{"endpoint", "reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.bytes, m.underWay, m.blobs, m.manifests, m.reasons)
	}
	return m
}

// Forget ends the series of the mirror of that name, which was shut down.
func (m *Metrics) Forget(name string) {
	labels := prometheus.Labels{"endpoint": name}
	m.bytes.DeletePartialMatch(labels)
	m.underWay.DeletePartialMatch(labels)
	m.blobs.DeletePartialMatch(labels)
	m.manifests.DeletePartialMatch(labels)
	m.reasons.DeletePartialMatch(labels)
}

// meter returns the meter of the mirror of that name. A nil Metrics has nil meters, which
// measure nothing.
func (m *Metrics) meter(name string) *meter {
	if m == nil {
		return nil
	}
	for _, o := range []blobOutcome{blobCopied, blobMounted, blobSkipped} {
		m.blobs.WithLabelValues(name, string(o))
	}
	for _, o := range []manifestOutcome{manifestCopied, manifestSkipped, manifestSuperseded, manifestDeleted, manifestLeft, manifestMissing} {
		m.manifests.WithLabelValues(name, string(o))
	}
	for _, r := range reasons() {
		m.reasons.WithLabelValues(name, string(r))
	}
	return &meter{name: name, metrics: m, bytes: m.bytes.WithLabelValues(name), underWay: m.underWay.WithLabelValues(name)}
}

// A meter measures one mirror.
type meter struct {
	name     string
	metrics  *Metrics
	bytes    prometheus.Counter
	underWay prometheus.Gauge
}

func (t *meter) blob(o blobOutcome) {
	if t != nil {
		t.metrics.blobs.WithLabelValues(t.name, string(o)).Inc()
	}
}

func (t *meter) manifest(o manifestOutcome) {
	if t != nil {
		t.metrics.manifests.WithLabelValues(t.name, string(o)).Inc()
	}
}

func (t *meter) superseded(r reason) {
	if t != nil {
		t.manifest(manifestSuperseded)
		t.metrics.reasons.WithLabelValues(t.name, string(r)).Inc()
	}
}

// inflight notes that n more bytes are to pass, or fewer.
func (t *meter) inflight(n int64) {
	if t != nil {
		t.underWay.Add(float64(n))
	}
}

// passed notes that n bytes have.
func (t *meter) passed(n int64) {
	if t != nil {
		t.bytes.Add(float64(n))
		t.underWay.Sub(float64(n))
	}
}
