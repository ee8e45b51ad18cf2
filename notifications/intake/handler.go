package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
)

// Path is where a [Handler] takes events; behind another prefix, use [http.StripPrefix].
const Path = "/events"

// The defaults of [Options].
const (
	DefaultMaxBody       = 8 << 20
	DefaultMaxEvents     = 10_000
	DefaultMaxEventBytes = 1 << 20
	DefaultMaxBuffered   = 256 << 20
)

// retryAfter is how many seconds a sender is asked to wait when an event cannot be
// stored: long enough not to hammer a full disk, short enough not to be noticed after a
// restart.
const retryAfter = "5"

// Options tell a [Handler] how. nil, like a zero field, means the default.
type Options struct {
	MaxBody       int // bytes of one body, DefaultMaxBody; a larger one is quarantined
	MaxEvents     int // events in one envelope, DefaultMaxEvents; more are quarantined
	MaxEventBytes int // of one event as it came, DefaultMaxEventBytes; a larger one is quarantined

	// MaxBuffered is the memory, in bytes, for all bodies above 64 KiB that are being
	// handled at a time, DefaultMaxBuffered; past it the answer is 503. Each takes
	// MemoryFactor times its size, and one of MaxBody always fits.
	MaxBuffered int

	// Tokens returns the credentials of which a request must bring one, unless anonymous
	// requests are allowed too. It is called for each request, so that tokens can be
	// rotated; it must be quick and safe for concurrent use. Without any token, and not
	// anonymous, nobody is let in. A nil Tokens lets everybody in.
	//
	// A sender brings a token as "Authorization: Bearer TOKEN"; as the password of basic
	// authentication, for senders that only know a URL; or as the whole value of
	// Authorization, for senders with a free-form header.
	Tokens func() (tokens []string, anonymous bool)

	// TrustedProxies are believed when they report a client's address in a header.
	TrustedProxies []netip.Prefix

	Registerer prometheus.Registerer // where metrics go; nil: nowhere. A second handler on it panics
	Logger     *slog.Logger          // nil: no logs
}

// A Handler takes in events. It is made by [NewHandler] and safe for concurrent use.
type Handler struct {
	rec     notifications.Recorder
	opts    Options
	bodies  bodyReader
	metrics *metrics
	log     *slog.Logger

	refusing atomic.Bool  // answer 503: we are stopping
	failed   atomic.Int64 // when something could not be stored last, if that was logged and no recovery since: Unix time in ns
}

// NewHandler returns a handler that stores in rec, which the caller shuts down after the
// server. It serves
//
//	POST /events    an envelope of distribution's, v2 or v1, or a single event object
//
// (and the same with a slash at its end, which URLs put together from parts have)
// as application/vnd.docker.distribution.events.v2+json, …v1+json or application/json; a
// missing Content-Type is read as JSON, another one is quarantined, and so is a body
// with a Content-Encoding: no registry compresses its events.
//
// The answers: 202 with the counts of accepted, duplicates and quarantined; 400 for a
// body that ended early; 401 with WWW-Authenticate; 404 for an inbound format that is
// not there; 405; 503 with Retry-After.
func NewHandler(rec notifications.Recorder, opts *Options) *Handler {
	h := &Handler{rec: rec}
	if opts != nil {
		h.opts = *opts
	}
	setDefault(&h.opts.MaxBody, DefaultMaxBody)
	setDefault(&h.opts.MaxEvents, DefaultMaxEvents)
	setDefault(&h.opts.MaxEventBytes, DefaultMaxEventBytes)
	setDefault(&h.opts.MaxBuffered, DefaultMaxBuffered)
	h.log = h.opts.Logger
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.bodies.limit = h.opts.MaxBody
	h.bodies.budget.Store(max(int64(h.opts.MaxBuffered), MemoryFactor*int64(h.opts.MaxBody+1)))
	h.metrics = newMetrics(h.opts.Registerer)
	return h
}

func setDefault(field *int, value int) {
	if *field <= 0 {
		*field = value
	}
}

// Refuse makes h answer 503 to everything that begins from now on. What is being handled
// ends as usual: the server's Shutdown waits for it.
func (h *Handler) Refuse() { h.refusing.Store(true) }

// ServeHTTP answers one request; see [NewHandler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != Path && r.URL.Path != Path+"/":
		h.notFound(w, r)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(w, http.StatusMethodNotAllowed, "events are sent with POST")
	case h.refusing.Load():
		h.unavailable(w, "stopping")
	case !h.admits(r):
		w.Header().Set("WWW-Authenticate", `Bearer realm="regcast intake"`)
		h.refuse(w, http.StatusUnauthorized, "a token is needed: Authorization: Bearer TOKEN")
	default:
		h.take(w, r)
	}
}

