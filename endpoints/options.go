package endpoints

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications/verify"
	"github.com/regcast/regcast/sinks"
)

// Options say how an endpoint is reached and what it gets. nil, and the zero value of
// each field, mean the default. The constructors copy them.
type Options struct {
	URL           Secret        // the URL, when its path is a secret; the url argument must then be ""
	Format        string        // one of Formats; "": FormatDistribution
	Timeout       time.Duration // of one attempt, from dialling to the last byte read; 0: 15 s
	Authorization Secret        // the whole value of the Authorization header, asked at every attempt
	Headers       http.Header   // replace the headers of the same name that would be sent otherwise, Host too; without a value they remove them
	Ordering      Ordering      // what order is kept within; "": OrderRepository
	Concurrency   int           // requests in flight, 1 to 1024; 0: 8. More idle connections are not kept
	Batch         sinks.BatchOptions
	Retry         RetryOptions
	Signing       SigningOptions
	MaxBlock      time.Duration // how long an event that fails may hold back later ones of its key; 0: 10 min
	OnBlock       BlockRule     // what becomes of it then; "": BlockPark
	Match         sinks.Matcher // what the endpoint wants; nil: everything
	TLS           TLSOptions
	ProxyURL      string // an egress proxy (http, https, socks5); "": the environment's HTTP_PROXY, HTTPS_PROXY and NO_PROXY

	// AllowCIDRs, if there are any, are the only addresses that are connected to; those
	// in DenyCIDRs never are, and link-local addresses and those of cloud metadata
	// neither, whatever is allowed. They are held against what is dialled, once its name
	// is resolved: with an egress proxy that is the proxy, and of what lies behind it only
	// a host that is spelled as an address is checked.
	AllowCIDRs, DenyCIDRs []netip.Prefix

	Slots *Slots // bounds the requests in flight of all endpoints that have it, beside Concurrency; nil: no such bound

	SuccessOn []int // further statuses that mean accepted
	RetryOn   []int // statuses after which the batch is offered again
	DropOn    []int // statuses after which the event is a dead letter at once

	Version string       // of regcast, for the User-Agent
	Logger  *slog.Logger // nil: nothing is logged
	Metrics *Metrics     // nil: nothing is measured
	Console io.Writer    // where a "console:" endpoint prints; nil: os.Stdout

	// OnAttempt is told of each attempt when it has ended, by whoever made it. It must
	// return at once. The record is its own.
	OnAttempt func(sinks.AttemptRecord)

	// OnState is told when something has changed that should outlive a restart, for
	// [Endpoint.Restore], one call at a time. It must return soon and must not steer the
	// endpoint.
	OnState func(Snapshot)

	// OnStorm is told when a receiver is found to reject every event, and which of them
	// had become dead letters before that was plain: at most 20, of the live cursor or of
	// a replay's. They should be pending again, see sinks.Cursor.Revive. Delivery waits
	// until it returns.
	OnStorm func(sequences []uint64)

	FileMaxBytes int64 // size at which a "file:" endpoint rotates; 0: 64 MiB
	FileKeep     int   // rotated files that it keeps, 1 to 1000; 0: 8

	Queue sinks.QueueOptions // the queue of a Pipeline; an Endpoint has none
}

// RetryOptions say how long to wait between attempts. An endpoint that is held is probed
// after five times as long, at most 5 s for the first time and 5 min in the end; 15 min
// where the fault is one that no receiver heals by itself, or has lasted for a day; 1 h
// once it is suspended.
type RetryOptions struct {
	Initial       time.Duration // after the first failure; 0: 1 s. It doubles with each further one
	Max           time.Duration // the longest, at most 24 h; 0: 60 s, or Initial if that is longer
	MaxAge        time.Duration // after which an event is given up on, not counting the time that the endpoint is held; 0: 72 h
	RetryAfterMax time.Duration // the longest Retry-After that is believed; 0: 1 h
}

// A BlockRule says what becomes of an event that has held back later ones for MaxBlock
// while the endpoint takes others.
type BlockRule string

// The rules.
const (
	BlockPark       BlockRule = "park"        // it is put aside and tried again later, for 5 min to 12 h; later events go on
	BlockHold       BlockRule = "hold"        // it goes on as before, until Retry.MaxAge
	BlockDeadLetter BlockRule = "dead_letter" // it is given up on, as expired
)

