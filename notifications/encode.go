package notifications

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// NewEvent makes an event of action that happens now: with a UUIDv7 as id, the time in
// UTC, and d as its content. Target.Length is set to Target.Size where it is zero. NewEvent
// does not judge d: an event whose repository, tag or digest does not parse is delivered
// like any other, but [Decode] would not take it.
func NewEvent(action string, d Details) *Event {
	if d.Target.Length == 0 {
		d.Target.Length = d.Target.Size
	}
	return &Event{
		ID:         uuid.Must(uuid.NewV7()).String(), // fails only without a source of random numbers
		Timestamp:  time.Now().UTC(),
		Action:     action,
		Repository: d.Target.Repository,
		Tag:        d.Target.Tag,
		Digest:     d.Target.Digest,
		MediaType:  d.Target.MediaType,
		Actor:      d.Actor.Name,
		Method:     d.Request.Method,
		Origin:     d.Remark.Origin,
		content:    remarkedKind(d.Remark.Kind),
		details:    &d,
	}
}

// wireEvent is the wire form of an event for encoding/json.
type wireEvent struct {
	ID        string        `json:"id,omitempty"`
	Timestamp time.Time     `json:"timestamp"`
	Action    string        `json:"action,omitempty"`
	Target    Target        `json:"target"`
	Request   RequestRecord `json:"request"`
	Actor     ActorRecord   `json:"actor"`
	Source    SourceRecord  `json:"source"`
	Remark    Remark        `json:"regcast,omitzero"`
}

// AppendJSON appends the wire form of e to dst, without white space. Of a received event
// it is the JSON it came as; one that was made here is laid out byte for byte as
// distribution v3 does, followed by its [Remark] if it has one.
func (e *Event) AppendJSON(dst []byte) []byte {
	if e.raw != "" {
		return append(dst, e.raw...)
	}
	return e.appendMade(dst, false)
}

// AppendJSONv1 appends the wire form that distribution v2.8 would have given e: the
// target's media type, digest and size are left out where they are empty. Of an event
// that was made here their order is that of v2.8, too; a received one stays as it is
// apart from that.
func (e *Event) AppendJSONv1(dst []byte) []byte {
	switch {
	case e.raw == "":
		return e.appendMade(dst, true)
	case e.MediaType != "" && e.Digest != "" && !strings.Contains(e.raw, `"size":0`):
		return append(dst, e.raw...)
	}
	s := scanner[string]{src: e.raw, legacy: true}
	s.begin()
	s.object(inEvent, 1)
	return append(dst, s.compact(0)...)
}

// Size is the length of the wire form in bytes, as AppendJSON appends it.
func (e *Event) Size() int {
	if e.raw != "" {
		return len(e.raw)
	}
	var room [2 << 10]byte // most fit
	return len(e.AppendJSON(room[:0]))
}

// MarshalJSON is AppendJSON for encoding/json. Its error is always nil.
func (e *Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }

