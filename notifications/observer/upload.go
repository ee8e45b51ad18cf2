package observer

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/internal/names"
	"github.com/regcast/regcast/notifications/observer/route"
)

// uploadStarted looks at the answer to a POST: a session is open, or all was done at once.
func (x *exchange) uploadStarted() {
	switch {
	case x.status == http.StatusAccepted:
		h := x.w.Header()
		if at := x.sessionAt(h.Get("Location")); at != "" {
			x.observer.sessions.open(at, x.route.Repository, h.Get("Range"))
		}
	case x.succeeded():
		x.uploadedAtOnce()
	}
}

// uploadedAtOnce reports a mount, or the push of a blob that came with the POST.
func (x *exchange) uploadedAtOnce() {
	query := x.request.URL.RawQuery
	mount, mounts := paramDigest(query, "mount")
	pushed, pushes := paramDigest(query, "digest")
	n, whole := x.body.read()
	word := headerDigest(x.w.Header())
	switch {
	case mounts && (n == 0 || !pushes):
		x.mounted(word, mount)
	case pushes:
		size := int64(-1)
		if whole {
			size = n
		}
		x.pushedBlob(word, pushed, size)
	case isForm(x.request):
		// The parameters were in the body. A registry that says where the blob is, without
		// having got one, has mounted it.
		x.mounted(word, x.blobAt(x.w.Header().Get("Location")))
	default:
		x.observer.metrics.unclassified.Inc()
	}
}

// mounted reports the mount of the blob that the registry names, or else the client did.
func (x *exchange) mounted(word, asked digest.Digest) {
	blob := v1.Descriptor{MediaType: mediaTypeBlob, Digest: cmp.Or(word, asked)}
	if blob.Digest == "" {
		x.observer.metrics.unclassified.Inc()
		return
	}
	var from reference.Named
	if name, _ := param(x.request.URL.RawQuery, "from"); names.IsRepository(name) {
		from = named(name)
	}
	x.describeMounted(&blob, from)
	x.told(x.tell().BlobMounted(x.ctx(), named(x.route.Repository), blob, from))
}

// describeMounted sets the size of a blob as it is remembered of its repository or was seen
// in another. What the author of a manifest there says of it is not taken along.
func (x *exchange) describeMounted(blob *v1.Descriptor, from reference.Named) {
	remembered := x.observer.descriptors
	known, seen, ok := remembered.stat(x.ctx(), x.route.Repository, blob.Digest)
	if !seen && from != nil {
		if there, seenThere, _ := remembered.stat(x.ctx(), from.Name(), blob.Digest); seenThere {
			known, seen, ok = there, true, true
		}
	}
	blob.Size = -1
	if ok {
		blob.Size = known.Size
	}
	if seen {
		remembered.learn(x.ctx(), x.route.Repository, *blob)
	}
}

// pushedBlob reports the push of a blob of size bytes, -1 if that is not known.
func (x *exchange) pushedBlob(word, asked digest.Digest, size int64) {
	blob := v1.Descriptor{MediaType: mediaTypeBlob, Digest: cmp.Or(word, asked), Size: size}
	if blob.Digest == "" {
		x.observer.metrics.unclassified.Inc()
		return
	}
	if contradicts(word, asked) {
		blob.Size = -1
	}
	if blob.Size >= 0 {
		x.observer.descriptors.learn(x.ctx(), x.route.Repository, blob)
	} else {
		x.describe(&blob)
	}
	x.told(x.tell().BlobPushed(x.ctx(), named(x.route.Repository), blob))
}

// uploadPatched notes how far an upload has come.
func (x *exchange) uploadPatched() {
	if !x.succeeded() {
		x.uploadFailed()
		return
	}
	x.advance(x.body.read())
}

// uploadFailed notes that an upload may have come further, or not. It has not if nothing
// was read of the request's body.
func (x *exchange) uploadFailed() {
	if n, _ := x.body.read(); n > 0 {
		x.observer.sessions.doubt(x.session)
	}
}

// uploadAsked notes how far the registry says that an upload has come.
func (x *exchange) uploadAsked() {
	if x.succeeded() {
		x.advance(0, true)
	}
}

// advance notes that the registry has taken n more bytes, and all that were sent if whole
// is true.
func (x *exchange) advance(n int64, whole bool) {
	h := x.w.Header()
	sessions, to := x.observer.sessions, x.sessionAt(h.Get("Location"))
	if to == "" {
		to = cmp.Or(x.session, sessions.address(x.request.URL.Path, x.request.URL.RawQuery))
	}
	sessions.advance(x.session, to, x.route.Repository, n, whole, h.Get("Range"))
}

// uploadFinished reports the push of a blob. Its size is what was uploaded before and what
// came with the end.
func (x *exchange) uploadFinished() {
	if !x.succeeded() {
		x.uploadFailed()
		return
	}
	n, whole := x.body.read()
	size := int64(-1)
	if offset, known := x.observer.sessions.close(x.session); known && whole {
		size = offset + n
	}
	asked, _ := paramDigest(x.request.URL.RawQuery, "digest")
	x.pushedBlob(headerDigest(x.w.Header()), asked, size)
}

// uploadCancelled forgets an upload that is over, or that the registry does not know.
func (x *exchange) uploadCancelled() {
	if x.succeeded() || x.status == http.StatusNotFound {
		x.observer.sessions.close(x.session)
	}
}

// sessionAt returns the address at which a client will go on with an upload, "" if there is
// none or it is that of something else.
func (x *exchange) sessionAt(location string) string {
	u := x.located(location)
	if u == nil {
		return ""
	}
	switch x.routeTo(u).Class {
	case route.Upload, route.Unclassified:
		return x.observer.sessions.address(u.Path, u.RawQuery)
	}
	return ""
}

// routeTo returns what is at u, which may be nil.
func (x *exchange) routeTo(u *url.URL) route.Route {
	if u == nil {
		return route.Route{}
	}
	return route.Parse(strings.TrimPrefix(u.Path, x.observer.opts.Prefix))
}

// blobAt returns the digest of the blob in this repository that a location names, "" if it
// names none.
func (x *exchange) blobAt(location string) digest.Digest {
	at := x.routeTo(x.located(location))
	if at.Class != route.Blob || at.Repository != x.route.Repository {
		return ""
	}
	return at.Digest
}

// located returns the path and the query with which requests to a location come here, nil
// if it is none.
func (x *exchange) located(location string) *url.URL {
	if location == "" {
		return nil
	}
	u, err := x.request.URL.Parse(location)
	if err != nil {
		return nil
	}
	if inner, ok := strings.CutPrefix(u.Path, x.observer.opts.PublicPath); ok && strings.HasPrefix(inner, "/") {
		u.Path = inner
	}
	return u
}

func isForm(r *http.Request) bool {
	return mediaType(r.Header.Get("Content-Type")) == "application/x-www-form-urlencoded"
}
