package notifications

import (
	"context"
	"time"
)

// A Recorder is the door of an engine for intake: events and what could not be read, in
// one atomic commit.
type Recorder interface {
	// Record stores events and bad, all or nothing, and returns once they are as durable
	// as the engine makes anything. An event whose id and content were stored before is
	// a duplicate and is acknowledged once its first copy is durable; the same id with
	// other content is stored.
	//
	// Record does not keep the slices. It is safe for concurrent use. When ctx ends
	// first its error is returned and the batch may or may not be stored.
	//
	// Errors: those of [Sink.Write].
	Record(ctx context.Context, events []*Event, bad []Quarantined) (Receipt, error)
}

// A Receipt says what became of what was handed to a [Recorder].
type Receipt struct {
	Accepted    int // stored now
	Duplicates  int // stored before
	Quarantined int // kept as it came, for a person to look at
}

// Quarantined is input that could not be read as an event. It is kept instead of being
// refused because a registry that gets an error blocks its whole queue behind it.
type Quarantined struct {
	ID         uint64    // the engine's, increasing; 0 before it is stored
	Received   time.Time // set by the engine when zero
	Reason     Reason    // why, as a short fixed word: a metric label
	Detail     string    // why, in words; at most 512 bytes
	Body       []byte    // what came, cut to MaxQuarantinedBody
	Size       int       // bytes that came, before the cut; -1 if unknown
	Provenance Provenance
}

// MaxQuarantinedBody bounds, in bytes, how much of an unreadable body is kept.
const MaxQuarantinedBody = 64 << 10

// A Reason says why input was quarantined.
type Reason string

// The reasons for quarantine.
const (
	ReasonSyntax      Reason = "syntax"       // not JSON, not UTF-8, nested too deeply, or of another shape
	ReasonNoEvents    Reason = "no_events"    // JSON without any event in it
	ReasonIncomplete  Reason = "incomplete"   // an event without an action or a repository
	ReasonName        Reason = "name"         // a repository or tag that does not parse
	ReasonDigest      Reason = "digest"       // a digest that does not parse
	ReasonTimestamp   Reason = "timestamp"    // not RFC 3339
	ReasonTooLarge    Reason = "too_large"    // a body or an event over its limit
	ReasonTooMany     Reason = "too_many"     // more events in an envelope than allowed
	ReasonContentType Reason = "content_type" // a media type that intake does not read
)

// Reasons lists every [Reason], so that metrics can start at zero.
func Reasons() []Reason {
	return []Reason{
		ReasonSyntax, ReasonNoEvents, ReasonIncomplete, ReasonName, ReasonDigest,
		ReasonTimestamp, ReasonTooLarge, ReasonTooMany, ReasonContentType,
	}
}
