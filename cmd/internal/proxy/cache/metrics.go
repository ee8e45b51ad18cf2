package cache

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications/observer/route"
)

// A result is how a request was answered that might be from the cache.
type result string

const (
	resultHit    result = "hit"
	resultShared result = "shared" // with another client's question at the same time
	resultMiss   result = "miss"
	resultBypass result = "bypass" // the store was not to be believed
	resultBusy   result = "busy"   // too much is held for clients to have a copy of what is in the store
)

// An operation is what of a store may fail.
type operation string

const (
	operationGet    operation = "get"
	operationSet    operation = "set"
	operationBump   operation = "bump"
	operationDecode operation = "decode"
)

// metrics are a cache's own. All label sets exist from the start, at zero.
type metrics struct {
	requests   map[route.Class]map[result]prometheus.Counter
	errors     map[operation]prometheus.Counter
	unkept     map[reason]prometheus.Counter
	distrusted prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, proxy string) *metrics {
	labels := prometheus.Labels{"proxy": proxy}
	vec := func(name, help string, names ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "regcast_proxy_cache_" + name + "_total", Help: help, ConstLabels: labels}, names)
	}
	requests := vec("requests", "Requests that may be answered from the cache, by class of path and how they were.", "class", "result")
	errors := vec("errors", "Operations of the cache's store that failed, by operation.", "operation")
	unkept := vec("unkept", "Answers that were not kept although they were asked for, by reason.", "reason")
	m := &metrics{
		requests: make(map[route.Class]map[result]prometheus.Counter),
		errors:   make(map[operation]prometheus.Counter),
		unkept:   make(map[reason]prometheus.Counter),
		distrusted: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "regcast_proxy_cache_distrusted_repositories", ConstLabels: labels,
			Help: "Repositories that bypass the cache until its store could be told of their changes.",
		}),
	}
	for class, name := range map[route.Class]string{route.Tags: "tags", route.Manifest: "manifest", route.Blob: "blob"} {
		m.requests[class] = make(map[result]prometheus.Counter)
		for _, r := range []result{resultHit, resultShared, resultMiss, resultBypass, resultBusy} {
			m.requests[class][r] = requests.WithLabelValues(name, string(r))
		}
	}
	for _, o := range []operation{operationGet, operationSet, operationBump, operationDecode} {
		m.errors[o] = errors.WithLabelValues(string(o))
	}
	for _, r := range reasons() {
		m.unkept[r] = unkept.WithLabelValues(string(r))
	}
	if reg != nil {
		reg.MustRegister(requests, errors, unkept, m.distrusted)
	}
	return m
}

func (m *metrics) count(class route.Class, r result) { m.requests[class][r].Inc() }
