package notifications

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// The actions of CNCF distribution's events. A received event may carry another one
// (GitLab's registry has "rename"): it is kept as it is, see [KnownAction].
const (
	ActionPull   = "pull"
	ActionPush   = "push"
	ActionMount  = "mount"
	ActionDelete = "delete"
)

// The origins of an event, as far as they are not simply an operation that was seen.
const (
	OriginSeen     = ""         // somebody did it, and a registry, bridge or observer saw it
	OriginInferred = "inferred" // it follows from what was seen, such as the end of a tag whose manifest was deleted
	OriginBackfill = "backfill" // it happened before anybody looked, and was found in the registry later
)

// ActionPing marks a test event. It is sent to one endpoint on an operator's demand and
// never stored.
const ActionPing = "ping"

// KnownAction tells whether action is one that registries of the distribution family
// send. An event with another action is delivered only where a filter names it.
func KnownAction(action string) bool {
	switch action {
	case ActionPull, ActionPush, ActionMount, ActionDelete:
		return true
	}
	return false
}

// An Event says that something happened to a manifest, a blob, a tag or a repository.
//
// The exported fields are what filters, ordering and indexes need; they are always set
// as far as the event has them. Everything else is behind [Event.Details]. An Event is
// made by a [Bridge], by [NewEvent] or by [Decode] and is not changed after it was first
// written to a [Sink]; then it is safe for concurrent use.
type Event struct {
	ID         string        // unique; a UUIDv7 where regcast made the event
	Timestamp  time.Time     // when it happened, by the clock of the source, in UTC; zero if a received event does not say
	Action     string        // one of the Action constants, or what the source sent
	Repository string        // target.repository: the name without a host; never empty
	Tag        string        // target.tag, "" without one
	Digest     digest.Digest // target.digest, "" without one
	MediaType  string        // target.mediaType, "" without one
	Actor      string        // actor.name, "" if unknown
	Method     string        // request.method, "" if unknown
	Origin     string        // one of the Origin constants; OriginSeen ("") for what happened as it says

	// Provenance says how the event reached us. It is not part of the wire form.
	Provenance Provenance

	content Kind     // what was pushed, pulled or deleted, as Remark.Kind says; 0 if it does not
	raw     string   // compact JSON as received; "" for an event that was made here
	details *Details // of an event that was made here; nil for a received one
}

// Provenance says from whom and in which format an event came.
type Provenance struct {
	Format string // "bridge", "distribution", …: the inbound format, a short fixed word
	Sender string // who handed it over: the name of a credential, or an address; at most 255 bytes
}

// Details is the whole of an event as its wire form has it.
type Details struct {
	Target  Target
	Request RequestRecord
	Actor   ActorRecord
	Source  SourceRecord
	Remark  Remark
}
