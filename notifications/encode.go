package notifications

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// NewEvent makes an event of action that happens now: with a UUIDv7 as id, the time in
// UTC and d as its content. Target.Length is set to Target.Size if it is zero.
func NewEvent(action string, d Details) *Event {
	if d.Target.Length == 0 {
		d.Target.Length = d.Target.Size
	}
	return &Event{
		ID:         uuid.Must(uuid.NewV7()).String(),
		Timestamp:  time.Now().UTC(),
		Action:     action,
		Repository: d.Target.Repository,
		Tag:        d.Target.Tag,
		Digest:     d.Target.Digest,
		MediaType:  d.Target.MediaType,
		Actor:      d.Actor.Name,
		Method:     d.Request.Method,
		details:    &d,
	}
}

type wireEvent struct {
	ID        string        `json:"id,omitempty"`
	Timestamp time.Time     `json:"timestamp"`
	Action    string        `json:"action,omitempty"`
	Target    Target        `json:"target"`
	Request   RequestRecord `json:"request"`
	Actor     ActorRecord   `json:"actor"`
	Source    SourceRecord  `json:"source"`
}

// AppendJSON appends the compact wire form of e to dst. A received event is the JSON it
// came as, white space aside; one that was made here is laid out as distribution v3 does.
func (e *Event) AppendJSON(dst []byte) []byte {
	if e.raw != "" {
		return append(dst, e.raw...)
	}
	d, _ := e.Details()
	b, err := json.Marshal(wireEvent{e.ID, e.Timestamp, e.Action, d.Target, d.Request, d.Actor, d.Source})
	if err != nil {
		return dst
	}
	return append(dst, b...)
}

// AppendJSONv1 appends the compact wire form of e in the flavour of distribution v2.8,
// which leaves out an empty media type, digest or size of the target.
func (e *Event) AppendJSONv1(dst []byte) []byte { return e.AppendJSON(dst) }

// Size is the length of what AppendJSON appends, in bytes.
func (e *Event) Size() int {
	if e.raw != "" {
		return len(e.raw)
	}
	return len(e.AppendJSON(nil))
}

// MarshalJSON is AppendJSON for encoding/json.
func (e *Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }
