// Package verify is for consumers of regcast's webhooks: it tells genuine requests from
// others, decodes them, and tells repeats apart. It needs nothing of regcast but package
// notifications.
//
// # How it is composed
//
// A [Verifier] checks the signature of a request, on its own or as an [http.Handler]
// around the consumer's. [Decode] turns the body into events. [Seen] does work once for
// each event although regcast delivers at least once.
//
//	http.Handle("/hook", verifier.Handler(consumer))
//
// A [Key] is one secret. It makes signatures, too, so that a consumer's tests can send
// what regcast would.
//
// # What it promises
//
// A request that a Verifier accepts was signed by somebody who has one of its secrets and
// was not changed; by the Standard Webhooks specification it is at most five minutes
// old, too. A receiver may well get the same request twice within that time: that is what
// Seen is for. Signatures are compared in constant time. No error shows a secret.
//
// Nothing here starts a goroutine or needs to be closed.
package verify
