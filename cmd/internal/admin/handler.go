// Package admin serves what an operator and a monitoring system ask of a running
// dispatcher: health, readiness, metrics, and /api/v1 to look and to steer.
//
// It holds no state of its own: its handler asks the functions and the [Dispatcher] in
// [Options], which package app supplies. What is served is in openapi.json; package
// client speaks it. Who may call what, what a request may hold and that every operation
// is recorded is decided here, before a Dispatcher is asked anything.
//
// It starts nothing and needs no shutdown, but the server that mounts a [Handler] waits
// for its streams until [Handler.Refuse] ends them.
package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options supply what the routes answer with. All functions are called concurrently.
type Options struct {
	Healthy func() error // nil: the process and its engine work
	Ready   func() error // nil: it accepts events

	Gatherer         prometheus.Gatherer
	MetricsAnonymous bool // GET /metrics without a token

	// Tokens are the credentials that are valid now. Without any, as is possible on
	// loopback only, every caller is let in.
	Tokens func() []Token

	Dispatcher Dispatcher   // behind /api/v1; nil: there is no /api/v1
	Logger     *slog.Logger // nil: no logs
}

// A Handler serves the admin routes. It is made by [NewHandler] and safe for concurrent
// use.
type Handler struct {
	opts    Options
	mux     *http.ServeMux
	log     *slog.Logger
	refused chan struct{} // closed by Refuse
	refuse  func()
}

// NewHandler returns a handler of
//
//	GET /healthz    200, or 503 with the reason; no token needed
//	GET /readyz     the same
//	GET /metrics    in the format of Prometheus
//	/api/v1/…       as its openapi.json says
func NewHandler(opts *Options) *Handler {
	h := &Handler{opts: *opts, mux: http.NewServeMux(), log: opts.Logger, refused: make(chan struct{})}
	h.refuse = sync.OnceFunc(func() { close(h.refused) })
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.mux.HandleFunc("GET /healthz", probe(opts.Healthy))
	h.mux.HandleFunc("GET /readyz", probe(opts.Ready))
	h.mux.Handle("GET /metrics", h.metrics())
	if opts.Dispatcher != nil {
		h.mux.Handle(Prefix+"/", newAPI(h))
	}
	return h
}

// ServeHTTP answers one request; see [NewHandler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Refuse ends the streams and makes /api/v1 answer 503 from now on: the dispatcher is
// stopping. Health, readiness and metrics go on.
func (h *Handler) Refuse() { h.refuse() }

func (h *Handler) metrics() http.Handler {
	metrics := promhttp.HandlerFor(h.opts.Gatherer, promhttp.HandlerOpts{})
	if h.opts.MetricsAnonymous {
		return metrics
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := authenticate(h.opts.Tokens(), r); err != nil {
			w.Header().Set("WWW-Authenticate", challenge)
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		metrics.ServeHTTP(w, r)
	})
}

// probe answers 200 while check returns nil, else 503 with the reason.
func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
