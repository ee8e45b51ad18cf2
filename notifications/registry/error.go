package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications/registry/internal/answer"
)

// Errors that callers act on; [Error] is each of them by its status and codes.
var (
	ErrNotFound     = errors.New("registry: not found")
	ErrUnauthorized = errors.New("registry: authentication is required or was refused")
	ErrDenied       = errors.New("registry: access is denied")
	ErrUnsupported  = errors.New("registry: the registry does not support this")
	ErrThrottled    = errors.New("registry: too many requests")
	// ErrNotModified: the registry still has what the caller has.
	ErrNotModified = errors.New("registry: not modified")
	// ErrMismatch: what came is not what was asked for, by digest or size.
	ErrMismatch = errors.New("registry: content does not match its digest or size")
	// ErrTooLarge: more came, or would have, than the options allow.
	ErrTooLarge = errors.New("registry: larger than allowed")
	// ErrEndless: a listing goes in a circle.
	ErrEndless = errors.New("registry: the listing does not come to an end")
	// ErrRefused: the registry sent us where we do not go with credentials or content, or to
	// what is no registry.
	ErrRefused = errors.New("registry: refused for safety")
)

// Bounds of what is kept of an answer that is an error.
const (
	maxErrorBody    = 64 << 10 // bytes read
	maxErrorDetails = 16
	maxErrorText    = 1 << 10 // bytes of a message
)

// A Detail is one of the errors that a registry lists in an answer
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes).
type Detail struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// An Error is an answer that says no.
type Error struct {
	Method     string
	URL        string // without query and user information
	Status     int
	Details    []Detail      // as the registry lists them, at most 16
	RetryAfter time.Duration // how long it asks us to wait, 0 if it does not

	insufficient bool // the challenge said that the token allows too little
}

// Error says what was answered, and then what was asked: where there is little room, the
// end of a long URL is what can be spared.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", e.Status, http.StatusText(e.Status))
	for _, d := range e.Details {
		fmt.Fprintf(&b, "; %s: %s", d.Code, d.Message)
	}
	fmt.Fprintf(&b, " (%s %s)", e.Method, e.URL)
	return b.String()
}

// Is tells which of the package's errors e is.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrDenied:
		return e.Status == http.StatusForbidden || e.insufficient || e.has("DENIED")
	case ErrUnauthorized:
		return e.Status == http.StatusUnauthorized && !e.insufficient && !e.has("DENIED")
	case ErrUnsupported:
		return e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented || e.has("UNSUPPORTED")
	case ErrThrottled:
		return e.Status == http.StatusTooManyRequests || e.has("TOOMANYREQUESTS")
	case ErrNotModified:
		return e.Status == http.StatusNotModified
	}
	return false
}

func (e *Error) has(code string) bool {
	return slices.ContainsFunc(e.Details, func(d Detail) bool { return d.Code == code })
}

// ErrorFrom reads an answer that says no, up to 64 KiB of its body, and closes it. It is
// for whoever makes requests of their own beside a [Client], as its transport does.
func ErrorFrom(resp *http.Response) *Error {
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode}
	if resp.Request != nil {
		e.Method, e.URL = resp.Request.Method, answer.Shown(resp.Request.URL)
	}
	e.RetryAfter, _ = answer.RetryAfter(resp.Header, time.Now())
	for _, c := range answer.Challenges(resp.Header) {
		if resp.StatusCode == http.StatusUnauthorized && c.Params["error"] == "insufficient_scope" {
			e.insufficient = true
		}
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came before an error is worth having
	var list struct {
		Errors []Detail `json:"errors"`
	}
	if json.Unmarshal(body, &list) != nil {
		return e
	}
	e.Details = list.Errors[:min(len(list.Errors), maxErrorDetails)]
	for i := range e.Details {
		e.Details[i].Code = printable(e.Details[i].Code)
		e.Details[i].Message = printable(e.Details[i].Message)
	}
	return e
}

// printable bounds what a server wrote and takes out what would break a line.
func printable(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxErrorText)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
