// Package notificationstest helps to test what makes, takes or moves events: sample
// events that are the same in every run, and sinks that record, fail or dawdle.
//
// # How it is composed
//
// [Recorder] is where a chain of sinks ends in a test. [Faulty], [Slow] and [Gate] wrap
// a sink, most often a Recorder, and misbehave as told. [Push], [Pull] and the other
// makers return sample events that [Number] tells apart.
//
// # What it promises
//
// Everything here is safe for concurrent use, works inside a testing/synctest bubble,
// starts no goroutine and needs no shutdown. Nothing is bounded: a Recorder keeps all
// that it was given.
package notificationstest
