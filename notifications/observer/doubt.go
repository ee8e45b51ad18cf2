package observer

import (
	"cmp"
	"path"
	"strings"

	"github.com/regcast/regcast/notifications/observer/route"
)

// resembles tells whether a server that is generous with prefixes and names could take a
// path for that of a manifest, a blob or an upload: the registry of go-containerregistry
// looks at the last segments alone. A file of that name in another API resembles one, too;
// that it changes something in the registry is as possible.
func resembles(p string) bool {
	p = path.Clean(p)
	last, head := path.Base(p), path.Dir(p)
	switch path.Base(head) {
	case "manifests":
		return true
	case "blobs":
		return last == "uploads" || strings.Contains(last, ":")
	case "uploads":
		return path.Base(path.Dir(head)) == "blobs"
	}
	return false
}

// sure tells whether a pull was read by the registry as it was here. A path with escapes
// may mean something else to it; then its answer has to name the digest, and of what was
// asked for by digest that one. In doubt a success is counted.
func (x *exchange) sure() bool {
	if !x.escaped {
		return true
	}
	word, asked := x.answer.digest, x.route.Digest
	if word != "" && (asked == "" || word == asked) {
		return true
	}
	if x.succeeded() || isRedirect(x.status) {
		x.observer.metrics.unclassified.Inc()
	}
	return false
}

// unknownFinished reports the push of a blob to an address that is not known as that of an
// upload: its beginning was not seen, or is forgotten. Only the registry can say of which
// repository it is, in Location.
func (x *exchange) unknownFinished() {
	if !x.succeeded() {
		return
	}
	h := x.w.Header()
	at := x.routeTo(x.located(h.Get("Location")))
	word := headerDigest(h)
	asked, _ := paramDigest(x.request.URL.RawQuery, "digest")
	if at.Class != route.Blob || contradicts(word, at.Digest) || contradicts(asked, at.Digest) {
		x.observer.metrics.unclassified.Inc()
		return
	}
	x.route.Repository = at.Repository
	x.pushedBlob(cmp.Or(word, at.Digest), asked, -1)
}
