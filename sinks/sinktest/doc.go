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
// for what must happen, for at most ten seconds, and hardly for what must not. An engine
// that works in a bubble of testing/synctest is judged there, without waiting. What suites
// start they join, and what they open they shut down, before the subtest ends.
package sinktest
