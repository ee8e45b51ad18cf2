package observer

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/observer/cache"
)

// Format is the Provenance.Format of events that an [Observer] made.
const Format = "observer"

// A Parity says what to make of answers for which distribution reports a pull although
// nothing was pulled.
type Parity uint8

const (
	// Sane leaves out pulls that were answered 412 or 416.
	Sane Parity = iota
	// Strict reports all that distribution reports and an observer can see.
	Strict
)

// The bounds of an [Observer] whose options do not say.
const (
	DefaultWait    = 50 * time.Millisecond
	DefaultWaiting = 10_000
	// MaxManifest is how much of a manifest is kept while it passes. What is larger is
	// passed on all the same, and reported without references.
	MaxManifest = 4 << 20
)

// Options say how an [Observer] works. The zero value, or nil, is ready to use.
type Options struct {
	// Prefix is the path before /v2/, such as "/registry"; "" for none.
	Prefix string

	// PublicPath is the path before Prefix in the addresses that clients are given, those in
	// events included, if something before the Observer takes it off their requests; "" for
	// none.
	PublicPath string

	Parity Parity

	// DropHead makes no events of HEAD requests, which clients ask to see whether something
	// is there: before each push of a layer, and some after it. Distribution reports them as
	// pulls. What their answers tell is remembered all the same.
	DropHead bool

	// IncludeReferences puts the descriptors that a manifest refers to into its events.
	IncludeReferences bool

	// URLs makes the URLs in the events of a request; nil: as its client addressed the
	// registry, see notifications.BaseURLOf.
	URLs func(*http.Request) notifications.URLBuilder

	// TrustedProxies are believed about the client's address, see notifications.RequestOf.
	TrustedProxies []netip.Prefix

	// Actor names who made a request that was not answered 401 or 403, and tells whether
	// it has verified that, which goes into the event; nil: the user of Basic credentials
	// or, by Bearer, who bears a token, and nobody where the header Connection has a proxy
	// remove the credentials. "" is nobody who is known, and so is a name of more than 255
	// bytes or with control characters.
	Actor func(*http.Request) (name string, verified bool)

	// Bearer does the same for a request with a Bearer token of at most 16 KiB; nil: the
	// subject of a JSON web token, unverified as the registry has verified it, and of
	// another token nobody. It counts without Actor.
	Bearer func(r *http.Request, token string) (name string, verified bool)

	// KeepsTags says that the registry keeps a tag whose manifest was deleted by digest.
	// Otherwise a delete by digest implies the deletes of its tags, as far as the Observer
	// has seen them; they have the origin "inferred".
	KeepsTags bool

	// Extra recognizes requests outside the distribution API that delete something; see
	// GitLabRoutes and HarborRoutes. nil: none.
	Extra []func(*http.Request) (Deletion, bool)

	// Descriptors remembers sizes and media types that answers do not tell; nil: in
	// memory, of this Observer, with its metrics in Registerer. Another is measured by who
	// makes it, see cache.ReadThrough.
	Descriptors cache.Provider

	// Wait bounds how long the answer to a mutation is held back for its events to be
	// written, however many they are; 0 is DefaultWait, negative: not at all. While the
	// sink is known not to take events nothing waits for it. Asking Descriptors, if those
	// are remote, comes on top.
	Wait time.Duration

	// Waiting bounds the events that wait for a sink which does not take them, in number;
	// 0 is DefaultWaiting. Together they take 64 MiB at most, and pulls three quarters of
	// either, so that changes have room. What is over is counted as unrecorded and lost.
	Waiting int

	// Refuse answers 503 to a mutation, before the registry sees it, while the sink does
	// not take events: its last write has failed, or has been under way for more than a
	// second. The start of an upload is refused too, its parts are not.
	Refuse bool

	// Accepting says why the sink would not take an event now, nil if it would; for
	// Refuse. nil: known only once a write has failed or taken too long.
	Accepting func() error

	// Registerer gets the metrics; nil: there are none. It may be given to one Observer or
	// distribution.Middleware. Where there are more, each gets one with another value of the
	// same label, see prometheus.WrapRegistererWith: given the same twice, New panics.
	Registerer prometheus.Registerer

	Logger *slog.Logger // nil: nothing is logged
}
