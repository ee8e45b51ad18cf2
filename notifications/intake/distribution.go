package intake

import (
	"fmt"
	"mime"
	"net/http"

	"github.com/regcast/regcast/notifications"
)

// formatDistribution names the format of CNCF distribution's notifications.
const formatDistribution = "distribution"

// readDistribution decodes the body of r, or says why it will not.
func (h *Handler) readDistribution(r *http.Request, b *body) notifications.Decoded {
	from := notifications.Provenance{Format: formatDistribution, Sender: h.sender(r)}
	contentType, encoding := r.Header.Get("Content-Type"), r.Header.Get("Content-Encoding")
	switch {
	case b.over:
		return b.quarantined(notifications.ReasonTooLarge, fmt.Sprintf("the body is larger than %d bytes", h.opts.MaxBody), from)
	case encoding != "" && encoding != "identity":
		return b.quarantined(notifications.ReasonContentType, fmt.Sprintf("content encoding %.100q is not read", encoding), from)
	case !isDistribution(contentType):
		return b.quarantined(notifications.ReasonContentType, fmt.Sprintf("media type %.100q is not read", contentType), from)
	}
	return notifications.Decode(b.bytes, &notifications.DecodeOptions{
		MaxEvents: h.opts.MaxEvents, MaxEventBytes: h.opts.MaxEventBytes, Provenance: from,
	})
}

// isDistribution tells whether a body of that Content-Type is read. JSON without a name
// is: distribution's own senders name it, but people with curl and proxies may not.
func isDistribution(contentType string) bool {
	switch contentType {
	case notifications.MediaTypeV2, notifications.MediaTypeV1, "application/json", "":
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch mediaType {
	case notifications.MediaTypeV2, notifications.MediaTypeV1, "application/json":
		return true
	}
	return false
}
