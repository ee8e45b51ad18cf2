package cache

import "github.com/prometheus/client_golang/prometheus"

// metrics of a ReadThrough: requests = hits + misses + bypassed + errors of stat.
type metrics struct {
	requests, hits, misses, bypassed prometheus.Counter

	bypass           prometheus.Gauge
	stat, set, clear operation
}

// An operation is one of a cache's.
type operation struct {
	name    string
	seconds prometheus.Observer
	errors  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "regcast_descriptor_cache_" + name + "_total", Help: help})
	}
	errors := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "regcast_descriptor_cache_errors_total",
		Help: "Operations of the descriptor cache that failed, by operation.",
	}, []string{"operation"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "regcast_descriptor_cache_operation_seconds",
		Help:    "Time that an operation of the descriptor cache took, however it ended.",
		Buckets: prometheus.ExponentialBuckets(0.000001, 4, 11), // 1 µs to 1 s
	}, []string{"operation"})
	m := &metrics{
		requests: counter("requests", "Descriptors that were asked for."),
		hits:     counter("hits", "Descriptors that the cache had."),
		misses:   counter("misses", "Descriptors that the cache said it did not have."),
		bypassed: counter("bypassed", "Descriptors for which the cache was not asked, as it could not be told to forget one."),
		bypass: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "regcast_descriptor_cache_bypass",
			Help: "1 while the cache is bypassed, as it could not be told to forget something; else 0.",
		}),
	}
	for _, o := range []struct {
		name string
		to   *operation
	}{{"stat", &m.stat}, {"set", &m.set}, {"clear", &m.clear}} {
		*o.to = operation{o.name, seconds.WithLabelValues(o.name), errors.WithLabelValues(o.name)}
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.hits, m.misses, m.bypassed, m.bypass, errors, seconds)
	}
	return m
}
