package notifications

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/internal/names"
)

// ParseEvent reads a single event object, by the same rules as [Decode] but without a
// limit on its size. What [Event.AppendJSON] gave comes back without a copy: the event
// keeps raw.
func ParseEvent(raw string) (*Event, error) {
	s := scanner[string]{src: raw}
	s.space()
	e, f := readEvent(&s)
	s.end()
	if s.fault != noFault {
		f = s.flaw()
	}
	if f != nil {
		return nil, fmt.Errorf("parse event: %w", f)
	}
	return e, nil
}

// RestoreEvent is [ParseEvent] for an engine that reads back what [Event.AppendJSON] gave
// it. It judges neither names nor what is missing: what was once accepted is read for ever,
// whoever made it and whatever later rules say. Only text that is not a JSON object is an
// error.
func RestoreEvent(raw string) (*Event, error) {
	s := scanner[string]{src: raw}
	s.space()
	raw, f := readObject(&s)
	s.end()
	if s.fault != noFault {
		f = s.flaw()
	}
	if f != nil {
		return nil, fmt.Errorf("restore event: %w", f)
	}
	e := newReceived(raw, &s.spans)
	_ = e.readTimestamp(&s.spans) // what does not parse is none
	return e, nil
}

// UnmarshalJSON is [ParseEvent] for encoding/json. It leaves e.Provenance alone.
func (e *Event) UnmarshalJSON(data []byte) error {
	parsed, err := ParseEvent(string(data))
	if err != nil {
		return err
	}
	parsed.Provenance = e.Provenance
	*e = *parsed
	return nil
}

// Details returns the whole of e. Of a received event it decodes the JSON each time it is
// called; the error is that of encoding/json, and what could be decoded comes with it.
func (e *Event) Details() (Details, error) {
	if e.details != nil {
		return *e.details, nil
	}
	var w wireEvent
	var err error
	if e.raw != "" {
		if err = json.Unmarshal([]byte(e.raw), &w); err != nil {
			err = fmt.Errorf("decode details of event %q: %w", e.ID, err)
		}
	}
	// What filters saw is what everybody sees, also of repeated members.
	w.Target.Repository, w.Target.Tag = e.Repository, e.Tag
	w.Target.Digest, w.Target.MediaType = e.Digest, e.MediaType
	w.Actor.Name, w.Request.Method = e.Actor, e.Method
	w.Remark.Kind, w.Remark.Origin = "", e.Origin
	if e.content != 0 {
		w.Remark.Kind = e.content.String()
	}
	return Details{Target: w.Target, Request: w.Request, Actor: w.Actor, Source: w.Source, Remark: w.Remark}, err
}

// A flaw says why something is not an event.
type flaw struct {
	reason Reason
	detail string // at most 512 bytes
}

func (f *flaw) Error() string { return f.detail }

// flaw says why s failed.
func (s *scanner[T]) flaw() *flaw {
	reason := ReasonSyntax
	if s.fault == faultEvents {
		reason = ReasonTooMany
	}
	return &flaw{reason, fmt.Sprintf("byte %d: %s", s.faultAt, s.fault)}
}

// readObject reads the value at s, if it is an object, and returns its compact form.
func readObject[T text](s *scanner[T]) (raw string, f *flaw) {
	s.begin()
	start := s.pos
	if s.peek() != '{' {
		s.value(0)
		return "", &flaw{ReasonSyntax, "an event is not an object"}
	}
	s.object(inEvent, 1)
	if s.fault != noFault {
		return "", s.flaw()
	}
	return s.compact(start), nil
}

// readEvent reads the value at s as an event. Where it is not even JSON, s says so too.
func readEvent[T text](s *scanner[T]) (*Event, *flaw) {
	raw, f := readObject(s)
	switch {
	case f != nil:
		return nil, f
	case s.notUTF8:
		return nil, &flaw{ReasonSyntax, "not UTF-8"}
	case s.tooDeep:
		return nil, &flaw{ReasonSyntax, fmt.Sprintf("nested deeper than %d", maxDepth)}
	}
	if f := s.checkTypes(); f != nil {
		return nil, f
	}
	e := newReceived(raw, &s.spans)
	if f := e.checkNames(); f != nil {
		return nil, f
	}
	if err := e.readTimestamp(&s.spans); err != nil {
		return nil, &flaw{ReasonTimestamp, "not a time of RFC 3339: " + excerpt(s.spans[fieldTimestamp].value(raw))}
	}
	if e.ID == "" {
		return identify(raw, s.spans[fieldID])
	}
	return e, nil
}

