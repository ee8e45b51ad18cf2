package notifications

import (
	"encoding/json"
	"math/bits"
	"unicode/utf8"
)

// str reads a string and tells whether it has escapes.
func (s *scanner[T]) str() (escaped bool) {
	for i := plainEnd(s.src, s.pos+1); i < len(s.src); i = plainEnd(s.src, i) {
		switch c := s.src[i]; {
		case c == '"':
			s.pos = i + 1
			return escaped
		case c == '\\':
			n := escapeLen(s.src[i:min(i+6, len(s.src))])
			if n == 0 {
				s.pos = i
				s.fail(faultEscape)
				return escaped
			}
			escaped = true
			i += n
		case c < ' ':
			s.pos = i
			s.fail(faultControl)
			return escaped
		default:
			r, n := utf8.DecodeRuneInString(string(s.src[i:min(i+utf8.UTFMax, len(s.src))]))
			if r == utf8.RuneError && n == 1 {
				s.notUTF8 = true
			}
			i += n
		}
	}
	s.fail(faultString)
	return escaped
}

// The lowest and the highest bit of every lane of a word.
const (
	ones = 0x0101010101010101
	high = ones << 7
)

// word returns eight bytes as the lanes of a word, which the compiler makes one load.
func word[T text](b T) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// plainEnd returns where, from i on, the first byte is that does not stand for itself in
// a string: a quote, a backslash, a control character or one that is not ASCII.
//
// It looks at eight bytes at once, as the lanes of one word, of which special has the
// highest bit set where the byte is such a one. A borrow can set it wrongly only in a lane
// behind another that is special, and only the first counts.
func plainEnd[T text](src T, i int) int {
	for ; i+8 <= len(src); i += 8 {
		w := word(src[i : i+8])
		special := (w - ones*' ') | (w ^ ones*'"' - ones) | (w ^ ones*'\\' - ones) | w
		if special &= high; special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(src); i++ {
		if c := src[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// escapeLen returns the length of the escape that seq begins with, 0 if it is none.
func escapeLen[T text](seq T) int {
	if len(seq) < 2 {
		return 0
	}
	switch seq[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		for i := 2; i < 6; i++ {
			if i >= len(seq) || !isHex(seq[i]) {
				return 0
			}
		}
		return 6
	}
	return 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unquote returns what a string that was scanned means.
func unquote(quoted string) string {
	var v string
	_ = json.Unmarshal([]byte(quoted), &v) // cannot fail: it is well-formed
	return v
}
