// Package notifications is the domain of regcast: container-registry events, the
// listeners and the [Bridge] that make them, their wire form, and the [Sink] that
// takes them.
//
// # How it is composed
//
// A registry calls the methods of a [Listener]; [Bridge.For] gives it one for each
// request. The bridge makes an [Event] of the call, with the actor who asked, the
// request that did it ([RequestOf], [BaseURLOf]) and the source it happened at, and
// writes it to a Sink. Sinks wrap sinks: see package sinks for broadcasters, queues,
// retriers, filters and engines, and package endpoints for webhooks. Events that another
// registry has made come in through [Decode] and keep the JSON they came as.
//
// # What it promises
//
// An event is immutable once it was written to a Sink. Its wire form is that of CNCF
// distribution's notifications: the envelope of v3 (media type [MediaTypeV2]) and of
// v2.8 ([MediaTypeV1]). Whatever field this package does not know survives a passage
// through it. Nothing here does I/O or starts a goroutine, and nothing needs to be shut
// down; the package imports no more than the standard library and the field's own
// vocabulary (uuid, go-digest, reference, image-spec).
package notifications
