// Package sinks composes sinks, and delivers from engines to sinks.
//
// # How it is composed
//
// [Broadcaster], [Filter], [Queue] and [Retrier] are sinks that wrap sinks; together
// they are the whole of a dispatcher that may forget at a restart. An [Engine] is a Sink
// whose events can be claimed back through a [Cursor]; [Deliver] moves events from a
// cursor to a sink, as io.Copy moves bytes, and a [Policy] decides what each answer of
// the sink means. [Memory] is the engine that survives nothing; packages journal and
// jetstream hold the durable ones; package sinktest judges them all. [Ledger], [Progress],
// [Repeats] and [NewDeadCursor] are what engines share: the books of a cursor, the window
// of repeats, and delivery of dead letters. [History] and [Searcher] are for engines that
// keep attempts and find events.
//
// # What it promises
//
// The error that a sink returns is the acknowledgement: nil means "mine now", permanent
// means "never this batch", anything else means "again later". Whoever opens, shuts
// down: wrapping transfers no ownership, so things are built inside-out and shut down
// last-built-first. Order is kept per key, by default per repository. Every queue is
// bounded, and what a bound cuts is counted. No goroutine is started per event.
package sinks
