package proxy

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications/observer/route"
)

// A code is the class of a status, or none: a client that did not wait for an answer.
type code uint8

const (
	codeNone code = iota
	code1xx
	code2xx
	code3xx
	code4xx
	code5xx
	codes
)

func (c code) String() string { return [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}[c] }

// className is the label of a class of paths.
func className(c route.Class) string {
	switch c {
	case route.Base:
		return "base"
	case route.Catalog:
		return "catalog"
	case route.UploadStart, route.Upload:
		return "upload"
	case route.Blob:
		return "blob"
	case route.Manifest:
		return "manifest"
	case route.Tags:
		return "tags"
	case route.Referrers:
		return "referrers"
	}
	return "other"
}

// A series is what is counted of the requests of one class.
type series struct {
	requests [codes]prometheus.Counter
	seconds  prometheus.Observer
	in, out  prometheus.Counter // bytes of bodies
}

// metrics are a proxy's own. All label sets exist from the start, at zero.
type metrics struct {
	classes  [route.Referrers + 1]*series
	inflight prometheus.Gauge
	failures map[reason]prometheus.Counter
	foreign  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, proxy string) *metrics {
	labels := prometheus.Labels{"proxy": proxy}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "regcast_proxy_requests_total", ConstLabels: labels,
		Help: "Requests, by class of path and class of status; none is a client that has gone before the answer.",
	}, []string{"class", "code"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "regcast_proxy_request_seconds", ConstLabels: labels,
		Help:    "Time from the header of a request to the end of its answer, by class of path.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 11), // 1 ms to 17 min
	}, []string{"class"})
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "regcast_proxy_bytes_total", ConstLabels: labels,
		Help: "Bytes of bodies that came in from clients and went out to them, by class of path.",
	}, []string{"class", "direction"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "regcast_proxy_upstream_errors_total", ConstLabels: labels,
		Help: "Requests that the registry did not answer, or not to the end, by reason; the lack of a client certificate may be tls or protocol.",
	}, []string{"reason"})
	m := &metrics{
		inflight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "regcast_proxy_inflight_requests", ConstLabels: labels,
			Help: "Requests under way.",
		}),
		foreign: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "regcast_proxy_foreign_uploads_total", ConstLabels: labels,
			Help: "Uploads that the registry has sent to another host, where the proxy does not see them.",
		}),
		failures: make(map[reason]prometheus.Counter),
	}
	for c := range m.classes {
		name := className(route.Class(c))
		s := &series{
			seconds: seconds.WithLabelValues(name),
			in:      bytes.WithLabelValues(name, "in"),
			out:     bytes.WithLabelValues(name, "out"),
		}
		for code := range codes {
			s.requests[code] = requests.WithLabelValues(name, code.String())
		}
		m.classes[c] = s
	}
	for _, r := range reasons() {
		m.failures[r] = failures.WithLabelValues(string(r))
	}
	if reg != nil {
		reg.MustRegister(requests, seconds, bytes, failures, m.inflight, m.foreign)
	}
	return m
}

func (m *metrics) of(class route.Class) *series { return m.classes[class] }
