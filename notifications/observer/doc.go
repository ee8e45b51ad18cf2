// Package observer makes a source of events of any container registry: it stands as
// middleware before the registry's HTTP handler, understands the traffic of the OCI
// distribution specification, and tells a bridge what succeeded.
//
// An [Observer] is an http.Handler around another. What a request was about is decided by
// its path (package route); what happened, by the answer. Pushes, mounts and deletes are
// written to the sink before the client gets its 201 or 202, for a bounded wait; what the
// sink does not take by then waits in a bounded queue. Nothing the Observer does changes
// an answer, and it buffers no blob: only manifests are kept while they pass, up to 4 MiB.
//
// An event says what is known, no more. The digest is the registry's word,
// Docker-Content-Digest, and without that what the client asked for or the hash of the
// manifest that passed. A size comes, in this order, from the length that the answer
// tells, from the bytes that passed, and from what was remembered of the same content in
// the same repository; else it is 0 and the event says sizeUnknown. That parts of an upload
// went past another Observer is noticed where the registry keeps its state in the query of
// its address, as distribution does; others have to see an upload stay with one. What was
// seen under one digest is never told of another. A pull whose answer ended early says so,
// and how many bytes were sent. A request that servers may read differently (a parameter
// given twice, a path that some would clean or decode once more) is passed on as it is, and
// makes an event only if the answer leaves no doubt. A path with escapes is read as Go's
// servers do, decoded: a change that succeeded is reported, a pull if the answer names the
// digest. What succeeds in doubt is counted in regcast_observer_unclassified_total, and so
// is a change at any path that ends like one of the API: registries exist that look at no
// more.
//
// What it reports equals what CNCF distribution's own notifications report of the same
// traffic, but for the rows where distribution counts what never happened; see [Parity].
//
// Whoever makes an Observer ends it with [Observer.Shutdown], after the HTTP server and
// before the sink.
package observer