// checkTypes finds a field that is neither of its type nor null.
func (s *scanner[T]) checkTypes() *flaw {
	for f := fieldID; f <= fieldMethod; f++ {
		if s.spans[f].kind == spanOther {
			return &flaw{ReasonSyntax, f.String() + " is not a string"}
		}
	}
	for f := fieldTarget; f <= fieldRequest; f++ {
		if k := s.spans[f].kind; k != spanRecord && k != spanNull && k != spanAbsent {
			return &flaw{ReasonSyntax, f.String() + " is not an object"}
		}
	}
	return nil
}

// identify gives raw an id that is made from its content, a UUIDv8 (RFC 9562 §5.8), where
// sp is its place, and reads it again.
func identify(raw string, sp span) (*Event, *flaw) {
	sum := sha256.Sum256([]byte(raw))
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	if sp.kind == spanAbsent {
		raw = `{"id":"` + id.String() + `",` + raw[1:]
	} else {
		raw = raw[:sp.start] + `"` + id.String() + `"` + raw[sp.end:]
	}
	s := scanner[string]{src: raw}
	return readEvent(&s)
}

// newReceived makes the event of its compact JSON and of the places of its fields there,
// all but the timestamp.
func newReceived(raw string, spans *[fieldCount]span) *Event {
	return &Event{
		ID:         spans[fieldID].value(raw),
		Action:     intern(spans[fieldAction].value(raw)),
		Repository: spans[fieldRepository].value(raw),
		Tag:        spans[fieldTag].value(raw),
		Digest:     digest.Digest(spans[fieldDigest].value(raw)),
		MediaType:  spans[fieldMediaType].value(raw),
		Actor:      spans[fieldActorName].value(raw),
		Method:     spans[fieldMethod].value(raw),
		Origin:     spans[fieldOrigin].value(raw),
		content:    remarkedKind(spans[fieldKind].value(raw)),
		raw:        raw,
	}
}

// checkNames finds what an event lacks and what does not parse.
func (e *Event) checkNames() *flaw {
	switch {
	case e.Action == "":
		return &flaw{ReasonIncomplete, "without an action"}
	case e.Repository == "":
		return &flaw{ReasonIncomplete, "without a target.repository"}
	case !names.IsRepository(e.Repository):
		return &flaw{ReasonName, "not a repository name: " + excerpt(e.Repository)}
	case e.Tag != "" && !names.IsTag(e.Tag):
		return &flaw{ReasonName, "not a tag: " + excerpt(e.Tag)}
	case e.Digest != "" && !names.IsDigest(string(e.Digest)):
		return &flaw{ReasonDigest, "not a digest: " + excerpt(string(e.Digest))}
	}
	return nil
}

// readTimestamp sets the timestamp, in UTC. UnmarshalText takes RFC 3339 more strictly
// than time.Parse does.
func (e *Event) readTimestamp(spans *[fieldCount]span) error {
	stamp := spans[fieldTimestamp].value(e.raw)
	if stamp == "" {
		return nil
	}
	if err := e.Timestamp.UnmarshalText([]byte(stamp)); err != nil {
		return err
	}
	e.Timestamp = e.Timestamp.UTC()
	return nil
}

// excerpt quotes the beginning of s, in at most 402 bytes.
func excerpt(s string) string { return fmt.Sprintf("%.40q", s) }

// intern returns action without its place in a larger string, where it is a known one.
func intern(action string) string {
	switch action {
	case ActionPull:
		return ActionPull
	case ActionPush:
		return ActionPush
	case ActionMount:
		return ActionMount
	case ActionDelete:
		return ActionDelete
	}
	return action
}
