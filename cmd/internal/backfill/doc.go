// Package backfill makes events of what a registry had before there were events: one push
// for each manifest and each tag, for the endpoints that are named and no other.
//
// # How it is composed
//
// There are two ends, and the admin API between them. A [Walk] goes through a registry, by
// the client that [Connect] returns, and tells what it finds, batch after batch. [Runs],
// in the dispatcher, makes the events and stores those that are not stored already.
//
// # What it promises
//
//   - An event's id is made of the registry's host, the repository, the tag, the digest and
//     the endpoint ([ID]). It is looked up among all that is stored, so that a backfill can
//     be repeated, broken off and begun again at any point, or overlap another one: as long
//     as the engine keeps an event, its endpoint gets no second one.
//   - An endpoint has events of its own. A later backfill for one more endpoint stores what
//     that one lacks and nothing else; a set of endpoints in one event would make every new
//     combination a new event for all of them.
//   - Of a repository, an index comes after the manifests it refers to, and a tag after what
//     it names.
//   - What was finished is remembered by the repository, until the end, with how much up to
//     there could not be read: an interrupted backfill goes on behind it.
//   - At most so many requests are under way, and so many begin in a second, those for
//     tokens and repeated ones included. Memory does not grow with the registry.
//
// An event's timestamp is when it was found. A registry does not say when something was
// pushed, and the time that an image claims to be from is its builder's to choose.
//
// A Walk joins its goroutines before it returns; Runs has none.
package backfill
