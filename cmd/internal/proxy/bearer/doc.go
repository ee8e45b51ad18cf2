// Package bearer names who bears a token that a client shows to a registry.
//
// A registry verifies the JSON web tokens that its clients show, and a proxy before it sees
// no more than that it did not refuse them. An [Identifier] verifies them itself, with the
// public keys of whoever issues them, so that an event can say that its actor is no mere
// claim: what does not verify names nobody. Without keys it reads the subject as it stands.
//
// How it is composed: package proxy makes one for each proxy that is told to verify or to
// name tokens, and gives it to its observer. An Identifier starts nothing and holds nothing
// that needs to be shut down.
package bearer
