// Package admin serves what an operator and a monitoring system ask of a running
// dispatcher: health, readiness and metrics.
//
// It holds no state of its own: its handler asks the functions in [Options], which
// package app supplies. It starts nothing and needs no shutdown; the server that mounts
// the handler does.
package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"

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
}

// A Token lets a named person or program in.
type Token struct {
	Name  string // for the log of operators' actions
	Role  Role
	Value string // the secret; an empty one matches nothing
}

// A Role is what a token allows.
type Role string

// The roles.
const (
	Read    Role = "read"    // look
	Operate Role = "operate" // look and change
)

// NewHandler returns the admin routes of CONTRACT: /healthz, /readyz and /metrics.
func NewHandler(opts *Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", probe(opts.Healthy))
	mux.HandleFunc("GET /readyz", probe(opts.Ready))
	metrics := promhttp.HandlerFor(opts.Gatherer, promhttp.HandlerOpts{})
	if !opts.MetricsAnonymous {
		metrics = authenticated(opts.Tokens, metrics)
	}
	mux.Handle("GET /metrics", metrics)
	return mux
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

// authenticated lets a request through that carries one of the tokens as a bearer token
// (RFC 6750).
func authenticated(tokens func() []Token, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		valid := tokens()
		if _, ok := identify(valid, r); len(valid) > 0 && !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="regcast admin"`)
			http.Error(w, "a token of the configuration's [[admin.token]] is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// identify finds the token that r carries, looking at every one in constant time.
func identify(valid []Token, r *http.Request) (found Token, ok bool) {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Token{}, false
	}
	given := sha256.Sum256([]byte(strings.TrimSpace(value)))
	for _, t := range valid {
		want := sha256.Sum256([]byte(t.Value))
		if subtle.ConstantTimeCompare(given[:], want[:]) == 1 && t.Value != "" {
			found, ok = t, true
		}
	}
	return found, ok
}
