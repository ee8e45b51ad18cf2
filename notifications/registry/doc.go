// Package registry is a client of OCI registries: it resolves, lists, gets, puts, mounts
// and deletes manifests and blobs.
//
// # How it is composed
//
// A [Client] makes the calls of one registry over an [http.RoundTripper] that it may share
// with others. Who we are, and what is tried again, is the business of that: the one of
// package auth authenticates as a registry asks for it, and repeats. Listings and look-ups
// are oras-go's; what oras-go has no calls for, or none that fit, is done here.
//
// # What it promises
//
// What a Client returns has the digest and size that were asked for or claimed, or there
// is an error: [ErrMismatch]. A body that breaks off, and an upload, go on where they were.
// Bodies, pages and listings are bounded. Errors are *[Error] for what a registry answered.
//
// Nothing here starts a goroutine or needs a shutdown; CloseIdleConnections gives
// connections back.
package registry
