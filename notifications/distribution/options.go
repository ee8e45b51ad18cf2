package distribution

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
)

// Options say how a [Middleware] works. The zero value, or nil, is ready to use.
type Options struct {
	// Source is the registry process. An empty InstanceID is that of the registry's
	// context, its value "instance.id".
	Source notifications.SourceRecord

	// BaseURL is where all clients reach the registry; zero: where the client of each
	// request did, see [notifications.BaseURLOf].
	BaseURL notifications.BaseURL

	// RelativeURLs leaves scheme and host out of the URLs of requests. It has no effect
	// on BaseURL.
	RelativeURLs bool

	// TrustedProxies are believed about the client's address and how it addressed the
	// registry, see [notifications.RequestOf].
	TrustedProxies []netip.Prefix

	// IncludeReferences puts the descriptors that a manifest refers to into its events.
	IncludeReferences bool

	// Wait bounds how long a push, mount or delete waits for its event to be written; 0:
	// 50 ms, negative: not at all. A pull never waits, and nothing does while the sink is
	// known not to take events: its last write has failed, or has been under way for more
	// than a second.
	Wait time.Duration

	// Waiting bounds the events that wait for the sink to take them, in number; 0:
	// 10 000. Together they take 64 MiB at most, and pulls three quarters of either, so that
	// changes have room. What is over is lost and counted.
	Waiting int

	// Registerer gets regcast_observer_unrecorded_events_total and
	// regcast_observer_waiting_events; nil: no metrics. It may be given to one Middleware or
	// observer.Observer. Where there are more, each gets one with another value of the same
	// label, see prometheus.WrapRegistererWith: given the same twice, Register panics.
	Registerer prometheus.Registerer

	Logger *slog.Logger // nil: nothing is logged
}

// OptionsOf returns the options with which events say of a registry with that
// configuration what its own notifications do: Source.Addr as they make it from the host's
// name and http.addr, URLs by http.host and http.relativeurls, and references if
// notifications.events.includereferences is set.
//
// Errors: an http.host that is not an absolute http or https URL.
func OptionsOf(config *configuration.Configuration) (*Options, error) {
	opts := &Options{
		Source:            notifications.SourceRecord{Addr: sourceAddr(config.HTTP.Addr)},
		RelativeURLs:      config.HTTP.RelativeURLs,
		IncludeReferences: config.Notifications.EventConfig.IncludeReferences,
	}
	if config.HTTP.Host != "" {
		host, err := url.Parse(config.HTTP.Host)
		if err != nil {
			return nil, fmt.Errorf("http.host: %w", err)
		}
		if host.Scheme == "" || host.Host == "" {
			return opts, nil // distribution does without, too
		}
		// A last segment without a slash is not part of its URLs.
		opts.BaseURL, err = notifications.ParseBaseURL(host.ResolveReference(&url.URL{Path: "./"}).String())
		if err != nil {
			return nil, fmt.Errorf("http.host: %w", err)
		}
	}
	return opts, nil
}

// sourceAddr is the host's name and, if listen has one, its port.
func sourceAddr(listen string) string {
	host, err := os.Hostname()
	if err != nil {
		return listen
	}
	if _, port, err := net.SplitHostPort(listen); err == nil {
		return net.JoinHostPort(host, port)
	}
	return host
}
