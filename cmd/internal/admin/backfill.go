package admin

import (
	"context"
	"net/http"
)

// A Found is a manifest that a registry has, and a tag that names it if that is what was
// found.
type Found struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest"`
	MediaType  string `json:"media_type,omitempty"`
	Size       int64  `json:"size"` // of the manifest, in bytes
}

// A BackfillStep is what a [BackfillRequest] is about.
type BackfillStep string

// The steps of a backfill.
const (
	BackfillBegin BackfillStep = "begin" // or go on
	BackfillStore BackfillStep = "store" // what was found, as often as it takes
	BackfillEnd   BackfillStep = "end"   // nothing more comes
)

// MaxFound bounds what one [BackfillRequest] tells of.
const MaxFound = 500

// A BackfillRequest tells of what a registry had before there were events. The registry,
// the endpoints and the patterns together are which backfill it is.
type BackfillRequest struct {
	From         string       `json:"from"`                   // the registry: https:// or http://, and a host
	Endpoints    []string     `json:"endpoints"`              // that alone get the events
	Repositories []string     `json:"repositories,omitempty"` // patterns of those that are walked; none: all
	Step         BackfillStep `json:"step"`
	Restart      bool         `json:"restart,omitempty"`    // with begin: do not go on where the last one was broken off
	Found        []Found      `json:"found,omitempty"`      // with store: at most MaxFound, of a repository in the order of its events
	Finished     string       `json:"finished,omitempty"`   // with store: all is told of this repository and those before it
	Unreadable   int          `json:"unreadable,omitempty"` // with finished: what the registry has up to there and does not give, since the backfill began
	DryRun       bool         `json:"dry_run,omitempty"`    // only count
}

// Backfilled says what became of a step of a backfill.
type Backfilled struct {
	After      string `json:"after,omitempty"`      // with begin: go on behind this repository
	Unreadable int    `json:"unreadable,omitempty"` // with begin: as it was told with that repository
	Accepted   uint64 `json:"accepted"`             // events that were stored; at the end: since the backfill began
	Duplicates uint64 `json:"duplicates"`           // events that are stored already
}

func (r *BackfillRequest) check() error {
	switch r.Step {
	case BackfillBegin, BackfillStore, BackfillEnd:
	default:
		return invalidf("a step is begin, store or end")
	}
	switch {
	case r.From == "":
		return invalidf("say from which registry")
	case len(r.Endpoints) == 0:
		return invalidf("say for which endpoints")
	case len(r.Found) > MaxFound:
		return invalidf("at most %d at once", MaxFound)
	case r.Unreadable < 0 || r.Unreadable > 0 && r.Finished == "":
		return invalidf("what cannot be read is counted up to the repository that is finished")
	case r.Step != BackfillStore && (len(r.Found) > 0 || r.Finished != ""):
		return invalidf("what was found is told with the step store")
	}
	return nil
}

// backfill logs beginnings and ends: what is stored between them is stored in their name.
func (a *api) backfill(c *call) error {
	var req BackfillRequest
	body, err := c.body(&req)
	if err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	var out Backfilled
	if req.DryRun || req.Step == BackfillStore {
		// A caller that goes away does not leave half of it.
		out, err = a.Backfill(context.WithoutCancel(c.Context()), c.token, req)
	} else {
		err = a.operate(c, Operation{Action: "backfill " + string(req.Step), Request: body}, func(ctx context.Context, o *Operation) (err error) {
			out, err = a.Backfill(ctx, c.token, req)
			o.Count = out.Accepted
			return err
		})
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, out)
}
