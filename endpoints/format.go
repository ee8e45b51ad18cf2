package endpoints

import (
	"slices"

	"github.com/regcast/regcast/notifications"
)

// A format is a wire form of events.
type format interface {
	contentType() string
	// appendBatch appends the body of a request.
	appendBatch(dst []byte, batch []*notifications.Event) []byte
	// appendEvent appends one event as JSON, without line breaks.
	appendEvent(dst []byte, e *notifications.Event) []byte
}

// The names of formats, as [Options.Format] takes them.
const (
	FormatDistribution   = "distribution"    // the envelope of CNCF distribution v3
	FormatDistributionV1 = "distribution-v1" // the envelope of distribution v2.8
)

// Formats lists the names of formats.
func Formats() []string { return []string{FormatDistribution, FormatDistributionV1} }

// formatOf returns the format of that name, nil if there is none. name must be one of
// Formats.
func formatOf(name string) format {
	switch name {
	case FormatDistributionV1:
		return distributionV1{}
	default:
		return distribution{}
	}
}

func knownFormat(name string) bool { return slices.Contains(Formats(), name) }

type distribution struct{}

func (distribution) contentType() string { return notifications.MediaTypeV2 }

func (distribution) appendBatch(dst []byte, batch []*notifications.Event) []byte {
	return notifications.AppendEnvelope(dst, batch)
}

func (distribution) appendEvent(dst []byte, e *notifications.Event) []byte {
	return e.AppendJSON(dst)
}

type distributionV1 struct{}

func (distributionV1) contentType() string { return notifications.MediaTypeV1 }

func (distributionV1) appendBatch(dst []byte, batch []*notifications.Event) []byte {
	return notifications.AppendEnvelopeV1(dst, batch)
}

func (distributionV1) appendEvent(dst []byte, e *notifications.Event) []byte {
	return e.AppendJSONv1(dst)
}
