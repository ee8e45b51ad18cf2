package notifications

import (
	"fmt"
	"strings"
)

// A Kind is a set of what an event happened to. An event can be of several kinds: the
// push of a manifest by tag is KindManifest|KindImage.
type Kind uint8

// The kinds of an event.
const (
	KindManifest   Kind = 1 << iota // any manifest or index
	KindBlob                        // a blob; a delete by digest that does not say what it deleted is both
	KindTag                         // a tag was deleted
	KindRepository                  // a repository was deleted
	KindImage                       // a manifest or index was pushed, pulled or deleted by tag
)

// Has tells whether k and other have a kind in common.
func (k Kind) Has(other Kind) bool { return k&other != 0 }

// String lists the kinds in k, joined by "|".
func (k Kind) String() string {
	var names []string
	for i, name := range kindNames() {
		if k.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// ParseKind returns the kind called name: "manifest", "blob", "tag", "repository" or
// "image".
func ParseKind(name string) (Kind, error) {
	for i, n := range kindNames() {
		if n == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("unknown kind %q: want one of %s", name, strings.Join(kindNames(), ", "))
}

// kindNames is in the order of the constants.
func kindNames() []string {
	return []string{"manifest", "blob", "tag", "repository", "image"}
}

// Kind says what e happened to, by its action, media type, tag, digest and remark. What a pull or
// push does not say, and a delete by digest, is both a manifest and a blob.
func (e *Event) Kind() Kind {
	switch e.Action {
	case ActionMount:
		return KindBlob
	case ActionDelete:
		return e.deletedKind()
	}
	switch {
	case e.Tag != "":
		return KindManifest | KindImage
	case e.content != 0:
		return e.content
	case e.MediaType != "":
		return contentKind(e.MediaType)
	case e.Digest != "" || KnownAction(e.Action):
		return KindManifest | KindBlob
	default:
		return KindRepository // GitLab renames one
	}
}

// remarkedKind is what Remark.Kind says, 0 if nothing.
func remarkedKind(name string) Kind {
	switch name {
	case "manifest":
		return KindManifest
	case "blob":
		return KindBlob
	}
	return 0
}

// deletedKind is the Kind of a delete. Distribution sends no media type with one.
func (e *Event) deletedKind() Kind {
	switch {
	case e.Tag != "" && e.Digest != "":
		return KindTag | KindManifest | KindImage
	case e.Tag != "":
		return KindTag | KindImage
	case e.Digest == "":
		return KindRepository
	case e.content != 0:
		return e.content
	case e.MediaType != "":
		return contentKind(e.MediaType)
	default:
		return KindManifest | KindBlob
	}
}

// contentKind tells manifests from blobs by media type, whatever its parameters.
func contentKind(mediaType string) Kind {
	name, _, _ := strings.Cut(mediaType, ";")
	switch strings.TrimSpace(name) {
	case "application/vnd.docker.distribution.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.v1+prettyjws",
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.oci.image.manifest.v1+json",
		"application/vnd.oci.image.index.v1+json",
		"application/vnd.oci.artifact.manifest.v1+json":
		return KindManifest
	}
	return KindBlob
}
