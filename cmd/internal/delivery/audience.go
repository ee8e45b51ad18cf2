package delivery

import (
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// FormatBackfill is the inbound format of events that a backfill has made. It is part of
// an event's provenance, which nobody can send: of events that came another way nothing
// that they say of an audience counts.
const FormatBackfill = "backfill"

// An audience lets an endpoint have of backfilled events only those that are for it, and
// of these, as of all others, what rest selects.
type audience struct {
	endpoint string
	rest     sinks.Matcher // nil: everything
}

// ForAudience returns what selects the events that an endpoint may have out of what match
// selects, nil for everything. It holds for whoever delivers to the endpoint: live, after
// a restart, by a job.
func ForAudience(endpoint string, match sinks.Matcher) sinks.Matcher {
	return audience{endpoint, match}
}

// Match tells whether e is selected.
func (a audience) Match(e *notifications.Event) bool {
	return a.has(e) && (a.rest == nil || a.rest.Match(e))
}

// MayMatch is Match for an event of which the media type may not be known yet.
func (a audience) MayMatch(e *notifications.Event) bool {
	return a.has(e) && (a.rest == nil || sinks.MayMatch(a.rest, e))
}

// has tells whether e is for the endpoint. A backfilled event that cannot be read is for
// nobody.
func (a audience) has(e *notifications.Event) bool {
	if e.Provenance.Format != FormatBackfill {
		return true
	}
	d, err := e.Details()
	return err == nil && d.Remark.Audience == a.endpoint
}
