package sinks

import "github.com/regcast/regcast/notifications"

// A Matcher selects events. It is safe for concurrent use, does no I/O and looks only at
// an event's exported fields and kind.
type Matcher interface {
	Match(e *notifications.Event) bool
}

// MatcherFunc is a function as a [Matcher].
type MatcherFunc func(*notifications.Event) bool

// Match calls f.
func (f MatcherFunc) Match(e *notifications.Event) bool { return f(e) }
