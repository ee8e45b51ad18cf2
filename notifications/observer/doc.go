// Package observer makes a source of events of any container registry: it stands as
// middleware before the registry's HTTP handler, understands the traffic of the OCI
// distribution specification, and tells a bridge what succeeded.
//
// An [Observer] is an http.Handler around another. What a request was about is decided by
// its path ([ParseRoute]); what happened, by the answer. Pushes, mounts and deletes are
// written to the sink before the client gets its 201 or 202, for a bounded wait; what the
// sink does not take by then waits in a bounded queue. Nothing the Observer does changes
// an answer, and it buffers no blob: only manifests are kept while they pass, up to 4 MiB.
//
// What it reports equals what CNCF distribution's own notifications report of the same
// traffic, but for the rows where distribution counts what never happened; see [Parity].
//
// Whoever makes an Observer ends it with [Observer.Shutdown], after the HTTP server and
// before the sink.
package observer
