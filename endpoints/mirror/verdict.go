package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/registry"
)

// judge makes of an error what the endpoint's policy understands. caller is the context
// of the attempt.
func (m *mirror) judge(caller context.Context, j *job, err error) *endpoints.DeliveryError {
	e := &endpoints.DeliveryError{URL: m.target.shown, Err: err}
	at, onSide := errors.AsType[*sideError](err)
	var unsettled *unsettledError
	switch {
	case caller.Err() != nil:
		e.Class, e.Fault, e.Err = endpoints.Canceled, endpoints.FaultCanceled, context.Cause(caller)
		return e
	case errors.Is(context.Cause(j.ctx), errIdle):
		e.Class, e.Fault, e.Err = endpoints.Transient, endpoints.FaultTimeout, fmt.Errorf("%w: nothing moved for %s (%s)", errIdle, m.opts.Endpoint.Timeout, j)
		return e
	case errors.As(err, &unsettled):
		e.Class, e.Status = unsettled.class, unsettled.status
		return e
	case isEventError(err) || !onSide:
		e.Class = endpoints.Rejected
		if answer, ok := errors.AsType[*registry.Error](err); ok {
			e.Status = answer.Status
		}
		return e
	}
	at.side.judge(caller, e, at.err, m.opts.Endpoint.Retry.RetryAfterMax)
	if isDenial(at.err) && at.side.client.Ping(j.ctx) == nil {
		e.Class = endpoints.Rejected // it knows us, and means this repository
	}
	return e
}

// isDenial tells whether a registry refused what was asked for, rather than who asked.
func isDenial(err error) bool {
	answer, ok := errors.AsType[*registry.Error](err)
	return ok && errors.Is(answer, registry.ErrDenied) && !errors.Is(answer, registry.ErrThrottled) &&
		(answer.Status != http.StatusForbidden || !hasCode(answer, "UNAUTHORIZED"))
}

func hasCode(answer *registry.Error, codes ...string) bool {
	return slices.ContainsFunc(answer.Details, func(d registry.Detail) bool { return slices.Contains(codes, d.Code) })
}

func isEventError(err error) bool {
	_, ok := errors.AsType[eventError](err)
	return ok
}

// judge classifies err, which this side caused.
func (s *side) judge(caller context.Context, e *endpoints.DeliveryError, err error, longest time.Duration) {
	if answer, ok := errors.AsType[*registry.Error](err); ok {
		e.Class, e.Status = classOf(answer), answer.Status
		e.Wait = min(answer.RetryAfter, cmp.Or(longest, time.Hour))
		return
	}
	switch {
	case isCredential(err):
		e.Class, e.Fault = endpoints.Auth, endpoints.FaultSecret
	case errors.Is(err, registry.ErrTooLarge):
		e.Class = endpoints.TooLarge
	case errors.Is(err, registry.ErrMismatch):
		e.Class = endpoints.Rejected
	case errors.Is(err, registry.ErrRefused):
		e.Class = endpoints.Misdirected
	case timedOut(err):
		e.Class, e.Fault = endpoints.Transient, endpoints.FaultTimeout
	case unanswered(err):
		transport := endpoints.TransportError(caller, s.shown, err)
		transport.URL, transport.Err = e.URL, s.failed(transport.Err)
		*e = *transport
	default: // what cannot be asked, such as an odd name
		e.Class = endpoints.Rejected
	}
}

// classOf is the class of an answer: that of its status, but where the registry's own
// words say something else.
func classOf(answer *registry.Error) endpoints.Class {
	switch {
	case errors.Is(answer, registry.ErrThrottled):
		return endpoints.Throttled
	case errors.Is(answer, registry.ErrUnauthorized), errors.Is(answer, registry.ErrDenied):
		return endpoints.Auth
	case errors.Is(answer, registry.ErrUnsupported):
		return endpoints.Misdirected
	case hasCode(answer, "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"): // the session was lost, with a restart perhaps
		return endpoints.Transient
	case hasCode(answer, "BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"): // a part is missing, not the repository
		return endpoints.Rejected
	case answer.Status == http.StatusGone, answer.Status == http.StatusRequestedRangeNotSatisfiable:
		return endpoints.Misdirected // 410 ends a webhook, not a registry
	}
	return endpoints.ClassOf(answer.Status, answer.RetryAfter > 0)
}

// isUploadLost tells whether the target has lost an upload that it had begun: it may take
// another one. What it got was verified, so a wrong digest is its own, too.
func isUploadLost(err error) bool {
	at, ok := errors.AsType[*sideError](err)
	if !ok || at.side.name != "target" {
		return false
	}
	if answer, ok := errors.AsType[*registry.Error](err); ok {
		return hasCode(answer, "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID") ||
			answer.Status == http.StatusRequestedRangeNotSatisfiable
	}
	return unanswered(err)
}

// refusesMissing tells whether a registry missed something that a manifest refers to.
func refusesMissing(err error) bool {
	answer, ok := errors.AsType[*registry.Error](err)
	return ok && answer.Status >= 400 && answer.Status < 500 &&
		hasCode(answer, "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_INVALID")
}

func isCredential(err error) bool {
	_, ok := errors.AsType[*credentialError](err)
	return ok
}

// timedOut tells whether a registry that is connected did not answer in time.
func timedOut(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return !network && errors.Is(err, os.ErrDeadlineExceeded)
}

// unanswered tells whether err is about a connection.
func unanswered(err error) bool {
	_, request := errors.AsType[*url.Error](err)
	_, network := errors.AsType[net.Error](err)
	return request || network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
