package proxy

import (
	"log/slog"
	"net/netip"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/observer"
)

// Options are what a [Proxy] needs to know.
type Options struct {
	Name     string   // for metrics and logs
	Upstream *url.URL // of the registry: scheme, host and perhaps a path; required

	Source     notifications.SourceRecord
	Parity     observer.Parity
	References bool          // in events
	RecordWait time.Duration // 0: observer.DefaultWait
	Refuse     bool          // mutations while their events cannot be stored
	Accepting  func() error  // see observer.Options
	KeepsTags  bool
	Extra      []string // "gitlab", "harbor"

	TrustedProxies []netip.Prefix
	PublicURL      *url.URL // where clients reach the proxy; nil: as the request says
	UpstreamHost   bool     // the registry is asked by its own name, not by the client's
	Location       Location
	UpstreamNames  []string // other hosts by which the registry calls itself

	TLS      UpstreamTLS
	HTTP2    bool
	Timeouts Timeouts

	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// A Location says how addresses in answers are rewritten.
type Location uint8

// The ways to rewrite an address of the registry.
const (
	Absolute Location = iota // scheme and host as the client addressed the proxy
	Relative                 // the path alone
	AsIs                     // not at all
)

// UpstreamTLS names files, which are read when the proxy is made.
type UpstreamTLS struct{ CAFile, CertFile, KeyFile string }

// Timeouts bound how long the registry may take. Zero fields are the defaults.
type Timeouts struct {
	Metadata time.Duration // until the answer begins, for all but the next; 30 s
	Commit   time.Duration // until the answer to the last request of an upload begins; 15 min
	Idle     time.Duration // without a byte in either direction; 15 min
}
