package notifications

import (
	"bytes"
	"encoding/json"
)

// The media types of an envelope. The records in it are laid out the same.
const (
	MediaTypeV2 = "application/vnd.docker.distribution.events.v2+json" // distribution v3
	MediaTypeV1 = "application/vnd.docker.distribution.events.v1+json" // distribution up to v2.8, GitLab
)

// AppendEnvelope appends the envelope of batch to dst: {"events":[…]}, compact. Of an
// empty batch it is {}, as distribution has it.
func AppendEnvelope(dst []byte, batch []*Event) []byte {
	return appendEnvelope(dst, batch, (*Event).AppendJSON)
}

// AppendEnvelopeV1 is [AppendEnvelope] in the v2.8 flavour of [Event.AppendJSONv1].
func AppendEnvelopeV1(dst []byte, batch []*Event) []byte {
	return appendEnvelope(dst, batch, (*Event).AppendJSONv1)
}

func appendEnvelope(dst []byte, batch []*Event, event func(*Event, []byte) []byte) []byte {
	if len(batch) == 0 {
		return append(dst, "{}"...)
	}
	dst = append(dst, `{"events":[`...)
	for i, e := range batch {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = event(e, dst)
	}
	return append(dst, "]}"...)
}

// IndentEnvelope appends envelope to dst as distribution sends it: indented by three
// spaces, without a newline at the end. envelope is one that AppendEnvelope or
// AppendEnvelopeV1 made.
func IndentEnvelope(dst, envelope []byte) []byte {
	buf := bytes.NewBuffer(dst)
	if err := json.Indent(buf, envelope, "", "   "); err != nil {
		return append(dst, envelope...)
	}
	return buf.Bytes()
}
