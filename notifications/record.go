package notifications

import (
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Target is what an event happened to: a manifest or blob (descriptor and URL), a tag
// (repository and tag) or a repository (its name alone). Its field order is that of
// distribution v3, where it is part of the wire format.
type Target struct {
	v1.Descriptor

	// Length is Descriptor.Size under the name it had before distribution 2.1.
	Length int64 `json:"length,omitempty"`

	Repository     string          `json:"repository,omitempty"`     // name without host
	FromRepository string          `json:"fromRepository,omitempty"` // of a mount: where the blob was
	URL            string          `json:"url,omitempty"`            // absolute, by digest; none for deletes
	Tag            string          `json:"tag,omitempty"`
	References     []v1.Descriptor `json:"references,omitempty"` // of a manifest, where asked for
}

// An ActorRecord says who initiated the operation.
type ActorRecord struct {
	Name string `json:"name,omitempty"`
}

// A RequestRecord says which request to the registry performed the operation.
type RequestRecord struct {
	ID        string `json:"id"`
	Addr      string `json:"addr,omitempty"` // the client's: ip:port, or an IP alone if a trusted proxy reported it
	Host      string `json:"host,omitempty"` // as the client addressed the registry
	Method    string `json:"method"`
	UserAgent string `json:"useragent"`
}

// A SourceRecord says which registry process generated the event.
type SourceRecord struct {
	Addr       string `json:"addr,omitempty"`       // host:port of the registry
	InstanceID string `json:"instanceID,omitempty"` // changes with every start of the process
}

// A Remark is what regcast knows of an operation and distribution's format has no words
// for. It is the member "regcast" of the wire form, which is left out where it is empty
// and which other consumers ignore.
type Remark struct {
	// Kind is what a delete by digest deleted, "manifest" or "blob"; "" if unknown. Of a push
	// or pull by digest it says so where the media type does not: a client may call a manifest
	// anything.
	Kind   string `json:"kind,omitempty"`
	Origin string `json:"origin,omitempty"` // one of the Origin constants
	// Audience is the endpoint that alone may have an event with OriginBackfill, by its
	// name. It binds the dispatcher that made the event; sent to another one it means
	// nothing.
	Audience string `json:"audience,omitempty"`

	// Subject is the manifest that a pushed one says it belongs to (a signature, an SBOM),
	// by the registry's word, OCI-Subject, or else by the manifest's member "subject". See
	// the OCI distribution specification, "Pushing Manifests with Subject".
	Subject digest.Digest `json:"subject,omitempty"`
	// SizeUnknown says that a size of 0 is none: nobody could tell how large the content is.
	SizeUnknown bool `json:"sizeUnknown,omitempty"`
	// Redirected says that a pull was answered with the address of the content. Whether
	// the client has fetched it from there is not known.
	Redirected bool `json:"redirected,omitempty"`
	// Aborted says that the answer to a pull ended early: the client went away, or the
	// registry broke off.
	Aborted bool `json:"aborted,omitempty"`
	// Sent is how many bytes of its body were written before the answer ended early; the
	// last of them may not have arrived.
	Sent int64 `json:"sent,omitempty"`
	// ActorVerified says that whoever made the event has itself checked the signature of
	// the token that names the actor. Without it the name is what the client said, or what
	// the registry has verified.
	ActorVerified bool `json:"actorVerified,omitempty"`
}
