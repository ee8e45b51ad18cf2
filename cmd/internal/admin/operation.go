package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/regcast/regcast/config"
)

// An Operation is what an operator did, as the log keeps it.
type Operation struct {
	ID       uint64          `json:"id"` // increasing; 0 before it is stored
	At       time.Time       `json:"at"`
	Token    string          `json:"token"`              // the name of the token; "" where none is needed
	Action   string          `json:"action"`             // pause, resume, disable, enable, forget, ping, replay, dead replay, dead drop, jobs cancel, quarantine retry, quarantine drop, backfill begin, backfill end, reload
	Endpoint string          `json:"endpoint,omitempty"` // that it was about
	Job      string          `json:"job,omitempty"`      // that it made or ended
	Request  json.RawMessage `json:"request,omitempty"`  // the body: what was selected; cut out where it is too long to keep
	Ended    time.Time       `json:"ended,omitzero"`     // zero if it never came to an end
	Count    uint64          `json:"count,omitempty"`    // of what it touched
	Error    string          `json:"error,omitempty"`    // why it failed
}

// A LogQuery asks for a page of the log.
type LogQuery struct {
	Limit int    // how many; never 0
	After uint64 // only IDs below: where the page before ended; 0 for the first page
}

// A Problem is one thing that is wrong with the configuration file.
type Problem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"` // from 1; 0 if not known
	Path    string `json:"path,omitempty"` // of the key
	Message string `json:"message"`
}

// String returns "file:line: key.path: message", without what is not known.
func (p Problem) String() string { return config.Problem(p).String() }

// maxRecorded bounds, in bytes, the request that is kept with an operation.
const maxRecorded = 4 << 10

// operate does something on behalf of a caller between two records: one that it begins,
// without which it does not, and one of how it ended. A caller that goes away does not
// leave half of it.
func (a *api) operate(c *call, o Operation, do func(context.Context, *Operation) error) error {
	ctx := context.WithoutCancel(c.Context())
	o.At, o.Token, o.Request = time.Now().UTC(), c.token, recorded(o.Request)
	if err := a.Record(ctx, &o); err != nil {
		return fmt.Errorf("recording the operation, which was not begun: %w", err)
	}
	err := do(ctx, &o)
	// The WriteTimeout of a server would cut off the answer to what took long, such as a
	// reload that waits for requests in flight. Where none can be set there is none.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(writeTimeout))
	o.Ended = time.Now().UTC()
	if err != nil {
		o.Error = oneLine(err)
	}
	if err := a.Record(ctx, &o); err != nil {
		a.log.Error("recording how an operation ended", slog.Uint64("operation", o.ID), slog.Any("error", err))
	}
	return err
}

// recorded is what is kept of a request.
func recorded(body json.RawMessage) json.RawMessage {
	var short bytes.Buffer
	if len(body) == 0 || json.Compact(&short, body) != nil || short.Len() > maxRecorded {
		return nil
	}
	return short.Bytes()
}

// changeMany answers with the Outcome of a change. A dry run is no operation.
func (a *api) changeMany(c *call, o Operation, dryRun bool, change func(context.Context) (Outcome, error)) (err error) {
	var out Outcome
	if dryRun {
		out, err = change(c.Context())
	} else {
		err = a.operate(c, o, func(ctx context.Context, o *Operation) (err error) {
			out, err = change(ctx)
			o.Count = out.Count
			if out.Job != nil {
				o.Job = out.Job.ID
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	status := http.StatusOK
	if out.Job != nil {
		status = http.StatusAccepted
	}
	return c.answer(status, out)
}

func (a *api) reload(c *call) error {
	err := a.operate(c, Operation{Action: "reload"}, func(ctx context.Context, _ *Operation) error {
		return a.Reload(ctx)
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *api) listLog(c *call) error {
	q := c.query()
	limit, after := q.limit(), q.number("after")
	if err := q.done(); err != nil {
		return err
	}
	found, err := a.Log(c.Context(), LogQuery{limit + 1, after})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, newPage(found, limit, func(o *Operation) uint64 { return o.ID }))
}
