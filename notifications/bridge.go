package notifications

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/internal/names"
)

// FormatBridge is the Provenance.Format of events that a [Bridge] made.
const FormatBridge = "bridge"

// DefaultHandOff is how long a [Bridge] lets a sink take for an event if its options do
// not say.
const DefaultHandOff = 10 * time.Second

// mediaTypeBlob is what distribution reports for a blob, and the bridge for one of which
// the media type is not known.
const mediaTypeBlob = "application/octet-stream"

// A Bridge makes events of what listeners are told and writes them to a sink. It asks the
// sink first, if that is [Selective]: for an event that nobody wants, no manifest is
// read or hashed and nothing is allocated but the repository's name. A Bridge holds
// nothing that needs to be shut down and is safe for concurrent use.
type Bridge struct {
	dst      Sink
	previews *sync.Pool // of *Event, for asking dst; nil if it wants everything
	source   SourceRecord
	format   string
	remark   Remark
	opts     BridgeOptions
}

// BridgeOptions say what a [Bridge] puts into events. The zero value is ready to use.
type BridgeOptions struct {
	// URLs makes Target.URL of manifests and blobs; nil leaves it empty. See
	// [Bridge.WithURLs] for URLs that depend on the request.
	URLs URLBuilder

	// IncludeReferences puts the descriptors that a manifest refers to into the events
	// of its pushes and pulls.
	IncludeReferences bool

	// HandOff bounds how long one write to the sink may take. The end of the caller's
	// context does not end it sooner: the operation has happened, whether its client
	// still waits for the answer or not. 0 is DefaultHandOff; if it is negative, the
	// caller's context alone decides.
	HandOff time.Duration
}

// NewBridge returns a Bridge that writes to dst, as the registry process source. opts
// may be nil. The caller shuts dst down, after the last call of a listener has returned.
func NewBridge(dst Sink, source SourceRecord, opts *BridgeOptions) *Bridge {
	b := &Bridge{dst: dst, source: source, format: FormatBridge}
	if _, ok := dst.(Selective); ok {
		b.previews = &sync.Pool{New: func() any { return new(Event) }}
	}
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.HandOff == 0 {
		b.opts.HandOff = DefaultHandOff
	}
	return b
}

// WithURLs returns a Bridge like b that makes URLs with urls, which may be nil. It is
// cheap: a registry that is known by several names makes one for each request, with
// [BaseURLOf].
func (b *Bridge) WithURLs(urls URLBuilder) *Bridge {
	c := *b
	c.opts.URLs = urls
	return &c
}

// WithRemark returns a Bridge like b whose events say what r says, but for what the Bridge
// itself finds: Kind, SizeUnknown and, if r has none, the Subject of a manifest that is
// pushed. It is cheap: who knows something of a single operation makes a Bridge for that.
func (b *Bridge) WithRemark(r Remark) *Bridge {
	c := *b
	c.remark = r
	return &c
}

// WithFormat returns a Bridge like b whose events have a Provenance of another format
// than [FormatBridge]: a short fixed word for who calls the listener.
func (b *Bridge) WithFormat(format string) *Bridge {
	c := *b
	c.format = format
	return &c
}

// For returns a Listener for the operations of one request by actor. It is cheap and
// safe for concurrent use.
//
// A method of the Listener returns the error of the sink as it is, and then the sink may
// or may not have the event. An event whose URL cannot be built is written without one,
// and the error says so if the sink had none. What receivers could not read as an event
// is an error and not written: a manifest without payload or media type, a tag or digest
// that does not parse.
func (b *Bridge) For(actor ActorRecord, request RequestRecord) Listener {
	return &bridgeListener{bridge: b, actor: actor, request: request}
}

type bridgeListener struct {
	bridge  *Bridge
	actor   ActorRecord
	request RequestRecord
}

func (l *bridgeListener) ManifestPushed(ctx context.Context, repo reference.Named, m Manifest, tag string) error {
	return l.manifest(ctx, ActionPush, repo, m, tag)
}

func (l *bridgeListener) ManifestPulled(ctx context.Context, repo reference.Named, m Manifest, tag string) error {
	return l.manifest(ctx, ActionPull, repo, m, tag)
}

