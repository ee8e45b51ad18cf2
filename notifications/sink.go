package notifications

import (
	"context"
	"errors"
)

// A Sink takes responsibility for events.
type Sink interface {
	// Write hands over a batch, all or nothing. A nil error means that the sink now
	// answers for every event in it; any error promises nothing (it may have kept the
	// batch) and the same batch may be offered again: receivers see every event at least
	// once and tell repeats apart by Event.ID.
	//
	// Write does not modify or keep the slice; it may keep the events, which nobody
	// changes once written. It is safe for concurrent use and returns soon after ctx
	// ends.
	//
	// Errors: ErrClosed (never again), ErrFull (no room now), one for which IsPermanent
	// is true (this batch will never be taken); any other: try again.
	Write(ctx context.Context, batch []*Event) error
}

// A Selective sink knows beforehand what it has no use for, so that nobody makes an
// event for nothing. The wrappers of package sinks pass the question on.
type Selective interface {
	Sink

	// Wants tells whether the sink would do anything with e, which is only the preview
	// of an event: Action, Repository, Tag, Actor, Method and Provenance are set, and
	// Digest and MediaType as far as known without work. A push or pull without
	// MediaType may turn out to be of any. Wants does not keep e, does no I/O and is
	// safe for concurrent use.
	Wants(e *Event) bool
}

// Wants tells whether dst would do anything with e; a sink that is not [Selective]
// wants everything.
func Wants(dst Sink, e *Event) bool {
	s, ok := dst.(Selective)
	return !ok || s.Wants(e)
}

var (
	// ErrClosed says that a sink was shut down and takes nothing more.
	ErrClosed = errors.New("sink closed")

	// ErrFull says that a sink has no room now and may have some later.
	ErrFull = errors.New("sink full")
)

// Permanent marks err: the batch that was refused with it will never be taken. A nil
// err stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent tells whether err, or an error that it wraps, says that the refused batch
// will never be taken. The outermost error with a method Permanent() bool decides, so
// that a joined error can answer for all its members.
func IsPermanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

type permanentError struct{ error }

func (permanentError) Permanent() bool { return true }
func (e permanentError) Unwrap() error { return e.error }
