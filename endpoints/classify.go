package endpoints

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A statusRule says what statuses mean: the table of the design, with an operator's
// exceptions.
type statusRule struct {
	successOn, retryOn, dropOn []int
}

// accepted tells whether a status means that the receiver took the batch.
func (r *statusRule) accepted(status int) bool {
	if status >= 200 && status < 300 {
		return !slices.Contains(r.retryOn, status) && !slices.Contains(r.dropOn, status)
	}
	return slices.Contains(r.successOn, status)
}

// ClassOf says what a status that is not accepted means where no option says otherwise.
// asked tells whether the answer has a Retry-After.
func ClassOf(status int, asked bool) Class { return new(statusRule).classify(status, asked) }

// classify says what a status that is not accepted means. asked tells whether the answer
// has a Retry-After.
func (r *statusRule) classify(status int, asked bool) Class {
	switch {
	case slices.Contains(r.retryOn, status):
		return Transient
	case slices.Contains(r.dropOn, status):
		return Dropped
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return Auth
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusUnsupportedMediaType, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return Misdirected
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly:
		return Transient
	case http.StatusGone:
		return Gone
	case http.StatusLengthRequired, http.StatusRequestEntityTooLarge:
		return TooLarge
	case http.StatusTooManyRequests:
		return Throttled
	case http.StatusServiceUnavailable:
		if asked {
			return Throttled
		}
		return Transient
	}
	switch {
	case status < 400: // 1xx, of which only 101 can be an answer, and 3xx
		return Misdirected
	case status < 500:
		return Rejected
	default:
		return Transient
	}
}

// A directive of the header Webhook-Delivery: what the receiver wants beside its status.
const (
	headerDirective  = "Webhook-Delivery"
	directiveDisable = "disable"
	directiveAbort   = "abort-message"
)

// answerClass classifies an answer; ok means that it accepts the batch. A receiver that
// asks to be disabled is obeyed whatever its status: the batch may come again later.
func (r *statusRule) answerClass(status int, header http.Header, asked bool) (c Class, ok bool) {
	directive := ""
	if values := header[headerDirective]; len(values) > 0 {
		directive = strings.ToLower(strings.TrimSpace(values[0]))
	}
	switch {
	case directive == directiveDisable:
		return Gone, false
	case r.accepted(status):
		return 0, true
	case directive == directiveAbort:
		return Aborted, false
	default:
		return r.classify(status, asked), false
	}
}

// minRetryAfter is the least wait that a Retry-After means: "0" must not make a busy loop.
const minRetryAfter = time.Second

// retryAfter reads the header Retry-After (RFC 9110, 10.2.3): seconds, or a date, which
// is taken by the clock of the receiver where the answer says it. ok is false if there
// is none that can be read. The wait is within minRetryAfter and limit.
func retryAfter(header http.Header, now time.Time, limit time.Duration) (wait time.Duration, ok bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0, false
	}
	if isDigits(value) {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(limit/time.Second) {
			return max(limit, minRetryAfter), true
		}
		wait = time.Duration(seconds) * time.Second
	} else {
		at, err := http.ParseTime(value)
		if err != nil {
			return 0, false
		}
		if theirs, err := http.ParseTime(header.Get("Date")); err == nil {
			now = theirs
		}
		wait = at.Sub(now)
	}
	return max(min(wait, limit), minRetryAfter), true
}

func isDigits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// statusText is a status as people write it: "503 Service Unavailable".
func statusText(status int) string {
	text := strconv.Itoa(status)
	if reason := http.StatusText(status); reason != "" {
		text += " " + reason
	}
	return text
}
