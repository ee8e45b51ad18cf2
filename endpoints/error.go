package endpoints

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A DeliveryError says why an attempt was not accepted. It holds no secret.
type DeliveryError struct {
	URL         string       // as far as it may be shown
	Class       Class        // what it means for the batch and the endpoint
	Status      int          // of the answer; 0 without one
	Fault       Fault        // why there was no answer; "" with one
	Location    string       // where a redirect points to, as far as it may be shown
	Excerpt     []byte       // the beginning of the answer's body, at most sinks.MaxExcerpt, secrets blotted out
	Certificate *Certificate // of a server that could not be verified
	Err         error        // the cause, when there was no answer or it says more than its status

	Wait time.Duration // of Retry-After, capped; 0 without
}

// A Certificate names what a server showed.
type Certificate struct {
	Subject  string
	NotAfter time.Time
}

// Error says where, and what was answered or why nothing was.
func (e *DeliveryError) Error() string { return "delivering to " + e.URL + ": " + e.reason() }

// reason is the error without the place.
func (e *DeliveryError) reason() string {
	switch {
	case e.Status != 0 && e.Err != nil:
		return e.Err.Error()
	case e.Status != 0 && e.Location != "":
		return "answered " + statusText(e.Status) + " to " + e.Location
	case e.Status != 0:
		return "answered " + statusText(e.Status)
	case e.Certificate != nil:
		return fmt.Sprintf("%v (certificate of %q, valid until %s)",
			e.Err, e.Certificate.Subject, e.Certificate.NotAfter.UTC().Format(time.RFC3339))
	case e.Err != nil:
		return e.Err.Error()
	default:
		return e.Class.String()
	}
}

// mayBlameBatch tells whether another batch might fare better with the same endpoint: the
// receiver has seen this one.
func (e *DeliveryError) mayBlameBatch() bool {
	return e.Status != 0 || e.Fault == FaultTimeout || e.Fault == FaultReset || e.Fault == FaultProtocol
}

// arrived tells whether anything came to the receiver.
func (e *DeliveryError) arrived() bool { return e.Fault != FaultConnect && e.Fault != FaultDNS }

// overloads tells whether the receiver may have got more than it can do.
func (e *DeliveryError) overloads() bool {
	return e.Fault == FaultTimeout || e.Status == http.StatusBadGateway || e.Status == http.StatusGatewayTimeout
}

// meansOutage tells whether the answer is one that a front end gives for a receiver which
// is not there.
func (e *DeliveryError) meansOutage() bool {
	switch e.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	default:
		return false
	}
}

// Unwrap returns the cause.
func (e *DeliveryError) Unwrap() error { return e.Err }

// RetryAfter is the least time to wait that the receiver asked for, 0 if it did not.
func (e *DeliveryError) RetryAfter() time.Duration { return e.Wait }

// Permanent tells whether this batch will never be accepted.
func (e *DeliveryError) Permanent() bool { return e.Class.Permanent() }

// Code is the status, or the fault where there was no answer: a metric label.
func (e *DeliveryError) Code() string {
	if e.Status != 0 {
		return strconv.Itoa(e.Status)
	}
	return string(e.Fault)
}

// A Class says what a failed attempt means.
type Class uint8

// The classes. The comment says whose fault it is and what the policy makes of it.
const (
	Transient   Class = iota // the endpoint's for now: the same batch again
	Throttled                // too much at once: pause the endpoint
	Rejected                 // the event's: once more, then a dead letter
	Dropped                  // the event's, by Options.DropOn: a dead letter
	Aborted                  // the event's, by "webhook-delivery: abort-message": a dead letter
	TooLarge                 // the batch's: split it, a single event is a dead letter
	Auth                     // the endpoint's: hold until the credential is right
	Misdirected              // the endpoint's: hold until URL or format are right
	Untrusted                // the endpoint's: hold until its certificate is right
	Blocked                  // the endpoint's: hold until its address may be connected to
	Gone                     // the endpoint's, for good: disable it
	Early                    // the event's for now: put it aside for as long as a retry waits, and let later ones go on
	Canceled                 // nobody's: the caller gave up
)

var classNames = [...]string{
	"transient", "throttled", "rejected", "dropped", "aborted", "too_large", "auth", "misdirected", "untrusted",
	"blocked", "gone", "early", "canceled",
}

// String returns a short word for logs.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// Permanent tells whether a batch that met an error of this class will never be
// accepted: because of itself, or because the endpoint is gone.
func (c Class) Permanent() bool {
	switch c {
	case Rejected, Dropped, Aborted, TooLarge, Gone:
		return true
	default:
		return false
	}
}

// A Fault says why there was no answer: a short fixed word, a metric label.
type Fault string

// The faults.
const (
	FaultTimeout   Fault = "timeout"   // no answer in time; the receiver may have got the batch
	FaultConnect   Fault = "connect"   // no connection: refused, unreachable, or not in time
	FaultReset     Fault = "reset"     // the connection broke before the answer
	FaultDNS       Fault = "dns"       // the name has no address, or nobody could say
	FaultTLS       Fault = "tls"       // the server's certificate could not be verified
	FaultHandshake Fault = "handshake" // TLS could not be agreed on
	FaultProxy     Fault = "proxy"     // the egress proxy refused
	FaultProtocol  Fault = "protocol"  // the answer was not HTTP
	FaultBlocked   Fault = "blocked"   // its address must not be connected to
	FaultSecret    Fault = "secret"    // a secret could not be read, or is of no use
	FaultCanceled  Fault = "canceled"  // the caller gave up
	FaultLocal     Fault = "local"     // a built-in endpoint could not write
)

// Faults lists every [Fault], so that metrics can start at zero.
func Faults() []Fault {
	return []Fault{
		FaultTimeout, FaultConnect, FaultReset, FaultDNS, FaultTLS, FaultHandshake,
		FaultProxy, FaultProtocol, FaultBlocked, FaultSecret, FaultCanceled, FaultLocal,
	}
}
