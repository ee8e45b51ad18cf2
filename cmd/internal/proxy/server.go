package proxy

import (
	"log/slog"
	"net/http"
)

// NewServer returns a server for p with the limits that only a server can set: 10 s for
// the header of a request, 2 min for an idle connection. A whole request and its answer
// have no limit, as a layer may take hours; p cuts off what stands still. What goes wrong
// with a connection is logged at debug level. Fields may be changed before the server
// starts, which, like its Shutdown, is the caller's.
func NewServer(p *Proxy) *http.Server {
	return &http.Server{
		Handler:           p,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       clientIdleTimeout,
		ErrorLog:          slog.NewLogLogger(p.opts.Logger.Handler(), slog.LevelDebug),
	}
}
