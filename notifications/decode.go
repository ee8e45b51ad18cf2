package notifications

import (
	"bytes"
	"fmt"
	"strconv"
)

// DecodeOptions bound what [Decode] accepts. nil means the defaults, as a zero field does.
type DecodeOptions struct {
	MaxEvents     int        // in one envelope; 10 000
	MaxEventBytes int        // of one event as it came; 1 MiB
	Provenance    Provenance // set on everything that comes out
}

// Decoded is what [Decode] found in a body.
type Decoded struct {
	Events   []*Event      // in the order they came
	Bad      []Quarantined // what could not be read
	Redacted int           // credentials that were removed from either
}

// Decode reads what a registry sent: an envelope of events, of distribution v3, v2.8 or
// GitLab, or a single event object. It keeps the JSON of every event, white space aside:
// every field, in its order, with numbers and strings spelled as they came. There are two
// exceptions. GitLab's actor.user, a bearer token, is removed and counted. And an event
// without an id gets one that is made from its content, so that its repeats are known as
// such.
//
// An event needs an action and a repository; a name, tag, digest or timestamp that it has
// must parse. One that is not sound becomes a Quarantined beside its neighbours, and a body
// that is not JSON, or holds more than opts.MaxEvents, a single one. What is quarantined has
// its credentials removed as far as they can be recognized in broken text.
//
// Of members with equal names the last counts, names are compared with their case, and
// null is as good as absent. Nesting deeper than 100 is refused. Time and memory are
// proportional to the length of body, which Decode does not keep.
func Decode(body []byte, opts *DecodeOptions) Decoded {
	d := decoder{maxEvents: 10_000, maxEventBytes: 1 << 20, body: body}
	if opts != nil {
		d.provenance = opts.Provenance
		if opts.MaxEvents > 0 {
			d.maxEvents = opts.MaxEvents
		}
		if opts.MaxEventBytes > 0 {
			d.maxEventBytes = opts.MaxEventBytes
		}
	}
	var room [2 << 10]byte // enough for a usual event
	s := scanner[[]byte]{src: body, out: room[:0]}
	if f := d.document(&s); f != nil {
		d.out = Decoded{}
		d.quarantine(body, f)
	}
	return d.out
}

type decoder struct {
	body          []byte
	maxEvents     int
	maxEventBytes int
	provenance    Provenance
	out           Decoded
}

// document reads the whole body and returns what spoils all of it.
func (d *decoder) document(s *scanner[[]byte]) *flaw {
	s.space()
	object, envelope := s.peek() == '{', false
	if object {
		envelope = d.envelope(s)
	} else {
		s.value(0)
	}
	s.end()
	switch {
	case s.fault != noFault:
		return s.flaw()
	case !object:
		return &flaw{ReasonSyntax, "neither an envelope nor an event"}
	case !envelope:
		return d.bare(s)
	case len(d.out.Events)+len(d.out.Bad) == 0:
		return &flaw{ReasonNoEvents, "the envelope is empty"}
	}
	return nil
}

// envelope reads an object and the events in it, and tells whether it is an envelope.
func (d *decoder) envelope(s *scanner[[]byte]) (found bool) {
	for more := s.open('}', 1); more; more = s.next('}') {
		if s.key(inEnvelope) != fieldEvents {
			s.begin()
			s.value(1)
			continue
		}
		found, d.out = true, Decoded{}
		if s.peek() == '[' {
			d.events(s)
		} else {
			s.value(1)
		}
	}
	return found
}

// events reads the array of events.
func (d *decoder) events(s *scanner[[]byte]) {
	count := 0
	for more := s.open(']', 2); more; more = s.next(']') {
		if count++; count > d.maxEvents {
			s.fail(faultEvents)
			return
		}
		d.event(s)
	}
}

// event reads one event and keeps it as what it is.
func (d *decoder) event(s *scanner[[]byte]) {
	start := s.pos
	e, f := readEvent(s)
	if s.fault != noFault {
		return // the whole body goes
	}
	if size := s.pos - start; f == nil && size > d.maxEventBytes {
		f = &flaw{ReasonTooLarge, fmt.Sprintf("an event of %d bytes; the limit is %d", size, d.maxEventBytes)}
	}
	if f != nil {
		text := d.body[start:s.pos]
		if s.redacted > 0 {
			text = []byte(s.compact(start)) // has no credential where one belongs, however it was spelled
			d.out.Redacted += s.redacted
		}
		d.quarantine(text, f)
		d.out.Bad[len(d.out.Bad)-1].Size = s.pos - start
		return
	}
	e.Provenance = d.provenance
	d.out.Events = append(d.out.Events, e)
	d.out.Redacted += s.redacted
}

// bare reads the body again, as a single event.
func (d *decoder) bare(s *scanner[[]byte]) *flaw {
	s.pos, s.from = 0, 0
	s.space()
	d.event(s)
	if s.spans[fieldAction].kind == spanAbsent && s.spans[fieldTarget].kind == spanAbsent {
		return &flaw{ReasonNoEvents, "neither an envelope nor an event"}
	}
	return nil
}

// quarantine keeps a copy of what is not an event, without the credentials in it.
func (d *decoder) quarantine(text []byte, f *flaw) {
	kept, redacted := Redact(text[:min(len(text), MaxQuarantinedBody)])
	d.out.Redacted += redacted
	d.out.Bad = append(d.out.Bad, Quarantined{
		Reason: f.reason, Detail: f.detail, Body: kept, Size: len(text), Provenance: d.provenance,
	})
}

// Redact returns a copy of text, which need not be JSON, in which every string that is the
// value of a "user", however spelled, is empty, one that text ends in included, and how
// many that were.
func Redact(text []byte) (kept []byte, redacted int) {
	kept = make([]byte, 0, len(text))
	for {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			return append(kept, text...), redacted
		}
		length := userLen(text[i:])
		if length == 0 {
			kept = append(kept, text[:i+1]...)
			text = text[i+1:]
			continue
		}
		value := bytes.TrimLeft(text[i+length:], ": \t\r\n")
		kept = append(kept, text[:len(text)-len(value)]...)
		text = value
		if len(value) > 1 && value[0] == '"' && value[1] != '"' {
			kept = append(kept, `""`...)
			text = value[stringLen(value):]
			redacted++
		}
	}
}

// userLen is the length of the string "user" that text begins with, any of its letters
// escaped, and 0 if it begins with something else.
func userLen(text []byte) int {
	i := 1
	for _, want := range `user"` {
		switch {
		case i < len(text) && rune(text[i]) == want:
			i++
		case want != '"' && i+6 <= len(text) && text[i] == '\\' && text[i+1] == 'u':
			if c, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16); err != nil || rune(c) != want {
				return 0
			}
			i += 6
		default:
			return 0
		}
	}
	return i
}

// stringLen is the length of the string that text begins with, which may be cut off.
func stringLen(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}
