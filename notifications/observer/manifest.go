package observer

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/internal/names"
)

const (
	mediaTypeDockerList    = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerImage   = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerSchema1 = "application/vnd.docker.distribution.manifest.v1+json"
	mediaTypeDockerSigned  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// A manifest is what is known of one. It is a notifications.DescribedManifest.
//
// Its digest is the registry's word, Docker-Content-Digest; without that it is what the
// client asked for, or the hash of the bytes that passed. What else was seen, size and
// references, is told beside a digest only if it does not contradict it: bytes of another
// hash are not the content of that digest, whoever of the two is wrong.
type manifest struct {
	descriptor v1.Descriptor // Size is -1 as long as it is not known
	references []v1.Descriptor
	subject    digest.Digest // to which it says that it belongs, "" for none
	verified   bool          // the bytes had the digest
	skipped    bool          // nobody has looked what the bytes say
}

// Descriptor implements notifications.DescribedManifest. Its size is negative if it is not
// known.
func (m *manifest) Descriptor() v1.Descriptor { return m.descriptor }

// References implements notifications.Manifest.
func (m *manifest) References() []v1.Descriptor { return m.references }

// Payload implements notifications.Manifest. It is not called.
func (m *manifest) Payload() (string, []byte, error) { return m.descriptor.MediaType, nil, nil }

// read takes what the manifest's bytes say, all of which have passed.
func (x *exchange) read(m *manifest, seen *tee) {
	hash := seen.digest()
	if contradicts(hash, m.descriptor.Digest) {
		m.descriptor.Size = -1
		return
	}
	m.verified = hash == m.descriptor.Digest
	if m.verified && x.observer.manifests.has(x.route.Repository, hash) {
		return // complete has what they say
	}
	if !x.parse(m, seen.kept()) {
		x.observer.metrics.unread.Inc()
	}
}

// parse reads a manifest's JSON, nil if it was not kept, and tells whether it could. What
// is JSON of something else has no references.
func (x *exchange) parse(m *manifest, payload []byte) bool {
	if payload == nil || !x.observer.buffers.parse(len(payload)) {
		m.skipped = true
		return false
	}
	defer x.observer.buffers.parsed(len(payload))
	fields, err := readFields(payload, x.observer.opts.IncludeReferences)
	tooMany := errors.Is(err, errTooMany)
	if err != nil && !tooMany {
		return true
	}
	if m.descriptor.MediaType == "" {
		m.descriptor.MediaType = mediaType(fields.MediaType)
	}
	m.subject = digest.Digest(fields.Subject)
	if !tooMany {
		m.references = fields.references(m.descriptor.MediaType)
	}
	return !tooMany
}

// complete adds what is remembered of the manifest.
func (x *exchange) complete(m *manifest) {
	repo, desc := x.route.Repository, &m.descriptor
	if known, ok := x.observer.manifests.get(repo, desc.Digest); ok {
		m.references, m.subject = known.references, known.subject
		desc.MediaType = cmp.Or(desc.MediaType, known.descriptor.MediaType)
		if desc.Size < 0 {
			desc.Size = known.descriptor.Size
		}
	}
	if desc.Size < 0 || desc.MediaType == "" {
		if known, _, ok := x.observer.descriptors.stat(x.ctx(), repo, desc.Digest); ok {
			desc.MediaType = cmp.Or(desc.MediaType, known.MediaType)
			if desc.Size < 0 {
				desc.Size = known.Size
			}
		}
	}
}

// learn remembers what a manifest is, and what it says of others.
func (x *exchange) learn(m *manifest) {
	o, repo := x.observer, x.route.Repository
	o.descriptors.learn(x.ctx(), repo, m.descriptor)
	if m.verified && !m.skipped && !o.manifests.has(repo, m.descriptor.Digest) {
		o.descriptors.learnReferences(x.ctx(), repo, m.references)
		o.manifests.add(repo, m, o.opts.IncludeReferences)
	}
}

// beginManifest looks at the header of the answer to a pull.
func (x *exchange) beginManifest() {
	x.answer = readAnswer(x.w.Header(), x.status)
	if x.status != http.StatusOK {
		return
	}
	dgst := cmp.Or(x.answer.digest, x.route.Digest)
	x.tagSeen(dgst)
	if x.request.Method == http.MethodGet && !x.answer.encoded && !x.observer.manifests.has(x.route.Repository, dgst) {
		x.tee = x.observer.buffers.tee()
	}
}

// manifestPulled reports a pull.
func (x *exchange) manifestPulled() {
	dgst := cmp.Or(x.answer.digest, x.route.Digest)
	switch {
	case x.status == http.StatusOK:
		x.size()
		if x.tee != nil && x.whole() {
			dgst = cmp.Or(dgst, x.tee.digest())
		}
		dgst = cmp.Or(dgst, x.answer.etag)
	case x.status == http.StatusPartialContent:
	case isRedirect(x.status):
		x.answer.mediaType = "" // of a page that says so
	default:
		return
	}
	if dgst == "" {
		x.observer.metrics.unclassified.Inc()
		return
	}
	m := &manifest{descriptor: v1.Descriptor{MediaType: x.answer.mediaType, Digest: dgst, Size: x.answer.size}}
	sound := !contradicts(dgst, x.route.Digest)
	if !sound {
		m.descriptor.Size = -1
	} else if x.tee != nil && x.whole() {
		x.read(m, x.tee)
	}
	sound = sound && m.descriptor.Size >= 0
	if sound {
		x.learn(m)
	}
	x.complete(m)
	if x.status == http.StatusOK && x.answer.digest == "" { // else the tag was seen with the header
		x.tagSeen(dgst)
	}
	if x.dropped() {
		return
	}
	x.told(x.tellOf(x.pullRemark()).ManifestPulled(x.ctx(), named(x.route.Repository), m, x.route.Tag))
}

// tagSeen remembers that the tag that was asked for points at dgst. A Docker image that was
// answered to a client which does not accept Docker's lists may be out of a list at which
// the tag points: distribution chooses one for such clients, and of OCI indexes it does not.
// A tag in a name space (the parameter ns, of a mirror's clients) is another registry's.
func (x *exchange) tagSeen(dgst digest.Digest) {
	if dgst == "" || x.route.Tag == "" || x.maySubstitute() {
		return
	}
	if _, mirrored := param(x.request.URL.RawQuery, "ns"); mirrored {
		return
	}
	x.observer.tags.seen(x.route.Repository, x.route.Tag, dgst, x.tagged)
}

// maySubstitute tells whether the answer may be another manifest than the tag names.
func (x *exchange) maySubstitute() bool {
	switch x.answer.mediaType {
	case "", mediaTypeDockerImage, mediaTypeDockerSchema1, mediaTypeDockerSigned:
	default:
		return false
	}
	return !slices.ContainsFunc(x.request.Header["Accept"], func(types string) bool {
		return strings.Contains(types, mediaTypeDockerList)
	})
}

// size takes the number of bytes written for that of the content, where the answer to a
// GET did not say.
func (x *exchange) size() {
	if x.answer.size < 0 && x.request.Method == http.MethodGet && !x.answer.encoded && !x.cut {
		x.answer.size = x.written
	}
}

// whole tells whether all of the content was written.
func (x *exchange) whole() bool { return !x.cut && x.written == x.answer.size }

// dropped tells whether a pull makes no event, as nothing was asked for but the header.
func (x *exchange) dropped() bool {
	return x.observer.opts.DropHead && x.request.Method == http.MethodHead
}

// pullRemark is what there is to say of a pull by its answer.
func (x *exchange) pullRemark() notifications.Remark {
	r := notifications.Remark{Redirected: isRedirect(x.status)}
	if x.aborted() {
		r.Aborted, r.Sent = true, x.written
	}
	return r
}

// aborted tells whether content was to be sent, and ended before its end.
func (x *exchange) aborted() bool {
	switch {
	case x.request.Method != http.MethodGet:
		return false
	case x.status != http.StatusOK && x.status != http.StatusPartialContent:
		return false
	case x.answer.length >= 0:
		return x.written < x.answer.length
	}
	return x.cut
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// manifestPushed reports a push: one event, or one for each tag that the registry has set.
func (x *exchange) manifestPushed() {
	if !x.succeeded() {
		return
	}
	x.tee = x.body.take()
	dgst := cmp.Or(headerDigest(x.w.Header()), x.route.Digest)
	if dgst == "" && x.tee != nil {
		dgst = x.tee.digest()
	}
	if dgst == "" {
		x.observer.metrics.unclassified.Inc()
		return
	}
	m := &manifest{descriptor: v1.Descriptor{MediaType: mediaType(x.request.Header.Get("Content-Type")), Digest: dgst, Size: -1}}
	switch {
	case x.tee != nil:
		m.descriptor.Size, _ = x.body.read()
		x.read(m, x.tee)
	case isEncoded(x.request.Header):
		x.observer.metrics.unread.Inc()
	}
	if m.verified {
		x.pushed = m
	}
	x.complete(m)
	tags := x.pushedTags()
	for _, tag := range tags {
		x.observer.tags.set(x.route.Repository, tag, dgst)
	}
	if len(tags) == 0 {
		tags = append(tags, "")
	}
	listener := x.tellOf(notifications.Remark{Subject: cmp.Or(theDigest(x.w.Header(), "Oci-Subject"), m.subject)})
	x.together(func(ctx context.Context) {
		for _, tag := range tags {
			x.told(listener.ManifestPushed(ctx, named(x.route.Repository), m, tag))
		}
	})
}

// maxPushedTags bounds the tags, and with them the events, of one push. Zot takes
// 46 of them at a time.
const maxPushedTags = 256

// pushedTags are the tag in the path and those that the registry says it has set. A push with
// more than maxPushedTags is counted as one that did not make all of its events.
func (x *exchange) pushedTags() []string {
	var tags []string
	if x.route.Tag != "" {
		tags = append(tags, x.route.Tag)
	}
	lists := x.w.Header()["Oci-Tag"]
	if lists == nil {
		return tags
	}
	seen := map[string]bool{x.route.Tag: true}
	for _, list := range lists {
		for tag := range strings.SplitSeq(list, ",") {
			tag = strings.Trim(tag, " \t")
			if seen[tag] || !names.IsTag(tag) {
				continue
			}
			if len(tags) == maxPushedTags {
				x.observer.metrics.unclassified.Inc()
				return tags
			}
			seen[tag] = true
			tags = append(tags, tag)
		}
	}
	return tags
}

// learnPushed remembers what was pushed.
func (x *exchange) learnPushed() {
	if x.pushed != nil {
		x.learn(x.pushed)
	}
}

// manifestDeleted reports the delete of a tag, or of a manifest with the tags that it had.
func (x *exchange) manifestDeleted() {
	if !x.succeeded() {
		return
	}
	o, repo := x.observer, named(x.route.Repository)
	if tag := x.route.Tag; tag != "" {
		o.tags.remove(repo.Name(), tag)
		x.told(x.tell().TagDeleted(x.ctx(), repo, tag))
		return
	}
	var tags []string
	if !o.opts.KeepsTags {
		tags = o.tags.removeDigest(repo.Name(), x.route.Digest)
	}
	x.together(func(ctx context.Context) {
		x.told(x.tell().ManifestDeleted(ctx, repo, x.route.Digest))
		x.inferTagDeletes(ctx, repo, tags)
	})
	x.forget(x.route.Digest)
}

// inferTagDeletes reports the deletes of tags that nobody has asked for by name.
func (x *exchange) inferTagDeletes(ctx context.Context, repo named, tags []string) {
	if len(tags) == 0 {
		return
	}
	listener := x.tellOf(notifications.Remark{Origin: notifications.OriginInferred})
	for _, tag := range tags {
		x.told(listener.TagDeleted(ctx, repo, tag))
	}
}

// forget drops what is remembered of deleted content.
func (x *exchange) forget(dgst digest.Digest) {
	x.observer.manifests.remove(x.route.Repository, dgst)
	x.observer.descriptors.forget(x.ctx(), x.route.Repository, dgst)
}
