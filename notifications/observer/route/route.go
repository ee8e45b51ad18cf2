// Package route reads the paths of the distribution API: what kind of thing one names, of
// which repository, by which tag or digest.
//
// [Parse] is the one reading that all parts of regcast share. The observer tells by it what
// a request was about, the proxy and its cache what they may refuse or keep, and the
// transport of the registry client which scope a token needs. It is strict: what servers may read
// differently is [Unclassified], and what happens to that is up to the caller. The tests
// compare it with the router of CNCF distribution.
//
// Nothing here keeps anything; all of it may be used by many goroutines.
package route

import (
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/internal/names"
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

// Parse reads a decoded path that begins with /v2/. It decides from the right, so
// that a repository may be called a/blobs/uploads or x/tags. Nothing is allocated.
//
// The name may begin with a host, as distribution accepts it. A name, tag or digest that
// does not parse leaves the path Unclassified, and so does one that servers redirect or
// clean, with empty segments, "." or "..". That /v2 and …/blobs/uploads may lack their
// last slash is for registries that serve them so; others redirect them.
//
// Whether a path was spelled with escapes, which servers read differently, is for the
// caller to see: url.URL.RawPath is set then.
func Parse(path string) Route {
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
	case kind == "manifests" && names.IsTag(last):
		r.Class, r.Tag = Manifest, last
	case kind == "manifests" && names.IsDigest(last):
		r.Class, r.Digest = Manifest, digest.Digest(last)
	case kind == "tags" && last == "list":
		r.Class = Tags
	case kind == "referrers" && names.IsDigest(last):
		r.Class, r.Digest = Referrers, digest.Digest(last)
	case kind == "blobs" && last == "uploads":
		r.Class = UploadStart
	case kind == "blobs" && names.IsDigest(last):
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
	if !names.IsRepository(r.Repository) {
		return Route{}
	}
	return r
}

// cutLast splits s around its last slash. Without one, all of it is last.
func cutLast(s string) (head, last string) {
	i := strings.LastIndexByte(s, '/')
	return s[:max(i, 0)], s[i+1:]
}