// TLSOptions say whom to trust and who we are. The files are PEM and are read again when
// they change; while a changed file cannot be read, the connections keep what they had.
type TLSOptions struct {
	CAFile             string // trusted instead of the system's authorities
	CertFile, KeyFile  string // our certificate, for servers that ask for one
	InsecureSkipVerify bool   // believe any server
}

// An Ordering says within what events are delivered in order.
type Ordering string

// The orderings.
const (
	OrderRepository Ordering = "repository" // within a repository
	OrderEndpoint   Ordering = "endpoint"   // all events of the endpoint, one request at a time
	OrderNone       Ordering = "none"       // none
)

// An OptionError says what is wrong with one option. The constructors return all that
// they find, joined; errors.As finds the first.
type OptionError struct {
	Option string // as the configuration file spells it: "retry.max", "tls.ca_file", "url"
	Err    error  // never shows the option's value where that may be a secret
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Err.Error() }

func (e *OptionError) Unwrap() error { return e.Err }

const (
	defaultTimeout       = 15 * time.Second
	defaultConcurrency   = 8
	maxConcurrency       = 1024
	defaultRetryInitial  = time.Second
	defaultRetryMax      = time.Minute
	defaultRetryAfterMax = time.Hour
	defaultMaxAge        = 72 * time.Hour
	defaultMaxBlock      = 10 * time.Minute
	maxRetry             = 24 * time.Hour
	defaultFileMaxBytes  = 64 << 20
	defaultFileKeep      = 8
)

// withDefaults returns a copy of o, which may be nil, with every default filled in.
func (o *Options) withDefaults() *Options {
	var c Options
	if o != nil {
		c = *o
	}
	setDefault(&c.Format, FormatDistribution)
	setDefault(&c.Timeout, defaultTimeout)
	setDefault(&c.Ordering, OrderRepository)
	setDefault(&c.Concurrency, defaultConcurrency)
	setDefault(&c.Retry.Initial, defaultRetryInitial)
	setDefault(&c.Retry.Max, max(defaultRetryMax, c.Retry.Initial))
	setDefault(&c.Retry.RetryAfterMax, defaultRetryAfterMax)
	setDefault(&c.Retry.MaxAge, defaultMaxAge)
	setDefault(&c.MaxBlock, defaultMaxBlock)
	setDefault(&c.OnBlock, BlockPark)
	setDefault(&c.Signing.Scheme, SchemeStandardWebhooks)
	if c.Signing.Scheme == SchemeHMACSHA256 {
		setDefault(&c.Signing.Header, verify.HeaderHub)
	}
	c.Signing.Secrets = slices.Clone(c.Signing.Secrets)
	setDefault(&c.FileMaxBytes, int64(defaultFileMaxBytes))
	setDefault(&c.FileKeep, defaultFileKeep)
	c.Headers = c.Headers.Clone()
	c.AllowCIDRs, c.DenyCIDRs = slices.Clone(c.AllowCIDRs), slices.Clone(c.DenyCIDRs)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Console == nil {
		c.Console = os.Stdout
	}
	return &c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// problems collects what is wrong with options.
type problems []error

func (p *problems) add(option, format string, args ...any) {
	*p = append(*p, &OptionError{Option: option, Err: fmt.Errorf(format, args...)})
}

func (p problems) err() error { return errors.Join(p...) }

// validate checks what does not depend on the kind of endpoint.
func (o *Options) validate(p *problems) {
	if !knownFormat(o.Format) {
		p.add("format", "%q is not one of %s", o.Format, strings.Join(Formats(), ", "))
	}
	switch o.Ordering {
	case OrderRepository, OrderEndpoint, OrderNone:
	default:
		p.add("ordering", "%q is not one of repository, endpoint, none", string(o.Ordering))
	}
	switch o.OnBlock {
	case BlockPark, BlockHold, BlockDeadLetter:
	default:
		p.add("on_block", "%q is not one of park, hold, dead_letter", string(o.OnBlock))
	}
	if o.Retry.Max > maxRetry {
		p.add("retry.max", "%s is more than %s", o.Retry.Max, maxRetry)
	}
	if o.Concurrency < 1 || o.Concurrency > maxConcurrency {
		p.add("concurrency", "%d is not within 1 to %d", o.Concurrency, maxConcurrency)
	}
	for _, d := range []struct {
		option string
		value  time.Duration
		least  time.Duration
	}{
		{"timeout", o.Timeout, time.Millisecond},
		{"retry.initial", o.Retry.Initial, time.Millisecond},
		{"retry.max", o.Retry.Max, o.Retry.Initial},
		{"retry.retry_after_max", o.Retry.RetryAfterMax, time.Second},
		{"retry.max_age", o.Retry.MaxAge, time.Millisecond},
		{"max_block", o.MaxBlock, time.Millisecond},
		{"batch.linger", o.Batch.Linger, 0},
	} {
		if d.value < d.least {
			p.add(d.option, "%s is less than %s", d.value, d.least)
		}
	}
	if o.Batch.MaxEvents < 0 {
		p.add("batch.max_events", "%d is negative", o.Batch.MaxEvents)
	}
	if o.Batch.MaxBytes < 0 {
		p.add("batch.max_bytes", "%d is negative", o.Batch.MaxBytes)
	}
}

// validateWebhook checks what only a webhook uses.
func (o *Options) validateWebhook(p *problems) {
	o.validateStatuses(p)
	o.Signing.validate(p)
	signing := o.Signing.headers()
	for name, values := range o.Headers {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !validHeaderName(name):
			p.add("headers", "%q is not a header name", name)
		case ownHeader(canonical) || slices.Contains(signing, canonical):
			p.add("headers", "%s is set by regcast itself", name)
		}
		for _, v := range values {
			if !validHeaderValue(v) {
				p.add("headers", "the value of %s has control characters", name)
			}
		}
	}
	o.validateCarrier(p)
}

