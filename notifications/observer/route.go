package observer

import (
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
// that a repository may be called a/blobs/uploads or x/tags.
func ParseRoute(path string) Route {
	return Route{}
}
