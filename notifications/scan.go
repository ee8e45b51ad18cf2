package notifications

const (
	// maxDepth bounds the nesting of an event; the event itself is at depth 1.
	maxDepth = 100
	// maxRecursion is where scanning stops, so that a deep event spoils only itself.
	// encoding/json has the same limit.
	maxRecursion = 10_000
)

// text is what a scanner reads: a body as it came, or an event as it was stored.
type text interface{ string | []byte }

// A fault is a reason why something is not JSON, or not read to its end. It is a number and not a string so that
// a scanner points at nothing but its input and output and can live on the stack.
type fault uint8

const (
	noFault fault = iota
	faultTrailing
	faultDepth
	faultComma
	faultName
	faultColon
	faultEscape
	faultControl
	faultString
	faultLiteral
	faultValue
	faultDigit
	faultEvents
)

func (f fault) String() string {
	return [...]string{
		"",
		"something follows the end",
		"nested too deeply",
		"a comma or the end of the object or array is missing",
		"a name in quotes is missing",
		"a colon is missing",
		"no such escape",
		"a control character in a string",
		"a string does not end",
		"no such literal",
		"a value is missing",
		"a digit is missing",
		"more events than allowed",
	}[f]
}

// A scanner reads JSON once, from left to right. On its way it checks the grammar of RFC
// 8259, copies everything but white space, and notes where the values of the fields of an
// Event are. After a failure it stands at the end of src, where nothing but failing can
// happen, so that only loops need to look.
type scanner[T text] struct {
	src  T
	pos  int    // of the next byte in src
	from int    // what of src is not in out yet begins here
	out  []byte // the compact form of the value begun last, up to from

	fault   fault // why src is not JSON, noFault as long as it is
	faultAt int

	// Of the event begun last:
	spans    [fieldCount]span
	redacted int  // members that held a credential
	notUTF8  bool // a string is not UTF-8
	tooDeep  bool // deeper than maxDepth

	legacy bool // leave out what distribution v2.8 leaves out
}

// begin makes the value at pos the one that out is the compact form of.
func (s *scanner[T]) begin() {
	s.from, s.out = s.pos, s.out[:0]
	s.spans = [fieldCount]span{}
	s.redacted, s.notUTF8, s.tooDeep = 0, false, false
}

// compact returns the compact form of what was read since begin at start. It does not
// share memory with a src of bytes.
func (s *scanner[T]) compact(start int) string {
	if s.from == start {
		return string(s.src[start:s.pos])
	}
	s.flush()
	return string(s.out)
}

// offset is where the next byte goes in the compact form.
func (s *scanner[T]) offset() int { return len(s.out) + s.pos - s.from }

// flush copies what was read and not copied yet. (It is not an append because that would
// have the compiler move the first out to the heap.)
func (s *scanner[T]) flush() {
	length := len(s.out)
	s.reserve(s.pos - s.from)
	s.out = s.out[:s.offset()]
	copy(s.out[length:], s.src[s.from:s.pos])
	s.from = s.pos
}

// reserve makes room for n more bytes in out.
func (s *scanner[T]) reserve(n int) {
	if cap(s.out)-len(s.out) < n {
		larger := make([]byte, len(s.out), 2*cap(s.out)+n)
		copy(larger, s.out)
		s.out = larger
	}
}

// fail notes the first reason why src is not JSON.
func (s *scanner[T]) fail(why fault) {
	if s.fault == noFault {
		s.fault, s.faultAt = why, s.pos
	}
	s.pos = len(s.src)
	s.from = min(s.from, s.pos)
}

// peek returns the next byte, and 0, which no token begins with, at the end.
func (s *scanner[T]) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

// space skips white space and leaves it out of the compact form.
func (s *scanner[T]) space() {
	if s.peek() <= ' ' {
		s.skipSpace()
	}
}

func (s *scanner[T]) skipSpace() {
	i := s.pos
	for i < len(s.src) {
		if c := s.src[i]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			break
		}
		i++
	}
	if i > s.pos {
		s.flush()
		s.pos, s.from = i, i
	}
}

// end fails if anything but white space is left.
func (s *scanner[T]) end() {
	s.space()
	if s.pos < len(s.src) {
		s.fail(faultTrailing)
	}
}

// open enters an object or array and tells whether it has anything in it.
func (s *scanner[T]) open(closing byte, depth int) bool {
	if depth > maxDepth {
		s.tooDeep = true
		if depth > maxRecursion {
			s.fail(faultDepth)
			return false
		}
	}
	s.pos++
	s.space()
	if s.peek() == closing {
		s.pos++
		return false
	}
	return true
}

