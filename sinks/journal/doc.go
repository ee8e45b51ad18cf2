// Package journal is the embedded durable engine: events in one SQLite file.
//
// # How it is composed
//
// [Open] returns a [Journal], a sinks.Engine for one machine. One goroutine, the
// appender, owns sequence numbers, the window in which repeats are recognised and the
// only writing connection: events of all writers, settlements, dead letters, quarantined
// bodies and state that have gathered while the last commit was synced become the next
// one. Cursors read what was just committed from a tail in memory that they share, and
// older events from the file. Checkpoints, retention, history and the building of
// indexes run beside the appender. A Journal is a sinks.History and a sinks.Searcher too.
// schema.sql and schema2.sql are the documentation of the file, README.md that of
// the commit protocol and of what happens in a crash.
//
// # What it promises
//
// A nil error of Write or Record means that the events are synced to disk (WAL,
// synchronous=FULL); no cursor sees an event before. Settlements and their dead letters
// are synced together, at the latest 100 ms after Settle, so that a crash repeats at
// most 100 ms of traffic and skips nothing. A full disk or an I/O error fails one
// transaction, and the next may succeed. What retention cuts before it was settled is
// counted, recorded as a dead letter and logged as an error. Memory does not grow with
// the backlog, and neither does the time that Open takes.
//
// Who opened a Journal shuts it down. The file belongs to one process at a time and must
// be on a local file system. [Backup] and [Export] read it while it is in use; [Verify]
// checks one that is not.
package journal
