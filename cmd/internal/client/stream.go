package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/regcast/regcast/cmd/internal/admin"
)

// maxLine bounds, in bytes, a line of a stream.
const maxLine = 32 << 20

// Stream returns the events that q selects as they are stored; see [admin.Events]. When
// the dispatcher ends the stream, as it does when it stops, its last pair has
// io.ErrUnexpectedEOF; it may be taken up again after the last sequence that came. What
// is returned without an error is to be looped over, once, or ctx to be ended.
func (c *Client) Stream(ctx context.Context, q admin.EventQuery) (iter.Seq2[admin.Event, error], error) {
	v := selection(&q.Selection)
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	r := request{method: http.MethodGet, path: []string{"events", "stream"}, query: v, accept: "text/event-stream"}
	if q.After > 0 {
		r.lastSeen = strconv.FormatUint(q.After, 10)
	}
	res, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return func(yield func(admin.Event, error) bool) {
		defer res.Body.Close()
		s := newScanner(res.Body)
		for n := 1; s.next(); n++ {
			e, err := s.event()
			if !yield(e, err) || err != nil || n == q.Limit {
				return
			}
		}
		if ctx.Err() != nil {
			yield(admin.Event{}, ctx.Err())
			return
		}
		yield(admin.Event{}, fmt.Errorf("the stream of %s: %w", c.base.Redacted(), s.err()))
	}, nil
}

// A scanner reads server-sent events (WHATWG HTML, section 9.2) as far as ours go: one
// line of data each.
type scanner struct {
	lines *bufio.Scanner
	name  string // of the event: "" or "error"
	data  string
}

func newScanner(r io.Reader) *scanner {
	s := &scanner{lines: bufio.NewScanner(r)}
	s.lines.Buffer(nil, maxLine)
	return s
}

// next reads on to the end of an event.
func (s *scanner) next() bool {
	s.name, s.data = "", ""
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "event":
			s.name = value
		case field == "data":
			s.data = value
		case s.lines.Text() == "" && s.data != "":
			return true
		}
	}
	return false
}

// event returns what next has read.
func (s *scanner) event() (e admin.Event, err error) {
	if s.name == "error" {
		var f admin.Failure
		if err := json.Unmarshal([]byte(s.data), &f); err != nil {
			return e, fmt.Errorf("an event that is not what regcast sends: %w", err)
		}
		return e, &Error{Status: http.StatusInternalServerError, Message: f.Error}
	}
	if err := json.Unmarshal([]byte(s.data), &e); err != nil {
		return e, fmt.Errorf("an event that is not what regcast sends: %w", err)
	}
	return e, nil
}

// err is why there is no next event.
func (s *scanner) err() error {
	if err := s.lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
