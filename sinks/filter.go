package sinks

import (
	"context"

	"github.com/regcast/regcast/notifications"
)

// A Filter lets through what a [Matcher] selects. It is safe for concurrent use, does not
// own its destination and needs no shutdown.
type Filter struct {
	dst   notifications.Sink
	match Matcher
}

// NewFilter returns a filter in front of dst. A nil m selects everything.
//
// What the filter wants is for [MayMatch] to say, since a sink is asked before all of an
// event is known.
func NewFilter(dst notifications.Sink, m Matcher) *Filter {
	if m == nil {
		m = MatcherFunc(func(*notifications.Event) bool { return true })
	}
	return &Filter{dst: dst, match: m}
}

// Write hands over the events of batch that match, in order; without any it returns nil.
// Errors: those of the destination.
func (f *Filter) Write(ctx context.Context, batch []*notifications.Event) error {
	matching := f.matching(batch)
	if len(matching) == 0 {
		return nil
	}
	return f.dst.Write(ctx, matching)
}

// matching returns batch itself if all of it matches, and allocates only if what matches
// lies apart.
func (f *Filter) matching(batch []*notifications.Event) []*notifications.Event {
	first := f.run(batch, 0, false)
	last := f.run(batch, first, true)
	next := f.run(batch, last, false)
	if next == len(batch) {
		return batch[first:last]
	}
	matching := append(make([]*notifications.Event, 0, len(batch)-1), batch[first:last]...)
	matching = append(matching, batch[next])
	for _, e := range batch[next+1:] {
		if f.match.Match(e) {
			matching = append(matching, e)
		}
	}
	return matching
}

// run returns the first index from i on whose event does not match as said.
func (f *Filter) run(batch []*notifications.Event, i int, match bool) int {
	for i < len(batch) && f.match.Match(batch[i]) == match {
		i++
	}
	return i
}

// Wants tells whether e may match and the destination wants it.
func (f *Filter) Wants(e *notifications.Event) bool {
	return MayMatch(f.match, e) && notifications.Wants(f.dst, e)
}

// MayMatch tells whether m may select e, of which the media type may not be known yet. A
// Matcher that has a method MayMatch(*Event) bool, as [RuleMatcher] has, is asked by that
// one; any other, and a nil m, may select everything.
func MayMatch(m Matcher, e *notifications.Event) bool {
	early, ok := m.(interface {
		MayMatch(e *notifications.Event) bool
	})
	return !ok || early.MayMatch(e)
}
