package notifications

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
)

// A flaw says why something is not an event.
type flaw struct {
	reason Reason
	detail string // at most 512 bytes
}

func (f *flaw) Error() string { return f.detail }

// flaw says why what was scanned is not JSON.
func (s *scanner[T]) flaw() *flaw {
	return &flaw{ReasonSyntax, fmt.Sprintf("byte %d: %s", s.faultAt, s.fault)}
}

// readEvent reads the value at s as an event. Where it is not even JSON, s says so too.
func readEvent[T text](s *scanner[T]) (*Event, *flaw) {
	s.begin()
	start := s.pos
	if s.peek() != '{' {
		s.value(0)
		return nil, &flaw{ReasonSyntax, "an event is not an object"}
	}
	s.object(inEvent, 1)
	switch {
	case s.fault != noFault:
		return nil, s.flaw()
	case s.notUTF8:
		return nil, &flaw{ReasonSyntax, "not UTF-8"}
	case s.tooDeep:
		return nil, &flaw{ReasonSyntax, fmt.Sprintf("nested deeper than %d", maxDepth)}
	}
	raw := s.compact(start)
	if f := s.checkTypes(); f != nil {
		return nil, f
	}
	e, f := newReceived(raw, &s.spans)
	if f == nil && e.ID == "" {
		return identify(raw, s.spans[fieldID])
	}
	return e, f
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

// newReceived makes the event of its compact JSON and of the places of its fields there.
func newReceived(raw string, spans *[fieldCount]span) (*Event, *flaw) {
	e := &Event{
		ID:         spans[fieldID].value(raw),
		Action:     intern(spans[fieldAction].value(raw)),
		Repository: spans[fieldRepository].value(raw),
		Tag:        spans[fieldTag].value(raw),
		Digest:     digest.Digest(spans[fieldDigest].value(raw)),
		MediaType:  spans[fieldMediaType].value(raw),
		Actor:      spans[fieldActorName].value(raw),
		Method:     spans[fieldMethod].value(raw),
		raw:        raw,
	}
	switch {
	case e.Action == "":
		return nil, &flaw{ReasonIncomplete, "without an action"}
	case e.Repository == "":
		return nil, &flaw{ReasonIncomplete, "without a target.repository"}
	case !isRepository(e.Repository):
		return nil, &flaw{ReasonName, "not a repository name: " + excerpt(e.Repository)}
	case e.Tag != "" && !isTag(e.Tag):
		return nil, &flaw{ReasonName, "not a tag: " + excerpt(e.Tag)}
	case e.Digest != "" && !isDigest(string(e.Digest)):
		return nil, &flaw{ReasonDigest, "not a digest: " + excerpt(string(e.Digest))}
	}
	if stamp := spans[fieldTimestamp].value(raw); stamp != "" {
		// UnmarshalText takes RFC 3339 more strictly than Parse does.
		if err := e.Timestamp.UnmarshalText([]byte(stamp)); err != nil {
			return nil, &flaw{ReasonTimestamp, "not a time of RFC 3339: " + excerpt(stamp)}
		}
		e.Timestamp = e.Timestamp.UTC()
	}
	return e, nil
}

// excerpt quotes the beginning of s.
func excerpt(s string) string { return fmt.Sprintf("%.80q", s) }

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

// maxName bounds a repository's name, in bytes: reference.RepositoryNameTotalLengthMax.
const maxName = reference.RepositoryNameTotalLengthMax

// isRepository tells whether name is a repository's, by the grammar of package reference.
// Its regular expression is left to what no path alone can be: a name with a host.
func isRepository(name string) bool {
	if len(name) > maxName {
		return false
	}
	if isPath(name) {
		return true
	}
	_, err := reference.WithName(name)
	return err == nil
}

// isPath tells whether name is one or more components of lower-case letters and digits,
// joined by slashes. Within a component a period, one or two underscores, or any number
// of dashes separate.
func isPath(name string) bool {
	separator := "/" // what stands since the last letter or digit
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case isDigit(c) || 'a' <= c && c <= 'z':
			separator = ""
		case separator == "" && (c == '/' || c == '.' || c == '_' || c == '-'):
			separator = name[i : i+1]
		case c == '-' && separator[0] == '-', c == '_' && separator == "_":
			separator = name[i-len(separator) : i+1]
		default:
			return false
		}
	}
	return separator == ""
}

// isTag tells whether tag is one, by the grammar of package reference.
func isTag(tag string) bool {
	if tag == "" || len(tag) > 128 || tag[0] == '.' || tag[0] == '-' {
		return false
	}
	for i := 0; i < len(tag); i++ {
		c := tag[i]
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// isDigest tells whether s is a digest. One of an algorithm that we do not know is, if it
// is spelled as one.
func isDigest(s string) bool {
	if hex, ok := strings.CutPrefix(s, "sha256:"); ok {
		for i := 0; i < len(hex); i++ {
			if c := hex[i]; !isDigit(c) && (c < 'a' || c > 'f') {
				return false
			}
		}
		return len(hex) == 64
	}
	err := digest.Digest(s).Validate()
	return err == nil || errors.Is(err, digest.ErrDigestUnsupported)
}
