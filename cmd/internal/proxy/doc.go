// Package proxy stands in front of a registry as a reverse proxy and observes what
// passes.
//
// # How it is composed
//
// A request goes through a gate, which refuses what servers read differently and takes
// away what is meant for the connection alone; an observer, which sees exactly what goes
// out; a cache, if there is one; and the forwarding itself. The server before it bounds headers and idle connections,
// and has neither a ReadTimeout nor a WriteTimeout, as a layer may take hours: the Proxy
// itself cuts off what stands still.
//
// # What it promises
//
// Nothing about a request or an answer changes for the client but the addresses: those of
// the registry in Location and Link become those that the client uses. Everything
// streams, in constant memory. A path that servers read differently is refused with 400,
// whether it is for a change or a read, so that nothing is done to content that makes no
// event; one with escapes alone, for a read, passes and is observed as Go's servers read
// it. A change whose request has arrived is completed even if its client has gone, so
// that its event is made. The time that a registry may take is bounded for each class of
// request, and no request that changes something is sent twice.
//
// Whoever makes a [Proxy] ends it with [Proxy.Shutdown], after its server and before the
// sink.
package proxy
