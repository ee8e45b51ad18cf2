package endpoints

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
)

// errTimeout is the cause with which an attempt's context ends when its time is over.
var errTimeout = errors.New("no answer in time")

// errProtocol stands for what is no HTTP, which is not repeated: it may be what we sent.
var errProtocol = errors.New("the answer is not HTTP, or the connection broke")

// A proxyError is the refusal of an egress proxy to connect us.
type proxyError struct{ status int }

func (e *proxyError) Error() string { return "the proxy answered " + statusText(e.status) }

// TransportError says why there was no answer from what is shown as url, where a request
// by a [Carrier] met err and ctx is the caller's. What a peer sent instead of an answer
// never gets into the error: it may be what we sent.
func TransportError(ctx context.Context, url string, err error) *DeliveryError {
	e := &DeliveryError{URL: url, Class: Transient, Err: err}
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		proxy        *proxyError
		blocked      *blockedError
		dns          *net.DNSError
		op           *net.OpError
	)
	switch {
	case errors.Is(err, errTimeout):
		e.Fault = FaultTimeout
	case ctx.Err() != nil:
		e.Class, e.Fault, e.Err = Canceled, FaultCanceled, context.Cause(ctx)
	case errors.As(err, &verification):
		e.Class, e.Fault = Untrusted, FaultTLS
		if certs := verification.UnverifiedCertificates; len(certs) > 0 {
			e.Certificate = &Certificate{Subject: certs[0].Subject.String(), NotAfter: certs[0].NotAfter}
		}
	case errors.As(err, &record):
		e.Fault, e.Err = FaultHandshake, errors.New("the answer is not TLS")
		if string(record.RecordHeader[:]) == "HTTP/" {
			e.Class, e.Err = Misdirected, http.ErrSchemeMismatch
		}
	case errors.As(err, &proxy):
		e.Fault = FaultProxy
		if proxy.status == http.StatusProxyAuthRequired {
			e.Class = Auth
		}
	case errors.As(err, &blocked):
		e.Class, e.Fault, e.Err = Blocked, FaultBlocked, blocked
	case errors.As(err, &dns):
		e.Fault = FaultDNS
	case errors.As(err, &op):
		e.Fault = opFault(op)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		e.Fault, e.Err = FaultReset, errors.New("the connection broke before the answer")
	case isTimeout(err): // of the TLS handshake: every other wait ends with errTimeout
		e.Fault = FaultHandshake
	default:
		e.Fault, e.Err = FaultProtocol, errProtocol
	}
	return e
}

// opFault tells apart what can go wrong with a connection.
func opFault(op *net.OpError) Fault {
	switch op.Op {
	case "dial":
		return FaultConnect
	case "proxyconnect", "socks connect":
		return FaultProxy
	case "remote error", "local error": // TLS alerts
		return FaultHandshake
	default:
		return FaultReset
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
