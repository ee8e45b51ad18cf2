package observer

import (
	"path"
	"strings"
)

// resembles tells whether a server that is generous with prefixes and names could take a
// path for that of a manifest, a blob or an upload: the registry of go-containerregistry
// looks at the last segments alone. A file of that name in another API resembles one, too;
// that it changes something in the registry is as possible.
func resembles(p string) bool {
	head, last := cutLast(path.Clean(p))
	head, kind := cutLast(head)
	switch kind {
	case "manifests":
		return true
	case "blobs":
		return last == "uploads" || strings.Contains(last, ":")
	case "uploads":
		_, kind = cutLast(head)
		return kind == "blobs"
	}
	return false
}
