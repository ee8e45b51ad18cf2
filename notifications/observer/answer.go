package observer

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/internal/names"
)

// An answer is what the header of one says about the content that was asked for.
type answer struct {
	digest    digest.Digest // Docker-Content-Digest, "" if it does not parse
	etag      digest.Digest // ETag, "" if it is none
	mediaType string        // Content-Type without parameters, "" if it is not that of the content
	size      int64         // of the whole content, -1 if it does not say
	length    int64         // of the body, -1 if it does not say
	encoded   bool          // Content-Encoding: the body is not the content
}

// readAnswer reads a header that goes out with status.
func readAnswer(h http.Header, status int) answer {
	a := answer{
		digest:    headerDigest(h),
		mediaType: mediaType(h.Get("Content-Type")),
		size:      -1,
		length:    number(h.Get("Content-Length")),
		encoded:   isEncoded(h),
	}
	if etag := strings.Trim(strings.TrimPrefix(h.Get("Etag"), "W/"), `"`); names.IsDigest(etag) {
		a.etag = digest.Digest(etag)
	}
	switch {
	case status == http.StatusOK && !a.encoded:
		a.size = a.length
	case status == http.StatusPartialContent, status == http.StatusRequestedRangeNotSatisfiable:
		if strings.HasPrefix(a.mediaType, "multipart/") {
			a.mediaType = "" // that of the parts is in the body
		}
		if unit, rest, ok := strings.Cut(h.Get("Content-Range"), " "); ok && strings.EqualFold(unit, "bytes") {
			_, total, _ := strings.Cut(rest, "/")
			a.size = number(total)
		}
	}
	return a
}

// isEncoded tells whether a body is not the content itself.
func isEncoded(h http.Header) bool {
	coding := h.Get("Content-Encoding")
	return coding != "" && !strings.EqualFold(coding, "identity")
}

// headerDigest is Docker-Content-Digest.
func headerDigest(h http.Header) digest.Digest { return theDigest(h, "Docker-Content-Digest") }

// theDigest is what a header called name, in its canonical form, says: the registry's word,
// if it is one word.
func theDigest(h http.Header, name string) digest.Digest {
	values := h[name]
	if len(values) != 1 || !names.IsDigest(values[0]) {
		return ""
	}
	return digest.Digest(values[0])
}

// number reads a number of bytes, -1 if it is none.
func number(s string) int64 {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

// mediaType returns a media type without its parameters, "" if it is none by RFC 6838.
func mediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	s = strings.ToLower(strings.Trim(s, " \t"))
	typ, subtype, ok := strings.Cut(s, "/")
	if !ok || !isRestrictedName(typ) || !isRestrictedName(subtype) {
		return ""
	}
	return s
}

// isRestrictedName tells whether s is one, see RFC 6838 section 4.2.
func isRestrictedName(s string) bool {
	if s == "" || len(s) > 127 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && strings.IndexByte("!#$&-^_.+", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// contradicts tells whether a and b cannot be digests of one content.
func contradicts(a, b digest.Digest) bool {
	return a != "" && b != "" && a != b && a.Algorithm() == b.Algorithm()
}
