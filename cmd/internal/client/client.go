// Package client talks to the admin API of a running dispatcher: what the commands do is
// made of it.
//
// A [Client] has the methods of an [admin.Dispatcher], but for Record and for who sends a
// backfill, and asks the one at the other end for each. It starts nothing and needs no shutdown.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/regcast/regcast/cmd/internal/admin"
)

// maxAnswer bounds, in bytes, an answer that is not a stream.
const maxAnswer = 64 << 20

// Options tell a [Client] how. nil, like a zero field, means the default.
type Options struct {
	Token     string       // the bearer token; "" for a dispatcher that needs none
	UserAgent string       // "regcast"
	HTTP      *http.Client // redirects are not followed in any case; http.DefaultClient
}

// A Client asks one dispatcher. It is safe for concurrent use.
//
// Errors: of all methods, those of the network, as an [*UnreachableError]; and what the
// dispatcher answered, as an [*Error] that matches the errors of package admin.
type Client struct {
	base  *url.URL
	token string
	agent string
	http  *http.Client
}

// New returns a client of the dispatcher whose admin routes are below base, such as
// http://127.0.0.1:8411.
func New(base string, opts *Options) (*Client, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the admin URL is http:// or https:// and a host, such as http://127.0.0.1:8411")
	case u.User != nil:
		return nil, errors.New("the admin URL has no user and password: the API takes a token")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the admin URL has no query and no fragment")
	}
	c := &Client{base: u, token: o.Token, agent: o.UserAgent, http: new(http.Client)}
	if o.HTTP != nil {
		*c.http = *o.HTTP
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.agent == "" {
		c.agent = "regcast"
	}
	return c, nil
}

// A request is one to be sent.
type request struct {
	method   string
	path     []string // segments below admin.Prefix, not escaped
	query    url.Values
	body     any // marshaled; nil for none
	accept   string
	lastSeen string // Last-Event-ID
}

func get(path ...string) request { return request{method: http.MethodGet, path: path} }

func post(body any, path ...string) request {
	return request{method: http.MethodPost, path: path, body: body}
}

// do asks r and decodes the answer into v, unless that is nil.
func (c *Client) do(ctx context.Context, r request, v any) error {
	res, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer of %s: %w", c.base.Redacted(), err)
	case len(data) > maxAnswer:
		return fmt.Errorf("the answer of %s is longer than %d bytes", c.base.Redacted(), maxAnswer)
	case v == nil:
		return nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("the answer of %s is not what regcast answers: %w", c.base.Redacted(), err)
	}
	return nil
}

// send asks r and returns an answer of success, whose body the caller closes.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // it repeats method and URL
		}
		return nil, &UnreachableError{c.base.Redacted(), err}
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, newError(res)
}

func (c *Client) request(ctx context.Context, r request) (*http.Request, error) {
	u := c.base.JoinPath(admin.Prefix)
	for _, segment := range r.path {
		u = u.JoinPath(url.PathEscape(segment))
	}
	u.RawQuery = r.query.Encode()
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", "application/json")
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if r.lastSeen != "" {
		req.Header.Set("Last-Event-ID", r.lastSeen)
	}
	return req, nil
}

// An UnreachableError is that a dispatcher gave no answer.
type UnreachableError struct {
	URL string // of the dispatcher
	Err error
}

func (e *UnreachableError) Error() string { return fmt.Sprintf("asking %s: %v", e.URL, e.Err) }

func (e *UnreachableError) Unwrap() error { return e.Err }

// An Error is what a dispatcher answered instead of what it was asked for.
type Error struct {
	Status   int
	Message  string
	Problems []admin.Problem // of the configuration file, with Reload
}

// maxFailure bounds, in bytes, how much is read of an answer that tells of a failure.
const maxFailure = 1 << 20

func newError(res *http.Response) *Error {
	e := &Error{Status: res.StatusCode}
	var f admin.Failure
	err := json.NewDecoder(io.LimitReader(res.Body, maxFailure)).Decode(&f)
	e.Message, e.Problems = f.Error, f.Problems
	if err != nil || e.Message == "" {
		e.Message = fmt.Sprintf("answered %s, but not as regcast does: is it the admin address?", res.Status)
	}
	return e
}

// Error returns the message, and the problems one a line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n%s", p)
	}
	return b.String()
}

// Is tells whether e is what target was turned into.
func (e *Error) Is(target error) bool {
	switch target {
	case admin.ErrInvalid:
		return e.Status == http.StatusBadRequest
	case admin.ErrNotFound:
		return e.Status == http.StatusNotFound
	case admin.ErrConflict:
		return e.Status == http.StatusConflict
	case admin.ErrUnsupported:
		return e.Status == http.StatusNotImplemented
	}
	return false
}
