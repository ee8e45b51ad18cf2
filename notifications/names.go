package notifications

import (
	"errors"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

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