// next goes on behind a comma, or leaves an object or array and returns false.
func (s *scanner[T]) next(closing byte) bool {
	s.space()
	switch s.peek() {
	case ',':
		s.pos++
		s.space()
		return true
	case closing:
		s.pos++
	default:
		s.fail(faultComma)
	}
	return false
}

// value reads any value.
func (s *scanner[T]) value(depth int) {
	switch s.peek() {
	case '"':
		s.str()
	case '{':
		s.object(inNothing, depth+1)
	case '[':
		for more := s.open(']', depth+1); more; more = s.next(']') {
			s.value(depth + 1)
		}
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
}

// object reads an object and notes the fields that an event has in it.
func (s *scanner[T]) object(in record, depth int) {
	for more := s.open('}', depth); more; more = s.next('}') {
		start := s.offset()
		f := s.key(in)
		s.member(f, depth)
		if f != noField && s.unwanted(f) {
			s.cut(start)
		}
	}
}

// key reads a member's name and the colon and says which field of in it is.
func (s *scanner[T]) key(in record) field {
	if s.peek() != '"' {
		s.fail(faultName)
		return noField
	}
	start := s.pos
	escaped := s.str()
	end := s.pos
	s.space()
	if s.peek() != ':' {
		s.fail(faultColon)
		return noField
	}
	s.pos++
	s.space()
	switch {
	case in == inNothing:
		return noField
	case escaped:
		return lookup(in, unquote(string(s.src[start:end])))
	default:
		return lookup(in, s.src[start+1:end-1])
	}
}

// member reads the value of f. As of members with equal names the last counts, a record
// that comes again takes back what was noted of the one before.
func (s *scanner[T]) member(f field, depth int) {
	if f == noField {
		s.value(depth)
		return
	}
	c := s.peek()
	if in := f.record(); in != inNothing {
		s.forget(in)
		if c == '{' {
			s.spans[f] = span{kind: spanRecord}
			s.object(in, depth+1)
			return
		}
	}
	sp := span{start: s.offset(), kind: spanOther}
	switch c {
	case '"':
		sp.kind = spanPlain
		if s.str() {
			sp.kind = spanEscaped
		}
	case 'n':
		sp.kind = spanNull
		fallthrough
	default:
		s.value(depth)
	}
	sp.end = s.offset()
	s.spans[f] = sp
}

// unwanted tells whether f, which was read last, is left out of the compact form.
func (s *scanner[T]) unwanted(f field) bool {
	switch f {
	case fieldUser:
		s.redacted++
		return true
	case fieldMediaType, fieldDigest:
		return s.legacy && s.spans[f].kind == spanPlain && s.spans[f].end-s.spans[f].start == len(`""`)
	case fieldSize:
		return s.legacy && s.spans[f].end-s.spans[f].start == 1 && s.src[s.pos-1] == '0'
	}
	return false
}

// forget takes back what was noted of a record.
func (s *scanner[T]) forget(in record) {
	switch in {
	case inTarget:
		clear(s.spans[fieldMediaType : fieldTag+1])
	case inActor:
		s.spans[fieldActorName] = span{}
	case inRequest:
		s.spans[fieldMethod] = span{}
	case inRemark:
		s.spans[fieldKind], s.spans[fieldOrigin] = span{}, span{}
	}
}

// cut takes the member that was read last, and began at start, out of the compact form,
// with one of the commas beside it.
func (s *scanner[T]) cut(start int) {
	s.space()
	s.flush()
	s.out = s.out[:start]
	if s.peek() == ',' {
		s.from = s.pos + 1
	} else if start > 0 && s.out[start-1] == ',' {
		s.out = s.out[:start-1]
	}
}

// literal reads true, false or null.
func (s *scanner[T]) literal(word string) {
	end := s.pos + len(word)
	if end > len(s.src) || string(s.src[s.pos:end]) != word {
		s.fail(faultLiteral)
		return
	}
	s.pos = end
}

// number reads a number; whatever is not the beginning of a value ends up here too.
func (s *scanner[T]) number() {
	if s.peek() == '-' {
		s.pos++
	}
	switch c := s.peek(); {
	case c == '0':
		s.pos++
	case isDigit(c):
		s.digits()
	default:
		s.fail(faultValue)
		return
	}
	if s.peek() == '.' {
		s.pos++
		s.digits()
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		s.digits()
	}
}

// digits reads one or more.
func (s *scanner[T]) digits() {
	start := s.pos
	for isDigit(s.peek()) {
		s.pos++
	}
	if s.pos == start {
		s.fail(faultDigit)
	}
}
