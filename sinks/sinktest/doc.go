// Package sinktest judges implementations: [TestSink] every notifications.Sink,
// [TestEngine] every sinks.Engine.
//
// # How it is composed
//
// A suite is a function that a test calls with a way to open a fresh instance; it runs
// one subtest for each promise of the interface and opens an instance for each.
//
// # What it promises
//
// Suites run in real time, because what they judge may use sockets and files; they wait
// for what must happen, for at most ten seconds, and never for what must not. What they
// start they join, and what they open they shut down, before the subtest ends.
package sinktest
