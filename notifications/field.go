package notifications

// A field is a member of an event that the scanner looks at.
type field uint8

const (
	noField field = iota

	// Strings, which an Event has as exported fields; those of a record stand together.
	fieldID
	fieldTimestamp
	fieldAction
	fieldMediaType
	fieldDigest
	fieldRepository
	fieldTag
	fieldActorName
	fieldMethod

	// Records, which others are in.
	fieldTarget
	fieldActor
	fieldRequest

	// Others.
	fieldSize // of the target
	fieldUser // of GitLab's actor: a bearer token
	fieldEvents
	fieldRemark
	fieldKind
	fieldOrigin

	fieldCount
)

// A record is an object whose members are looked at.
type record uint8

const (
	inNothing record = iota
	inEnvelope
	inEvent
	inTarget
	inActor
	inRequest
	inRemark
)

// lookup finds the field called name in a record. Names are compared as they are, case
// included.
func lookup[T text](in record, name T) field {
	switch in {
	case inEvent:
		switch string(name) {
		case "id":
			return fieldID
		case "timestamp":
			return fieldTimestamp
		case "action":
			return fieldAction
		case "target":
			return fieldTarget
		case "actor":
			return fieldActor
		case "request":
			return fieldRequest
		case "regcast":
			return fieldRemark
		}
	case inTarget:
		switch string(name) {
		case "mediaType":
			return fieldMediaType
		case "digest":
			return fieldDigest
		case "size":
			return fieldSize
		case "repository":
			return fieldRepository
		case "tag":
			return fieldTag
		}
	case inActor:
		switch string(name) {
		case "name":
			return fieldActorName
		case "user":
			return fieldUser
		}
	case inRequest:
		if string(name) == "method" {
			return fieldMethod
		}
	case inRemark:
		switch string(name) {
		case "kind":
			return fieldKind
		case "origin":
			return fieldOrigin
		}
	case inEnvelope:
		if string(name) == "events" {
			return fieldEvents
		}
	}
	return noField
}

// record says what f is a record of.
func (f field) record() record {
	switch f {
	case fieldTarget:
		return inTarget
	case fieldActor:
		return inActor
	case fieldRequest:
		return inRequest
	case fieldRemark:
		return inRemark
	}
	return inNothing
}

// String is where f is in an event.
func (f field) String() string {
	return [fieldCount]string{
		"", "id", "timestamp", "action", "target.mediaType", "target.digest",
		"target.repository", "target.tag", "actor.name", "request.method",
		"target", "actor", "request", "target.size", "actor.user", "events",
		"regcast", "regcast.kind", "regcast.origin",
	}[f]
}

// A span is where the value of a field is in the compact form of an event.
type span struct {
	start, end int // quotes included
	kind       spanKind
}

type spanKind uint8

const (
	spanAbsent spanKind = iota
	spanNull
	spanPlain   // a string that means what it is
	spanEscaped // a string with escapes
	spanRecord  // an object whose members were looked at
	spanOther
)

// value is the string at sp in raw, "" if there is none.
func (sp span) value(raw string) string {
	switch sp.kind {
	case spanPlain:
		return raw[sp.start+1 : sp.end-1]
	case spanEscaped:
		return unquote(raw[sp.start:sp.end])
	default:
		return ""
	}
}