// validateCarrier checks what says how to connect.
func (o *Options) validateCarrier(p *problems) {
	if o.ProxyURL != "" {
		if u, err := url.Parse(o.ProxyURL); err != nil || u.Host == "" || !isProxyScheme(u.Scheme) {
			p.add("proxy_url", "not an http, https or socks5 URL")
		}
	}
	validatePrefixes(p, "allow_cidrs", o.AllowCIDRs)
	validatePrefixes(p, "deny_cidrs", o.DenyCIDRs)
	o.TLS.validate(p)
}

// validatePrefixes refuses what would match nothing: addresses are compared unmapped.
func validatePrefixes(p *problems, option string, prefixes []netip.Prefix) {
	for _, prefix := range prefixes {
		switch {
		case !prefix.IsValid():
			p.add(option, "not a range of addresses")
		case prefix.Addr().Is4In6():
			p.add(option, "%s: spell it as an IPv4 range", prefix)
		}
	}
}

func (o *Options) validateStatuses(p *problems) {
	seen := make(map[int]string)
	for _, list := range []struct {
		option   string
		statuses []int
	}{{"success_on", o.SuccessOn}, {"retry_on", o.RetryOn}, {"drop_on", o.DropOn}} {
		for _, status := range list.statuses {
			if status < 100 || status > 599 {
				p.add(list.option, "%d is not an HTTP status", status)
			} else if other, ok := seen[status]; ok && other != list.option {
				p.add(list.option, "%d is in %s too", status, other)
			}
			seen[status] = list.option
		}
	}
}

func (t *TLSOptions) validate(p *problems) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		p.add("tls.cert_file", "cert_file and key_file belong together")
		return
	}
	files := tlsFilesOf(t)
	if _, err := files.load(); err != nil {
		p.add("tls", "%w", err)
	} else if err := files.apply(new(tls.Config)); err != nil {
		p.add("tls", "%w", err)
	}
}

func isProxyScheme(s string) bool {
	return s == "http" || s == "https" || s == "socks5" || s == "socks5h"
}

// ownHeader tells whether a header frames the request or tells of the attempt.
func ownHeader(canonical string) bool {
	switch canonical {
	case "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Upgrade",
		headerAttempt, headerSequence, headerOutOfOrder, headerReplay, headerTest:
		return true
	}
	return false
}

// validHeaderName tells whether s is a token (RFC 9110, 5.6.2).
func validHeaderName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= 0x7f || c <= ' ' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// validHeaderValue tells whether s can be a field value (RFC 9110, 5.5).
func validHeaderValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// ValidName tells whether name can be an endpoint's: [a-z0-9][a-z0-9-]{0,62}.
func ValidName(name string) bool {
	if name == "" || len(name) > 63 || name[0] == '-' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
