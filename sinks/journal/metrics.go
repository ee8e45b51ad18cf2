package journal

import (
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the journal's own; the constructor registers them and Shutdown takes them
// away again.
type metrics struct {
	commit          prometheus.Histogram
	conflicts       prometheus.Counter
	evicted         prometheus.Counter
	cutDead         prometheus.Counter
	cutQuarantined  prometheus.Counter
	cutAttempts     prometheus.Counter
	droppedAttempts prometheus.Counter

	registerer prometheus.Registerer
	registered []prometheus.Collector
}

func newMetrics(j *Journal, r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		registerer: r,
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "regcast_engine_commit_seconds",
			Help:    "How long a commit took, the sync included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		conflicts:       counter("regcast_engine_id_conflicts_total", "Events stored although an event with their id and other content was there."),
		evicted:         counter("regcast_engine_evicted_events_total", "Events that retention cut before a cursor had settled them, once for each cursor."),
		cutDead:         counter("regcast_engine_dead_letters_cut_total", "Dead letters that were removed to keep dead_bytes, or by age."),
		cutQuarantined:  counter("regcast_engine_quarantine_cut_total", "Quarantined bodies that were removed to keep quarantine_bytes."),
		cutAttempts:     counter("regcast_engine_attempts_cut_total", "Attempts that were removed before their time, to keep the bound of history."),
		droppedAttempts: counter("regcast_engine_attempts_dropped_total", "Attempts that history could not keep up with, or not write."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.commit, m.conflicts, m.evicted, m.cutDead, m.cutQuarantined, m.cutAttempts, m.droppedAttempts,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "regcast_engine_bytes", Help: "Size of the journal's files on disk, the ballast aside.",
		}, j.fileBytes),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "regcast_engine_disk_free_bytes", Help: "Free space of the file system under the journal.",
		}, func() float64 { free, _ := j.disk.free(); return float64(free) }),
	} {
		if err := r.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
		m.registered = append(m.registered, c)
	}
	return m, nil
}

func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
}

func (j *Journal) fileBytes() float64 {
	var sum int64
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if st, err := os.Stat(filepath.Join(j.dir, dbFile+suffix)); err == nil {
			sum += st.Size()
		}
	}
	return float64(sum)
}
