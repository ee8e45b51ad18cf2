package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A Page is one page of a listing.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  uint64 `json:"next,omitempty"` // the parameter after of the next page; 0 on the last
}

// newPage makes a page of at most limit of what was found, one more than that if there
// is another page, which begins after the last that is on this one.
func newPage[T any](found []T, limit int, place func(*T) uint64) Page[T] {
	p := Page[T]{Items: found}
	if len(found) > limit {
		p.Items = found[:limit]
		p.Next = place(&found[limit-1])
	}
	if p.Items == nil {
		p.Items = []T{}
	}
	return p
}

// A Failure is the answer to a request that did not succeed.
type Failure struct {
	Error    string    `json:"error"`
	Problems []Problem `json:"problems,omitempty"` // of a configuration file
}

// A refusal is an error with a status.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

var errStopping = refusal{http.StatusServiceUnavailable, "stopping"}

// answer sends v as JSON.
func (c *call) answer(status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.answerRaw(status, append(data, '\n'))
	return nil
}

func (c *call) answerRaw(status int, data []byte) {
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	c.w.WriteHeader(status)
	c.w.Write(data) // an error means that the caller has gone
}

// fail answers with what went wrong.
func (a *api) fail(c *call, err error) {
	status := statusOf(err)
	h := c.w.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
	case http.StatusInternalServerError:
		a.log.Error("admin request", slog.String("method", c.Method), slog.String("path", c.URL.Path), slog.Any("error", err))
	}
	f := Failure{Error: err.Error()}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		f.Error = "the configuration has problems; nothing was reloaded"
		for _, p := range problems {
			f.Problems = append(f.Problems, Problem(p))
		}
	}
	// What remains is text that can be marshaled.
	_ = c.answer(status, f)
}

// statusOf is the status that tells of err.
func statusOf(err error) int {
	if r, ok := errors.AsType[refusal](err); ok {
		return r.status
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		return http.StatusUnprocessableEntity
	}
	switch {
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, ErrNotFound), errors.Is(err, sinks.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrConflict), errors.Is(err, sinks.ErrInUse):
		return http.StatusConflict
	case errors.Is(err, ErrUnsupported):
		return http.StatusNotImplemented
	case errors.Is(err, notifications.ErrClosed), errors.Is(err, notifications.ErrFull), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// oneLine is err for a record, which has no room for more than text.
func oneLine(err error) string {
	const most = 1 << 10
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