// appendMade appends an event that was made here, as distribution v3 does or, with legacy,
// as v2.8 did.
func (e *Event) appendMade(dst []byte, legacy bool) []byte {
	d := e.details
	if d == nil {
		made, _ := e.Details() // cannot fail without JSON to decode
		d = &made
	}
	dst = append(dst, '{')
	dst = appendMember(dst, `"id":`, e.ID)
	dst = appendName(dst, `"timestamp":"`)
	dst = e.Timestamp.AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	dst = appendMember(dst, `"action":`, e.Action)

	dst = append(dst, `,"target":{`...)
	if legacy {
		dst = appendTargetV1(dst, &d.Target)
	} else {
		dst = appendTarget(dst, &d.Target)
	}

	dst = append(dst, `},"request":{"id":`...)
	dst = appendString(dst, d.Request.ID)
	dst = appendMember(dst, `"addr":`, d.Request.Addr)
	dst = appendMember(dst, `"host":`, d.Request.Host)
	dst = append(dst, `,"method":`...)
	dst = appendString(dst, d.Request.Method)
	dst = append(dst, `,"useragent":`...)
	dst = appendString(dst, d.Request.UserAgent)

	dst = append(dst, `},"actor":{`...)
	dst = appendMember(dst, `"name":`, d.Actor.Name)

	dst = append(dst, `},"source":{`...)
	dst = appendMember(dst, `"addr":`, d.Source.Addr)
	dst = appendMember(dst, `"instanceID":`, d.Source.InstanceID)
	dst = append(dst, '}')
	if d.Remark != (Remark{}) {
		dst = append(dst, `,"regcast":{`...)
		dst = appendRemark(dst, &d.Remark)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func appendRemark(dst []byte, r *Remark) []byte {
	dst = appendMember(dst, `"kind":`, r.Kind)
	dst = appendMember(dst, `"origin":`, r.Origin)
	dst = appendMember(dst, `"audience":`, r.Audience)
	dst = appendMember(dst, `"subject":`, string(r.Subject))
	dst = appendTrue(dst, `"sizeUnknown":true`, r.SizeUnknown)
	dst = appendTrue(dst, `"redirected":true`, r.Redirected)
	dst = appendTrue(dst, `"aborted":true`, r.Aborted)
	dst = appendInt(dst, `"sent":`, r.Sent)
	return appendTrue(dst, `"actorVerified":true`, r.ActorVerified)
}

// appendTarget appends the members of a target as distribution v3 does, which embeds the
// descriptor of the OCI image specification.
func appendTarget(dst []byte, t *Target) []byte {
	dst = append(dst, `"mediaType":`...)
	dst = appendString(dst, t.MediaType)
	dst = append(dst, `,"digest":`...)
	dst = appendString(dst, string(t.Digest))
	dst = append(dst, `,"size":`...)
	dst = strconv.AppendInt(dst, t.Size, 10)
	dst = appendOther(dst, `"urls":`, t.URLs, len(t.URLs) > 0)
	dst = appendOther(dst, `"annotations":`, t.Annotations, len(t.Annotations) > 0)
	dst = appendOther(dst, `"data":`, t.Data, len(t.Data) > 0)
	dst = appendOther(dst, `"platform":`, t.Platform, t.Platform != nil)
	dst = appendMember(dst, `"artifactType":`, t.ArtifactType)
	dst = appendTargetRest(dst, t)
	return appendOther(dst, `"references":`, t.References, len(t.References) > 0)
}

// appendTargetV1 appends the members of a target as distribution v2.8 did, with a
// descriptor of its own.
func appendTargetV1(dst []byte, t *Target) []byte {
	dst = appendMember(dst, `"mediaType":`, t.MediaType)
	dst = appendInt(dst, `"size":`, t.Size)
	dst = appendMember(dst, `"digest":`, string(t.Digest))
	dst = appendOther(dst, `"urls":`, t.URLs, len(t.URLs) > 0)
	dst = appendOther(dst, `"annotations":`, t.Annotations, len(t.Annotations) > 0)
	dst = appendOther(dst, `"platform":`, t.Platform, t.Platform != nil)
	dst = appendTargetRest(dst, t)
	if len(t.References) == 0 {
		return dst
	}
	references := make([]descriptorV1, len(t.References))
	for i, r := range t.References {
		references[i] = descriptorV1{r.MediaType, r.Size, r.Digest, r.URLs, r.Annotations, r.Platform}
	}
	return appendOther(dst, `"references":`, references, true)
}

// descriptorV1 is the descriptor of distribution v2.8.
type descriptorV1 struct {
	MediaType   string            `json:"mediaType,omitempty"`
	Size        int64             `json:"size,omitempty"`
	Digest      digest.Digest     `json:"digest,omitempty"`
	URLs        []string          `json:"urls,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *v1.Platform      `json:"platform,omitempty"`
}

// appendTargetRest appends what a target has beside its descriptor, and no references.
func appendTargetRest(dst []byte, t *Target) []byte {
	dst = appendInt(dst, `"length":`, t.Length)
	dst = appendMember(dst, `"repository":`, t.Repository)
	dst = appendMember(dst, `"fromRepository":`, t.FromRepository)
	dst = appendMember(dst, `"url":`, t.URL)
	return appendMember(dst, `"tag":`, t.Tag)
}

// appendName appends the quoted name and colon of a member, behind a comma unless it is
// the first of its object.
func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(dst, name...)
}

// appendMember appends a member unless it is empty.
func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendString(appendName(dst, name), value)
}

// appendInt appends a member unless it is zero.
func appendInt(dst []byte, name string, value int64) []byte {
	if value == 0 {
		return dst
	}
	return strconv.AppendInt(appendName(dst, name), value, 10)
}

// appendTrue appends a whole member if it is true.
func appendTrue(dst []byte, member string, is bool) []byte {
	if !is {
		return dst
	}
	return appendName(dst, member)
}

// appendOther appends a rare member, if it is there, by way of encoding/json.
func appendOther(dst []byte, name string, value any, present bool) []byte {
	if !present {
		return dst
	}
	b, err := json.Marshal(value)
	if err != nil {
		return dst // no type of a target's members has a value that fails
	}
	return append(appendName(dst, name), b...)
}

// appendString appends s as encoding/json does, which also escapes <, > and &. What needs
// an escape is rare and left to it.
func appendString(dst []byte, s string) []byte {
	if plainEnd(s, 0) < len(s) || hasByte(s, '<') || hasByte(s, '>') || hasByte(s, '&') {
		b, _ := json.Marshal(s) // a string never fails
		return append(dst, b...)
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

func hasByte(s string, c byte) bool { return strings.IndexByte(s, c) >= 0 }