func (h *Handler) notFound(w http.ResponseWriter, r *http.Request) {
	text := "events are taken at " + Path
	if format, ok := strings.CutPrefix(r.URL.Path, Path+"/"); ok {
		switch format = strings.TrimSuffix(format, "/"); format {
		case "harbor", "gitlab", "zot", "quay", "acr", "ecr", "gar", "ghcr", "dockerhub":
			text = fmt.Sprintf("not yet available in this version: inbound format %q; distribution's events are taken at %s", format, Path)
		default:
			text = fmt.Sprintf("no inbound format %q; distribution's events are taken at %s", format, Path)
		}
	}
	h.refuse(w, http.StatusNotFound, text)
}

// take reads, stores and acknowledges.
func (h *Handler) take(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	b, err := h.bodies.read(r)
	if err != nil {
		w.Header().Set("Connection", "close") // whatever is still to come is not a request
		if errors.Is(err, errNoRoom) {
			h.unavailable(w, "too many large bodies at a time")
		} else {
			h.refuse(w, http.StatusBadRequest, "the body ended early")
		}
		return
	}
	defer h.bodies.release(b)
	if !b.complete {
		w.Header().Set("Connection", "close")
	}

	d := h.readDistribution(r, b)
	receipt, err := h.rec.Record(r.Context(), d.Events, d.Bad)
	if err != nil && notifications.IsPermanent(err) && len(d.Events) > 0 {
		// The engine will never take this, and its sender would offer it for ever.
		d = b.quarantined(notifications.ReasonTooLarge, err.Error(), d.Events[0].Provenance)
		receipt, err = h.rec.Record(r.Context(), nil, d.Bad)
	}
	if err != nil {
		h.notStored(w, r, err)
		return
	}
	h.recovered(time.Now())
	h.metrics.stored(formatDistribution, receipt, d)
	h.logQuarantined(r.Context(), d.Bad)
	acknowledge(w, receipt)
	h.metrics.ack.Observe(time.Since(start).Seconds())
}

func (h *Handler) notStored(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case r.Context().Err() != nil:
		h.unavailable(w, "the sender has gone") // and reads no answer
		return
	case errors.Is(err, notifications.ErrFull):
		h.unavailable(w, "no room to store events now")
	case errors.Is(err, notifications.ErrClosed):
		h.unavailable(w, "stopping")
	default:
		h.unavailable(w, "events cannot be stored now")
	}
	if h.failed.Swap(time.Now().UnixNano()) == 0 {
		h.log.Error("intake cannot store events and answers 503", "error", err)
	}
}

// quiet is how long nothing must have failed before a recovery is logged: an engine that
// is nearly full takes some and refuses others for a long time.
const quiet = 10 * time.Second

// recovered notes that something was stored.
func (h *Handler) recovered(now time.Time) {
	failed := h.failed.Load()
	if failed != 0 && now.UnixNano()-failed >= int64(quiet) && h.failed.CompareAndSwap(failed, 0) {
		h.log.Info("intake stores events again")
	}
}

func (h *Handler) logQuarantined(ctx context.Context, bad []notifications.Quarantined) {
	if len(bad) == 0 || !h.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	for _, q := range bad {
		h.log.Debug("intake quarantined input", "reason", q.Reason, "detail", q.Detail, "size", q.Size, "sender", q.Provenance.Sender)
	}
}

func (h *Handler) unavailable(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", retryAfter)
	h.refuse(w, http.StatusServiceUnavailable, text)
}

func (h *Handler) refuse(w http.ResponseWriter, code int, text string) {
	h.metrics.refused.WithLabelValues(strconv.Itoa(code)).Inc()
	http.Error(w, text, code)
}

// Nearly every answer of a registry that sends one event at a time.
const acceptedOne = `{"accepted":1,"duplicates":0,"quarantined":0}` + "\n"

func acknowledge(w http.ResponseWriter, r notifications.Receipt) {
	w.Header()["Content-Type"] = contentTypeJSON
	w.WriteHeader(http.StatusAccepted)
	answer := []byte(acceptedOne)
	if r != (notifications.Receipt{Accepted: 1}) {
		answer = append(answer[:0], `{"accepted":`...)
		answer = strconv.AppendInt(answer, int64(r.Accepted), 10)
		answer = append(answer, `,"duplicates":`...)
		answer = strconv.AppendInt(answer, int64(r.Duplicates), 10)
		answer = append(answer, `,"quarantined":`...)
		answer = strconv.AppendInt(answer, int64(r.Quarantined), 10)
		answer = append(answer, "}\n"...)
	}
	w.Write(answer) // an error means that the sender has gone; it will send again
}

var contentTypeJSON = []string{"application/json"}
