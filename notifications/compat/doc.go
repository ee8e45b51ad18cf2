// Package compat joins sinks of package notifications with those of docker/go-events, so
// that what was built for CNCF distribution's notifications and what is built here can
// stand in one chain.
//
// # How it is composed
//
// [Inbound] is a go-events sink that writes to one of ours: give it to distribution's
// NewBridge or to a go-events Broadcaster. [Outbound] is a sink of ours that writes to
// one of go-events. Events cross as values or as their wire form; distribution itself is
// not imported.
//
// # What it promises
//
// Closed is closed on both sides: each adapter returns the very error that its caller
// compares with. An adapter closes only itself, never the sink behind it. Inbound starts
// no goroutine; Outbound has at most one, which Shutdown joins.
package compat
