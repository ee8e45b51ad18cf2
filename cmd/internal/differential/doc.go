// Package differential proves that what regcast observes of a registry equals what the
// registry itself reports. It has no code but its tests.
//
// A rig is CNCF distribution in this process with its own notifications pointed at a
// webhook: the truth. The same requests pass an observer around the registry, the proxy
// in front of it and the adapter inside of it, and each has a sink of its own. For every
// request the events in each sink, without what cannot be equal (ids, times, ports), are
// compared with the truth as a multiset. What may differ is listed by name in
// allowances(); all else fails.
//
// Three kinds of traffic do this: a matrix of scripted requests, random operations over a
// tiny universe, and the command-line clients that people use.
package differential
