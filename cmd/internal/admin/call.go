package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// The bounds of a request.
const (
	MaxPage  = 1000    // entries of one answer
	PageSize = 100     // where a request does not say
	maxBody  = 1 << 20 // bytes
)

// A call is a request to the API by somebody who may make it.
type call struct {
	*http.Request
	w     http.ResponseWriter
	token string // the name of it; "" where none is needed
}

// invalidf returns an ErrInvalid that says what is wrong.
func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// body decodes a JSON object into v and refuses what v has no place for: a field that is
// spelled wrongly must not widen a selection. It returns the JSON. No body is an empty
// object.
func (c *call) body(v any) (json.RawMessage, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("a body has at most %d bytes", maxBody)}
	}
	if err != nil {
		return nil, invalidf("reading the body: %w", err)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	if t, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, refusal{http.StatusUnsupportedMediaType, "a body is sent as application/json"}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return nil, invalidf("the body: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, invalidf("the body: more than one JSON value")
	}
	return data, nil
}

// A query takes parameters out of a URL and remembers the first that is wrong.
type query struct {
	values url.Values
	err    error
}

func (c *call) query() *query {
	values, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		err = invalidf("the query: %w", err)
	}
	return &query{values, err}
}

// done returns what was wrong, or that a parameter is left over: one that is spelled
// wrongly must not widen a selection.
func (q *query) done() error {
	if q.err != nil {
		return q.err
	}
	for name := range q.values {
		return invalidf("there is no parameter %q here", name)
	}
	return nil
}

// list takes a parameter that may be given several times.
func (q *query) list(name string) []string {
	values := q.values[name]
	delete(q.values, name)
	return values
}

func (q *query) text(name string) string {
	values := q.list(name)
	if len(values) > 1 {
		q.wrong(name, errors.New("it is given more than once"))
	}
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func (q *query) number(name string) uint64 {
	text := q.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		q.wrong(name, fmt.Errorf("%.40q is not a number", text))
	}
	return n
}

// numbers takes a parameter that may be given several times.
func (q *query) numbers(name string) (numbers []uint64) {
	for _, text := range q.list(name) {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			q.wrong(name, fmt.Errorf("%.40q is not a number", text))
		}
		numbers = append(numbers, n)
	}
	return numbers
}

func (q *query) time(name string) time.Time {
	text := q.text(name)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		q.wrong(name, fmt.Errorf("%.40q is not a time such as %s", text, time.RFC3339))
	}
	return t
}

// limit takes the length of a page.
func (q *query) limit() int {
	if !q.values.Has("limit") {
		return PageSize
	}
	n := q.number("limit")
	if n < 1 || n > MaxPage {
		q.wrong("limit", fmt.Errorf("it is 1 to %d", MaxPage))
	}
	return int(n)
}

func (q *query) wrong(name string, err error) {
	if q.err == nil {
		q.err = invalidf("parameter %s: %w", name, err)
	}
}