func (l *bridgeListener) ManifestDeleted(ctx context.Context, repo reference.Named, dgst digest.Digest) error {
	return l.deletedByDigest(ctx, repo, dgst, KindManifest)
}

func (l *bridgeListener) BlobPushed(ctx context.Context, repo reference.Named, blob v1.Descriptor) error {
	return l.blob(ctx, ActionPush, repo, blob, nil)
}

func (l *bridgeListener) BlobPulled(ctx context.Context, repo reference.Named, blob v1.Descriptor) error {
	return l.blob(ctx, ActionPull, repo, blob, nil)
}

func (l *bridgeListener) BlobMounted(ctx context.Context, repo reference.Named, blob v1.Descriptor, from reference.Named) error {
	return l.blob(ctx, ActionMount, repo, blob, from)
}

func (l *bridgeListener) BlobDeleted(ctx context.Context, repo reference.Named, dgst digest.Digest) error {
	return l.deletedByDigest(ctx, repo, dgst, KindBlob)
}

func (l *bridgeListener) TagDeleted(ctx context.Context, repo reference.Named, tag string) error {
	if !names.IsTag(tag) { // with an empty one, the event would say that the repository was deleted
		return notA("tag", tag)
	}
	return l.deleted(ctx, Target{Repository: repo.Name(), Tag: tag}, 0)
}

func (l *bridgeListener) RepositoryDeleted(ctx context.Context, repo reference.Named) error {
	return l.deleted(ctx, Target{Repository: repo.Name()}, 0)
}

// manifest makes the event of a push or pull. The digest is that of the payload's bytes,
// whatever the client called them, unless m is described.
func (l *bridgeListener) manifest(ctx context.Context, action string, repo reference.Named, m Manifest, tag string) error {
	if tag != "" && !names.IsTag(tag) {
		return notA("tag", tag)
	}
	target := Target{Repository: repo.Name(), Tag: tag}
	if !l.wanted(action, &target, KindManifest) {
		return nil
	}
	payload, err := describe(&target, m)
	if err != nil {
		return err
	}
	if !l.wanted(action, &target, KindManifest) {
		return nil
	}
	if payload != nil {
		target.Digest = digest.FromBytes(payload)
		target.Size = int64(len(payload))
	}
	if l.bridge.opts.IncludeReferences {
		target.References = slices.Clone(m.References())
	}
	remark := l.remark(0)
	if tag == "" && contentKind(target.MediaType) != KindManifest {
		remark = l.remark(KindManifest) // or else the event would be a blob's
	}
	if action == ActionPush && remark.Subject == "" {
		remark.Subject = subjectOf(payload)
	}
	return l.writeContent(ctx, action, repo, target, remark, URLBuilder.ManifestURL)
}

// subjectOf returns the digest of the manifest to which one with payload says it belongs,
// "" if it says of none, or nothing that can be read.
func subjectOf(payload []byte) digest.Digest {
	if !bytes.Contains(payload, []byte(`"subject"`)) {
		return "" // most, and then there is nothing to decode
	}
	var manifest struct {
		Subject struct {
			Digest digest.Digest `json:"digest"`
		} `json:"subject"`
	}
	if json.Unmarshal(payload, &manifest) != nil || !names.IsDigest(string(manifest.Subject.Digest)) {
		return ""
	}
	return manifest.Subject.Digest
}

// describe sets what m says of itself in target. The payload is nil if that is all there
// is to know; else digest and size are still to be found from it.
func describe(target *Target, m Manifest) (payload []byte, err error) {
	if d, ok := m.(DescribedManifest); ok {
		desc := d.Descriptor()
		if !names.IsDigest(string(desc.Digest)) {
			return nil, notA("digest", string(desc.Digest))
		}
		target.MediaType, target.Digest, target.Size = desc.MediaType, desc.Digest, desc.Size
		return nil, nil
	}
	target.MediaType, payload, err = m.Payload()
	if err != nil {
		return nil, fmt.Errorf("reading a manifest of %s: %w", target.Repository, err)
	}
	if target.MediaType == "" {
		return nil, notA("media type", target.MediaType)
	}
	if payload == nil {
		payload = []byte{}
	}
	return payload, nil
}

