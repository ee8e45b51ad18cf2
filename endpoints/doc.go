// Package endpoints holds the sinks at the far end: webhooks, and the two built-in
// endpoints that print events or keep them in a file.
//
// # How it is composed
//
// A [Webhook] makes one attempt: it posts a batch and turns the answer into nil or a
// [DeliveryError]. An [Endpoint] is a webhook with a name, metrics and a
// [sinks.Policy] that holds the verdicts: it is what stands behind [sinks.Deliver]
// where there is an engine. A [Pipeline] needs no engine: filter, queue, retrier and
// webhook in one sink, for a registry that may forget at a restart.
//
// # What it promises
//
// An endpoint has a transport of its own, follows no redirect, connects to no link-local
// address and none of cloud metadata, nor to others that its options refuse, and reads a
// bounded part of an answer. Each attempt is signed afresh, if that is asked for: see
// [SigningOptions].
//
// Where the fault is the endpoint's, delivery is held and nothing is dropped: its [State]
// says why, and now and then the next batch is sent as a probe. Where the fault is the
// event's, the event becomes a dead letter, or is put aside for some time, and nothing is
// blocked. A receiver that rejects every event is held as one at fault.
//
// No error, log or metric holds a secret: of a URL it shows the scheme, host and path, and
// only scheme and host if the URL came from a [Secret].
//
// Nothing here starts a goroutine but the Pipeline's queue, while it has something to
// write, and net/http, for each connection. Whoever makes a Webhook, Endpoint or Pipeline
// shuts it down, after the last Write.
package endpoints
