package notifications

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
)

// DecodeOptions bound what [Decode] accepts. nil, like a zero field, means the default.
type DecodeOptions struct {
	MaxEvents     int        // in one envelope; 10 000
	MaxEventBytes int        // of one event as it came, in bytes; 1 MiB
	Provenance    Provenance // set on everything that comes out
}

// Decoded is what [Decode] found.
type Decoded struct {
	Events   []*Event      // in the order they came
	Bad      []Quarantined // what could not be read
	Redacted int           // credentials that were removed
}

// Decode reads an envelope of events, of either flavour, or a single event object.
func Decode(body []byte, opts *DecodeOptions) Decoded {
	if opts == nil {
		opts = &DecodeOptions{}
	}
	var out Decoded
	var envelope struct{ Events []json.RawMessage }
	bad := func(r Reason, err error) {
		out.Bad = append(out.Bad, Quarantined{Reason: r, Detail: err.Error(), Body: bytes.Clone(body[:min(len(body), MaxQuarantinedBody)]), Size: len(body), Provenance: opts.Provenance})
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		bad(ReasonSyntax, err)
		return out
	}
	if envelope.Events == nil {
		envelope.Events = []json.RawMessage{body}
	}
	for _, raw := range envelope.Events {
		e, err := ParseEvent(string(raw))
		if err != nil {
			bad(ReasonIncomplete, err)
			continue
		}
		e.Provenance = opts.Provenance
		out.Events = append(out.Events, e)
	}
	return out
}

// ParseEvent reads one event object.
func ParseEvent(raw string) (*Event, error) {
	e := new(Event)
	return e, e.UnmarshalJSON([]byte(raw))
}

// UnmarshalJSON is [ParseEvent] for encoding/json.
func (e *Event) UnmarshalJSON(data []byte) error {
	var w wireEvent
	if err := json.Unmarshal(data, &w); err != nil {
		return fmt.Errorf("parse event: %w", err)
	}
	if w.Action == "" || w.Target.Repository == "" {
		return errors.New("parse event: no action or repository")
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, data); err != nil {
		return fmt.Errorf("parse event: %w", err)
	}
	*e = Event{
		ID: w.ID, Timestamp: w.Timestamp, Action: w.Action, Repository: w.Target.Repository,
		Tag: w.Target.Tag, Digest: w.Target.Digest, MediaType: w.Target.MediaType,
		Actor: w.Actor.Name, Method: w.Request.Method, raw: buf.String(),
	}
	return nil
}

// Details returns the whole of e. Of a received event it decodes the JSON each time.
func (e *Event) Details() (Details, error) {
	if e.details != nil {
		return *e.details, nil
	}
	if e.raw == "" {
		var d Details
		d.Target.MediaType, d.Target.Digest = e.MediaType, e.Digest
		d.Target.Repository, d.Target.Tag = e.Repository, e.Tag
		d.Request.Method, d.Actor.Name = e.Method, e.Actor
		return d, nil
	}
	var w wireEvent
	if err := json.Unmarshal([]byte(e.raw), &w); err != nil {
		return Details{}, fmt.Errorf("decode details of event %q: %w", e.ID, err)
	}
	return Details{Target: w.Target, Request: w.Request, Actor: w.Actor, Source: w.Source}, nil
}

// Fingerprint hashes the wire form of e, to tell whether two events with the same id have
// the same content. It is stable for one seed, thus within one process.
func (e *Event) Fingerprint(seed maphash.Seed) uint64 {
	if e.raw != "" {
		return maphash.String(seed, e.raw)
	}
	return maphash.Bytes(seed, e.AppendJSON(nil))
}