// blob makes the event of a push, a pull or, with from, a mount.
func (l *bridgeListener) blob(ctx context.Context, action string, repo reference.Named, blob v1.Descriptor, from reference.Named) error {
	if !names.IsDigest(string(blob.Digest)) {
		return notA("digest", string(blob.Digest))
	}
	target := Target{Descriptor: blob, Repository: repo.Name()}
	if target.MediaType == "" {
		target.MediaType = mediaTypeBlob
	}
	if !l.wanted(action, &target, 0) {
		return nil
	}
	if from != nil {
		target.FromRepository = from.Name()
	}
	return l.writeContent(ctx, action, repo, target, l.remark(0), URLBuilder.BlobURL)
}

func (l *bridgeListener) deletedByDigest(ctx context.Context, repo reference.Named, dgst digest.Digest, kind Kind) error {
	if !names.IsDigest(string(dgst)) {
		return notA("digest", string(dgst))
	}
	target := Target{Repository: repo.Name()}
	target.Digest = dgst
	return l.deleted(ctx, target, kind)
}

// deleted makes the event of a delete; kind is what a delete by digest removed, else 0.
func (l *bridgeListener) deleted(ctx context.Context, target Target, kind Kind) error {
	if !l.wanted(ActionDelete, &target, kind) {
		return nil
	}
	return l.write(ctx, ActionDelete, target, l.remark(kind))
}

// remark is what there is to say of an operation on content of a kind, 0 if that need not
// be said.
func (l *bridgeListener) remark(kind Kind) Remark {
	r := l.bridge.remark
	r.Kind, r.SizeUnknown = kind.String(), false
	return r
}

// writeContent settles the size, adds the URL by digest and writes the event.
func (l *bridgeListener) writeContent(ctx context.Context, action string, repo reference.Named, target Target, remark Remark,
	build func(URLBuilder, reference.Canonical) (string, error),
) error {
	if target.Size < 0 {
		target.Size, remark.SizeUnknown = 0, true
	}
	var noURL error
	if urls := l.bridge.opts.URLs; urls != nil {
		var err error
		if target.URL, err = build(urls, canonical{repo, target.Digest}); err != nil {
			noURL = fmt.Errorf("building the url of %s in %s: %w", target.Digest, target.Repository, err)
		}
	}
	if err := l.write(ctx, action, target, remark); err != nil {
		return err
	}
	return noURL
}

// A canonical is what reference.WithDigest makes of a repository and a digest. That tries
// the digest with a regular expression, which is a quarter of what an event takes; here it
// is known to be one.
type canonical struct {
	reference.Named
	dgst digest.Digest
}

// Digest implements [reference.Canonical].
func (c canonical) Digest() digest.Digest { return c.dgst }

// String implements [reference.Canonical].
func (c canonical) String() string { return c.Name() + "@" + c.dgst.String() }

func (l *bridgeListener) write(ctx context.Context, action string, target Target, remark Remark) error {
	e := NewEvent(action, Details{
		Target: target, Request: l.request, Actor: l.actor, Source: l.bridge.source, Remark: remark,
	})
	e.Provenance.Format = l.bridge.format
	if l.bridge.opts.HandOff > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), l.bridge.opts.HandOff)
		defer cancel()
	}
	return l.bridge.dst.Write(ctx, []*Event{e})
}

// wanted asks the sink whether it would do anything with the event to be made; kind is what
// is known beside its media type.
func (l *bridgeListener) wanted(action string, target *Target, kind Kind) bool {
	if l.bridge.previews == nil {
		return true
	}
	e := l.bridge.previews.Get().(*Event)
	defer l.bridge.previews.Put(e)
	*e = Event{
		Action:     action,
		Repository: target.Repository,
		Tag:        target.Tag,
		Digest:     target.Digest,
		MediaType:  target.MediaType,
		Actor:      l.actor.Name,
		Method:     l.request.Method,
		Origin:     l.bridge.remark.Origin,
		Provenance: Provenance{Format: l.bridge.format},
		content:    kind,
	}
	return Wants(l.bridge.dst, e)
}

// notA says that an operation cannot be an event, because receivers could not read it.
func notA(what, s string) error { return fmt.Errorf("not a %s: %s", what, excerpt(s)) }
