// Package registrytest starts real registries for tests: CNCF distribution on a loopback
// port, with no authentication, with htpasswd, or with a token server of its own whose
// signatures and scopes it verifies.
//
// # How it is composed
//
// [Start] is for tests, [Open] for examples and programs. [Options].Wrap puts a handler
// of the test around the registry's, to break what the test wants broken: a [Meter] counts.
//
// # What it promises
//
// A process may have as many registries as it likes: they share nothing but
// distribution's log, which is silenced. Deletes are enabled. Who opens a registry
// closes it; Start does so when the test ends.
package registrytest
