package observer

import (
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// A Class is what kind of thing a path of the distribution API names.
type Class uint8

// The classes of paths, by the end points of the distribution specification.
const (
	Unclassified Class = iota // not a path of the API, or one that servers read differently
	Base                      // /v2/
	Catalog                   // /v2/_catalog
	UploadStart               // /v2/<name>/blobs/uploads/
	Upload                    // /v2/<name>/blobs/uploads/<session>
	Blob                      // /v2/<name>/blobs/<digest>
	Manifest                  // /v2/<name>/manifests/<tag or digest>
	Tags                      // /v2/<name>/tags/list
	Referrers                 // /v2/<name>/referrers/<digest>
)

// A Route is what a path names.
type Route struct {
	Class      Class
	Repository string        // the name, "" for Base and Catalog
	Tag        string        // of a Manifest that is named by tag
	Digest     digest.Digest // of a Blob, a Manifest that is named by digest, Referrers
	Session    string        // of an Upload; means something to the registry alone
}

// ParseRoute reads a decoded path that begins with /v2/. It decides from the right, so
// that a repository may be called a/blobs/uploads or x/tags. Nothing is allocated.
//
// The name may begin with a host, as distribution accepts it. A name, tag or digest that
// does not parse leaves the path Unclassified, and so does one that servers redirect or
// clean, with empty segments, "." or "..". That /v2 and …/blobs/uploads may lack their
// last slash is for registries that serve them so; others redirect them.
//
// Whether a path was spelled with escapes, which servers read differently, is for the
// caller to see: url.URL.RawPath is set then.
func ParseRoute(path string) Route {
	rest, ok := strings.CutPrefix(path, "/v2/")
	switch {
	case !ok && path == "/v2", ok && rest == "":
		return Route{Class: Base}
	case !ok:
		return Route{}
	case rest == "_catalog":
		return Route{Class: Catalog}
	}
	head, last := cutLast(rest)
	r := Route{}
	var kind string
	r.Repository, kind = cutLast(head)
	switch {
	case kind == "manifests" && isTag(last):
		r.Class, r.Tag = Manifest, last
	case kind == "manifests" && isDigest(last):
		r.Class, r.Digest = Manifest, digest.Digest(last)
	case kind == "tags" && last == "list":
		r.Class = Tags
	case kind == "referrers" && isDigest(last):
		r.Class, r.Digest = Referrers, digest.Digest(last)
	case kind == "blobs" && last == "uploads":
		r.Class = UploadStart
	case kind == "blobs" && isDigest(last):
		r.Class, r.Digest = Blob, digest.Digest(last)
	case kind == "uploads" && last != "." && last != "..":
		r.Class, r.Session = Upload, last
		if last == "" {
			r.Class = UploadStart
		}
		r.Repository, kind = cutLast(r.Repository)
		if kind != "blobs" {
			return Route{}
		}
	default:
		return Route{}
	}
	if !isName(r.Repository) {
		return Route{}
	}
	return r
}

// cutLast splits s around its last slash. Without one, all of it is last.
func cutLast(s string) (head, last string) {
	i := strings.LastIndexByte(s, '/')
	return s[:max(i, 0)], s[i+1:]
}

// isName tells whether name is a repository's by the grammar of package reference: path
// components, or a host and path components. Its regular expression is not used, as it
// takes longer than all the rest and has no bound.
func isName(name string) bool {
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

// isTag tells whether s is a tag, by the grammar of package reference and of the
// distribution specification.
func isTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isDigit(c) && !isLetter(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// isDigest tells whether s is a digest by the grammar of the image specification, in the
// right length if the algorithm is one of those that it registers with an encoding of
// lower-case hexadecimal digits. What nobody here can compute a registry may still
// serve.
func isDigest(s string) bool {
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
	inner := false // within a component of the algorithm
	for i := 0; i < len(algorithm); i++ {
		c := algorithm[i]
		switch {
		case isDigit(c) || 'a' <= c && c <= 'z':
			inner = true
		case inner && (c == '.' || c == '+' || c == '_' || c == '-'):
			inner = false
		default:
			return false
		}
	}
	for i := 0; i < len(encoded); i++ {
		if c := encoded[i]; !isDigit(c) && !isLetter(c) && c != '=' && c != '_' && c != '-' {
			return false
		}
	}
	return inner && encoded != ""
}

func isHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
