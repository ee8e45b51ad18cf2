package proxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Why a turn of the registry is cancelled.
var (
	errSilent = errors.New("the registry did not begin to answer in time")
	errIdle   = errors.New("the registry neither took nor gave a byte in time")
	errCut    = errors.New("the proxy has shut down")
)

// Error codes of the distribution specification, and distribution's own for what has none.
const (
	codeUnavailable  = "UNAVAILABLE"
	codeUnsupported  = "UNSUPPORTED"
	codeUnauthorized = "UNAUTHORIZED"
	codeUnknown      = "UNKNOWN"
)

// A refusal is an answer of the proxy's own.
type refusal struct {
	status        int
	code, message string
}

// refuse answers with an error document as registries have them. It tells a client that
// the registry has failed, and nothing of where it is.
func refuse(w http.ResponseWriter, r refusal) {
	body, _ := json.Marshal(map[string]any{ // strings always marshal
		"errors": []map[string]string{{"code": r.code, "message": r.message}},
	})
	h := w.Header()
	h.Set("Docker-Distribution-API-Version", "registry/2.0")
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.status)
	_, _ = w.Write(body)
}

func shuttingDown() refusal {
	return refusal{http.StatusServiceUnavailable, codeUnavailable, "shutting down"}
}

// A reason says how the registry failed, as far as that can be told apart. One that wants
// another client certificate says so after the handshake, in TLS 1.3, and closes the
// connection: if the request is on its way by then, that breaks first, which is
// reasonProtocol. A connection that is reset as it begins is reasonConnect or that.
type reason string

const (
	reasonConnect  reason = "connect"  // it cannot be reached
	reasonTLS      reason = "tls"      // it is not who it should be, or does not speak TLS
	reasonTimeout  reason = "timeout"  // it did not begin to answer
	reasonIdle     reason = "idle"     // it stopped taking or giving
	reasonProtocol reason = "protocol" // it closed the connection, or its answer is none
	reasonBroken   reason = "broken"   // its answer broke off
)

func reasons() []reason {
	return []reason{reasonConnect, reasonTLS, reasonTimeout, reasonIdle, reasonProtocol, reasonBroken}
}

// quiet is how long a registry that goes on failing is not logged again.
const quiet = 10 * time.Second

// faults tells of a registry's failures: clients little, the log at a bounded rate.
type faults struct {
	log     *slog.Logger
	metrics *metrics
	failing atomic.Bool // and it was logged

	mu     sync.Mutex
	last   time.Time // when one was logged
	unsaid int       // since then
}

// answer is ReverseProxy's ErrorHandler: there will be no answer of the registry.
func (f *faults) answer(w http.ResponseWriter, r *http.Request, err error) {
	t := turnOf(r.Context())
	if berr := t.exchange.bodyErr(); berr != nil && !registryFailed(r.Context()) {
		status := http.StatusBadRequest
		if errors.Is(berr, os.ErrDeadlineExceeded) {
			status = http.StatusRequestTimeout
		}
		refuse(w, refusal{status, codeUnknown, "the body of the request ended early"})
		return
	}
	if errors.Is(err, context.Canceled) && !registryFailed(r.Context()) { // the client has gone
		refuse(w, refusal{http.StatusBadGateway, codeUnavailable, "the request was cancelled"})
		return
	}
	if errors.Is(context.Cause(r.Context()), errCut) {
		refuse(w, shuttingDown())
		return
	}
	why, cause := classify(r.Context(), err)
	f.count(why, cause)
	if why == reasonTimeout || why == reasonIdle {
		refuse(w, refusal{http.StatusGatewayTimeout, codeUnavailable, "the registry did not answer in time"})
		return
	}
	refuse(w, refusal{http.StatusBadGateway, codeUnavailable, "the registry cannot be reached"})
}

// broken is when the body of an answer ends early, which the client sees as that.
func (f *faults) broken(t *turn, err error) {
	if t.exchange.clientGone() {
		return
	}
	f.count(reasonBroken, err)
}

// registryFailed tells whether the registry's clock has ended ctx, or Shutdown has.
func registryFailed(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, errSilent) || errors.Is(cause, errIdle) || errors.Is(cause, errCut)
}

// classify says why a round trip failed, and with which error.
func classify(ctx context.Context, err error) (reason, error) {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSilent):
		return reasonTimeout, cause
	case errors.Is(cause, errIdle):
		return reasonIdle, cause
	}
	var (
		op           *net.OpError
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		alert        tls.AlertError
	)
	switch {
	case errors.As(err, &verification), errors.As(err, &record), errors.As(err, &alert):
		return reasonTLS, err
	case errors.As(err, &op) && op.Op == "dial":
		return reasonConnect, err
	case errors.As(err, &op) && op.Op == "remote error":
		return reasonTLS, err
	}
	return reasonProtocol, err
}

// count counts a failure and logs it, if none was for a while.
func (f *faults) count(why reason, err error) {
	f.metrics.failures[why].Inc()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.last.IsZero() && time.Since(f.last) < quiet {
		f.unsaid++
		return
	}
	f.log.Warn("the registry fails", "reason", string(why), "error", err, "unsaid", f.unsaid)
	f.last, f.unsaid = time.Now(), 0
	f.failing.Store(true)
}

// recovered is when the registry has answered. One that fails now and then is not logged
// each time.
func (f *faults) recovered() {
	if !f.failing.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.last) >= quiet && f.failing.CompareAndSwap(true, false) {
		f.log.Info("the registry answers again", "unsaid", f.unsaid)
		f.unsaid = 0
	}
}
