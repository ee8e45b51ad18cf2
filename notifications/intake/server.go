package intake

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer returns a server for h with the limits that only a server can set: 10 s for
// the header of a request and 64 KiB of it, 60 s for the whole request, 2 min until it
// is answered, and 2 min for an idle connection. A sender that dribbles is cut off by
// them. What goes wrong with a connection is logged by h's logger at debug level. Fields
// may be changed before the server starts, which, like its Shutdown, is the caller's.
func NewServer(h *Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
}
