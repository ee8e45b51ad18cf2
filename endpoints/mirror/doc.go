// Package mirror is an endpoint whose delivery is a copy: what was pushed to one registry,
// the source, is put into another, the target.
//
// # How it is composed
//
// [NewEndpoint] returns an [endpoints.Endpoint], so policy, states, order within a
// repository, dead letters and replay are those of every endpoint. Its attempts are made
// with two clients of package registry, over transports of endpoints, which connect to no
// address that is refused there. [Metrics] count what was copied. Several targets are
// several endpoints.
//
// # What it promises
//
// Both registries come from the options alone. Of an event it takes the repository, the
// tag, the digest and what was done; no address in it is asked, and no credential goes there.
//
// A repository below the target's path is neither copied nor deleted: it is a copy. So a
// registry that has two names does not copy its copies for ever, nor do two registries that
// mirror each other, unless their two paths differ: then Endpoint.Match has to keep copies
// out.
//
// A push by tag is copied with everything that the manifest refers to: configuration and
// layers first, several at a time, the manifests of an index and the one of a subject, as
// far as the source has them, then the manifest itself, byte for byte. What the target has
// is not sent again, what it has in another repository of this mirror is mounted, if the
// source has it in the event's repository, and the rest streams from one registry to the
// other in constant memory, verified on the way. A blob that breaks off, on either side,
// goes on where it was if the registries allow, and else begins anew, a few times. Layers
// that are not for distribution stay where they are. Pushes by digest alone are copied if Options.ByDigest says so; with Options.Referrers, of
// these only what has a subject that the target has: signatures and the like.
//
// A tag is put last, and only if it still names the event's digest at the source. If not,
// the event is superseded: there is a later one, or will be. It is settled and counted, so
// that no retry and no replay moves a tag backwards.
//
// What a source shows need not be its last word, since a replica of it may be behind. So an
// event that was stored less than five minutes ago is not superseded, but put aside and
// tried again, while later events of its repository go on.
//
// # What the source does not have
//
// What was pushed and is not there any more is superseded, too: there is nothing left to
// copy. But a 404 may as well mean that a replica of the source is behind, that the source
// is the wrong registry or lacks a prefix, or that a repository is hidden from the
// credential. So an event is settled as gone only if the source lists the tags of its
// repository, and the event was stored more than five minutes ago or is replayed. Of a
// repository that the source does not know, deleted ones among them, a new event is tried
// until Retry.MaxAge and then a dead letter; one that is replayed is gone. Both need proof
// that the source is the right one: as long as it has not answered this endpoint with any
// manifest, a repository that it does not know holds the endpoint as misdirected, and the
// events of others are the next probes. So does a 404 that is not in the words of a
// registry, at any time.
//
// An index may name manifests that were never pushed. A new event of one is put aside until
// they are there; after five minutes, and in a replay, it is copied without them, byte for byte,
// which is counted and logged. A target that insists on all of them makes a dead letter of
// the event. A subject need not be there and is not waited for.
//
// # Deletes and platforms
//
// A delete is carried out if Options.PropagateDeletes says so and the source still lacks,
// or lacks again, what was deleted; a tag is untagged, a manifest deleted by its digest. Blobs
// and whole repositories are left to the target: the protocol has no call for the latter,
// and collecting the former is a registry's own business.
//
// With Options.Platforms an index is still the source's, byte for byte, since another one
// would have another digest: the manifests left out are missing in the target. Registries
// that insist on all of them reject it, and the event becomes a dead letter that says so.
//
// # Whose fault
//
// What a registry answers means what it means from a webhook (see endpoints.ClassOf), with
// the side named in the error: credentials, addresses and limits of either hold the
// endpoint; what only concerns one artifact makes its event a dead letter. What a registry
// denies that answers a ping with the same credential concerns one repository.
//
// Goroutines are those of an attempt, BlobConcurrency - 1 at most over all attempts, and
// end with it. Who made the endpoint shuts it down.
package mirror
