// Package names tells what may be called the name of a repository, a tag or a digest.
//
// The wire form, the observer's routes and the transport of the registry client judge names
// with it, each for itself: what one of them takes the others take. The grammars are those
// of package reference and of package go-digest. Their regular expressions are not used,
// because they take longer than all the rest of reading a path or an event; the tests
// compare with them.
//
// Its functions allocate nothing, take time in proportion to the length of what they are
// asked, and may be called from many goroutines.
package names

import (
	"strings"

	"github.com/distribution/reference"
)

// maxTag bounds a tag, in bytes: as the distribution specification does.
const maxTag = 128

// IsRepository tells whether name is a repository's: path components, or a host and path
// components. It is at most [reference.RepositoryNameTotalLengthMax] bytes long, host
// included.
func IsRepository(name string) bool {
	if len(name) > reference.RepositoryNameTotalLengthMax {
		return false
	}
	if isPath(name) {
		return true
	}
	host, path, ok := strings.Cut(name, "/")
	return ok && isHost(host) && isPath(path)
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

// isHost tells whether s is a host and perhaps a port, as a name may begin with: dotted
// labels of letters, digits and inner dashes, or what looks like an IPv6 address in
// brackets.
func isHost(s string) bool {
	if address, ok := strings.CutPrefix(s, "["); ok {
		address, port, ok := strings.Cut(address, "]")
		return ok && address != "" && strings.Trim(address, ":0123456789abcdefABCDEF") == "" && (port == "" || isPort(port))
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if !isPort(s[i:]) {
			return false
		}
		s = s[:i]
	}
	inner := false // a label has begun and may end here
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isDigit(c) || isLetter(c):
			inner = true
		case c == '.' && inner:
			inner = false
		case c == '-' && i > 0 && s[i-1] != '.':
			inner = false
		default:
			return false
		}
	}
	return inner
}

// isPort tells whether s is a colon and digits.
func isPort(s string) bool {
	return len(s) > 1 && s[0] == ':' && strings.Trim(s[1:], "0123456789") == ""
}

// IsTag tells whether s is a tag, by the grammar of package reference and of the
// distribution specification: at most 128 bytes.
func IsTag(s string) bool {
	if s == "" || len(s) > maxTag || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isDigit(c) && !isLetter(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// IsDigest tells whether s is a digest by the grammar of the image specification, in the
// right length if the algorithm is one of those that it registers with an encoding of
// lower-case hexadecimal digits. What nobody here can compute a registry may still
// serve.
func IsDigest(s string) bool {
	algorithm, encoded, ok := strings.Cut(s, ":")
	if !ok {
		return false
	}
	switch algorithm {
	case "sha256":
		return len(encoded) == 64 && isHex(encoded)
	case "sha384":
		return len(encoded) == 96 && isHex(encoded)
	case "sha512":
		return len(encoded) == 128 && isHex(encoded)
	}
	return isAlgorithm(algorithm) && isEncoded(encoded)
}

// isAlgorithm tells whether s is one or more components of lower-case letters and digits
// with a single separator between any two.
func isAlgorithm(s string) bool {
	inner := false // a component has begun and may end here
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isDigit(c) || 'a' <= c && c <= 'z':
			inner = true
		case inner && (c == '.' || c == '+' || c == '_' || c == '-'):
			inner = false
		default:
			return false
		}
	}
	return inner
}

// isEncoded tells whether s is what an algorithm that we do not know may have made.
func isEncoded(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isDigit(c) && !isLetter(c) && c != '=' && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

// isHex tells whether s has nothing but lower-case hexadecimal digits. Digits and letters
// come at random, and a branch for each byte that is guessed wrongly costs more than the
// rest: the highest bit of all stays set while every byte is one of the ten from '0' on or
// of the six from 'a' on.
func isHex(s string) bool {
	all := ^uint32(0)
	for i := 0; i < len(s); i++ {
		all &= (uint32(s[i]-'0') - 10) | (uint32(s[i]-'a') - 6)
	}
	return all>>31 == 1
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
