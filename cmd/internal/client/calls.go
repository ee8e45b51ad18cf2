package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
)

// Endpoints lists all endpoints, by name.
func (c *Client) Endpoints(ctx context.Context) ([]admin.Endpoint, error) {
	return list[admin.Endpoint](ctx, c, get("endpoints"))
}

// Endpoint returns one endpoint.
func (c *Client) Endpoint(ctx context.Context, name string) (e admin.Endpoint, err error) {
	err = c.do(ctx, get("endpoints", name), &e)
	return e, err
}

// Control does to an endpoint what action says.
func (c *Client) Control(ctx context.Context, name string, action admin.Action) error {
	if action == admin.Forget {
		return c.do(ctx, request{method: http.MethodDelete, path: []string{"endpoints", name}}, nil)
	}
	return c.do(ctx, post(nil, "endpoints", name, string(action)), nil)
}

// Ping sends a test event to an endpoint and returns what that answered.
func (c *Client) Ping(ctx context.Context, name, sample string) (p admin.Pong, err error) {
	err = c.do(ctx, post(admin.PingRequest{Sample: sample}, "endpoints", name, "ping"), &p)
	return p, err
}

// Events lists at most q.Limit events, newest first, with as many requests as it takes;
// 0 is the length of a page.
func (c *Client) Events(ctx context.Context, q admin.EventQuery) ([]admin.Event, error) {
	return pages[admin.Event](ctx, c, "events", selection(&q.Selection), q.Limit, q.After)
}

// Event returns an event and what became of it.
func (c *Client) Event(ctx context.Context, id string) (s admin.EventStory, err error) {
	err = c.do(ctx, get("events", id), &s)
	return s, err
}

// DeadLetters lists at most q.Limit dead letters, oldest first, with as many requests as
// it takes; 0 is the length of a page. They are without their events.
func (c *Client) DeadLetters(ctx context.Context, q admin.DeadQuery) ([]admin.DeadLetter, error) {
	v := make(url.Values)
	for _, id := range q.IDs {
		v.Add("id", strconv.FormatUint(id, 10))
	}
	set(v, "endpoint", q.Endpoint)
	set(v, "reason", q.Reason)
	set(v, "repository", q.Repository)
	return pages[admin.DeadLetter](ctx, c, "dead", v, q.Limit, q.After)
}

// DeadLetter returns one dead letter with its event.
func (c *Client) DeadLetter(ctx context.Context, id uint64) (d admin.DeadLetter, err error) {
	err = c.do(ctx, get("dead", strconv.FormatUint(id, 10)), &d)
	return d, err
}

// ReplayDead delivers dead letters again.
func (c *Client) ReplayDead(ctx context.Context, r admin.DeadRequest) (o admin.Outcome, err error) {
	err = c.do(ctx, post(r, "dead", "replay"), &o)
	return o, err
}

// DropDead forgets dead letters.
func (c *Client) DropDead(ctx context.Context, r admin.DeadRequest) (o admin.Outcome, err error) {
	err = c.do(ctx, post(r, "dead", "drop"), &o)
	return o, err
}

// Replay starts a job that delivers stored events again.
func (c *Client) Replay(ctx context.Context, r admin.ReplayRequest) (o admin.Outcome, err error) {
	err = c.do(ctx, post(r, "replay"), &o)
	return o, err
}

// Jobs lists jobs, newest first.
func (c *Client) Jobs(ctx context.Context) ([]admin.Job, error) {
	return list[admin.Job](ctx, c, get("jobs"))
}

// Job returns one job.
func (c *Client) Job(ctx context.Context, id string) (j admin.Job, err error) {
	err = c.do(ctx, get("jobs", id), &j)
	return j, err
}

// CancelJob ends a job and returns how far it came.
func (c *Client) CancelJob(ctx context.Context, id string) (j admin.Job, err error) {
	err = c.do(ctx, request{method: http.MethodDelete, path: []string{"jobs", id}}, &j)
	return j, err
}

// Quarantined lists at most q.Limit bodies that could not be read, oldest first, with as
// many requests as it takes; 0 is the length of a page. The bodies themselves are left out.
func (c *Client) Quarantined(ctx context.Context, q admin.QuarantineQuery) ([]admin.Quarantined, error) {
	v := make(url.Values)
	for _, id := range q.IDs {
		v.Add("id", strconv.FormatUint(id, 10))
	}
	set(v, "reason", q.Reason)
	return pages[admin.Quarantined](ctx, c, "quarantine", v, q.Limit, q.After)
}

// QuarantinedBody returns one body that could not be read.
func (c *Client) QuarantinedBody(ctx context.Context, id uint64) (q admin.Quarantined, err error) {
	err = c.do(ctx, get("quarantine", strconv.FormatUint(id, 10)), &q)
	return q, err
}

// RetryQuarantined reads quarantined bodies again.
func (c *Client) RetryQuarantined(ctx context.Context, r admin.QuarantineRequest) (o admin.Outcome, err error) {
	err = c.do(ctx, post(r, "quarantine", "retry"), &o)
	return o, err
}

// DropQuarantined forgets quarantined bodies.
func (c *Client) DropQuarantined(ctx context.Context, r admin.QuarantineRequest) (o admin.Outcome, err error) {
	err = c.do(ctx, post(r, "quarantine", "drop"), &o)
	return o, err
}

// Backfill does a step of a backfill in the name of the client's token.
func (c *Client) Backfill(ctx context.Context, r admin.BackfillRequest) (b admin.Backfilled, err error) {
	err = c.do(ctx, post(r, "backfill"), &b)
	return b, err
}

// Reload makes the dispatcher read its configuration file again. What is wrong with that
// is an [*Error] with Problems.
func (c *Client) Reload(ctx context.Context) error {
	return c.do(ctx, post(nil, "reload"), nil)
}

// Log lists at most q.Limit operations, newest first, with as many requests as it takes;
// 0 is the length of a page.
func (c *Client) Log(ctx context.Context, q admin.LogQuery) ([]admin.Operation, error) {
	return pages[admin.Operation](ctx, c, "log", make(url.Values), q.Limit, q.After)
}

func selection(s *admin.Selection) url.Values {
	v := make(url.Values)
	for _, id := range s.IDs {
		v.Add("id", id)
	}
	set(v, "repository", s.Repository)
	set(v, "tag", s.Tag)
	set(v, "action", s.Action)
	set(v, "actor", s.Actor)
	set(v, "digest", s.Digest)
	if !s.Since.IsZero() {
		v.Set("since", s.Since.Format(time.RFC3339Nano))
	}
	if !s.Until.IsZero() {
		v.Set("until", s.Until.Format(time.RFC3339Nano))
	}
	return v
}

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

// list asks for a listing that has one page.
func list[T any](ctx context.Context, c *Client, r request) ([]T, error) {
	var p admin.Page[T]
	err := c.do(ctx, r, &p)
	return p.Items, err
}

// pages asks for pages of a listing until it has limit entries or there are no more.
func pages[T any](ctx context.Context, c *Client, path string, v url.Values, limit int, after uint64) (all []T, err error) {
	if limit <= 0 {
		limit = admin.PageSize
	}
	for len(all) < limit {
		v.Set("limit", strconv.Itoa(min(limit-len(all), admin.MaxPage)))
		if after > 0 {
			v.Set("after", strconv.FormatUint(after, 10))
		}
		var p admin.Page[T]
		if err := c.do(ctx, request{method: http.MethodGet, path: []string{path}, query: v}, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if after = p.Next; after == 0 {
			break
		}
	}
	return all, nil
}
