// Package intake takes in events that registries send over HTTP.
//
// # How it is composed
//
// A [Handler] serves POST /events: it reads the body within bounds, decodes it, hands
// events and whatever could not be read to a [notifications.Recorder] (an engine) and
// answers 202 once they are stored. [NewServer] puts the time limits around it that a
// handler cannot set itself.
//
// # What it promises
//
// 202 means stored, as durably as the engine stores anything, or stored before. What is
// unreadable or over a limit is also answered 202, kept in quarantine with the reason
// and counted: a registry that gets a 4xx keeps what it could not deliver and blocks its
// whole queue behind it. What cannot be stored now is answered 503 with Retry-After.
//
// Memory is bounded whatever is sent: a body counts as it comes, not as it is announced,
// is held up to [Options.MaxBody], and all bodies together, with all that is made of
// them, take up to [Options.MaxBuffered].
//
// A Handler starts no goroutine and holds nothing that needs to be closed;
// [Handler.Refuse] makes it answer 503 while its server shuts down.
package intake
