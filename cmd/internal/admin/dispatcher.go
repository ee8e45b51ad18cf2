package admin

import (
	"context"
	"errors"
	"iter"
)

// A Dispatcher is a running dispatcher as an operator sees it: what the routes of
// /api/v1 ask and change. Package app has one; package client is one at the other end of
// the wire, but for [Operations.Record] and for who sends a backfill. All methods are called concurrently; what they
// return belongs to the caller.
//
// Errors: those below, of this package and those that wrap sinks.ErrNotFound,
// sinks.ErrInUse and notifications.ErrClosed, are answered with a status of their own, any
// other with 500. Their text is shown to the caller: it holds no secret.
type Dispatcher interface {
	EndpointControl
	Events
	DeadLetters
	Jobs
	Quarantine
	Backfills
	Operations
}

var (
	// ErrNotFound says that there is no such thing (404).
	ErrNotFound = errors.New("not found")
	// ErrInvalid says that a request cannot be understood or makes no sense (400).
	ErrInvalid = errors.New("invalid")
	// ErrConflict says that a request does not fit the state that its object is in (409).
	ErrConflict = errors.New("conflict")
	// ErrUnsupported says that this engine or configuration cannot do it (501).
	ErrUnsupported = errors.New("not supported")
)

// EndpointControl shows and steers endpoints.
type EndpointControl interface {
	// Endpoints lists all, by name: those of the configuration and those that were
	// removed from it and not yet forgotten.
	Endpoints(ctx context.Context) ([]Endpoint, error)
	// Control does to the endpoint of that name what action says, and is no error where
	// it is so already. Errors: ErrNotFound; ErrConflict, above all for Forget of an
	// endpoint that is in the configuration.
	Control(ctx context.Context, name string, action Action) error
	// Ping sends a test event to the endpoint and returns what it answered. That the
	// endpoint does not answer is a Pong with an Error, not an error of Ping.
	// Errors: ErrNotFound; ErrInvalid for a sample that there is none of.
	Ping(ctx context.Context, name string, sample string) (Pong, error)
}

// Events shows stored events.
type Events interface {
	// Events lists at most q.Limit events that q selects, newest first, without their
	// JSON.
	Events(ctx context.Context, q EventQuery) ([]Event, error)
	// Event returns the event with that id, its JSON, and every attempt to deliver it
	// that is remembered. Of several with one id it is the newest. Errors: ErrNotFound.
	Event(ctx context.Context, id string) (EventStory, error)
	// Stream returns the events that q selects and that are stored from now on, or after
	// the sequence q.After where that is not 0: oldest first, with their JSON, as they
	// come. From its return on none is missed. With q.Limit it ends after that many; else
	// it goes on until the loop over it or ctx ends, which also gives back what it holds,
	// or until it fails: then the last pair has the error. Errors: ErrInvalid.
	Stream(ctx context.Context, q EventQuery) (iter.Seq2[Event, error], error)
}

// DeadLetters shows dead letters and brings them back or away.
type DeadLetters interface {
	// DeadLetters lists at most q.Limit dead letters that q selects, oldest first, with
	// their events.
	DeadLetters(ctx context.Context, q DeadQuery) ([]DeadLetter, error)
	// ReplayDead delivers again what r selects; with a rate, or where that takes long,
	// as a job.
	ReplayDead(ctx context.Context, r DeadRequest) (Outcome, error)
	// DropDead forgets what r selects.
	DropDead(ctx context.Context, r DeadRequest) (Outcome, error)
}

// Jobs delivers stored events again.
type Jobs interface {
	// Replay starts a job. With r.DryRun it only counts.
	// Errors: ErrNotFound for the endpoint; ErrInvalid.
	Replay(ctx context.Context, r ReplayRequest) (Outcome, error)
	// Jobs lists the jobs that run and those that ended lately, newest first.
	Jobs(ctx context.Context) ([]Job, error)
	// CancelJob ends a job and returns how far it came; cancelling one that has ended is
	// no error. Errors: ErrNotFound.
	CancelJob(ctx context.Context, id string) (Job, error)
}

// Quarantine shows what intake could not read and brings it back or away.
type Quarantine interface {
	// Quarantined lists at most q.Limit bodies that q selects, oldest first.
	Quarantined(ctx context.Context, q QuarantineQuery) ([]Quarantined, error)
	// RetryQuarantined reads again what r selects. What can be read now is stored as
	// events and leaves the quarantine, and the rest stays.
	RetryQuarantined(ctx context.Context, r QuarantineRequest) (Outcome, error)
	// DropQuarantined forgets what r selects.
	DropQuarantined(ctx context.Context, r QuarantineRequest) (Outcome, error)
}

// Backfills makes events of what registries had before there were events.
type Backfills interface {
	// Backfill does a step of a backfill that sender, the name of a token, sends. What is
	// stored already, by its id, is not stored again. Errors: ErrNotFound and ErrConflict
	// for endpoints that cannot have events; ErrConflict to store for a backfill that was
	// not begun; ErrInvalid; ErrUnsupported.
	Backfill(ctx context.Context, sender string, r BackfillRequest) (Backfilled, error)
}

// Operations are about the dispatcher as a whole.
type Operations interface {
	// Reload reads the configuration file again. With an error everything goes on as
	// before: a config.Problems for what is wrong with the file (422), ErrConflict for
	// changes that need a restart, ErrUnsupported where there is no file.
	Reload(ctx context.Context) error
	// Record stores what an operator does, durably: first when it begins, then, with the
	// ID that it was given, when it has ended. Of what is stored the oldest goes when
	// there is too much of it.
	Record(ctx context.Context, o *Operation) error
	// Log lists at most q.Limit operations, newest first.
	Log(ctx context.Context, q LogQuery) ([]Operation, error)
}
