package sinks_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// numbered matches the events whose number is in ns.
func numbered(ns ...int) sinks.Matcher {
	return sinks.MatcherFunc(func(e *notifications.Event) bool {
		return slices.Contains(ns, notificationstest.Number(e))
	})
}

func TestFilterWritesWhatMatches(t *testing.T) {
	for _, tt := range []struct {
		name  string
		match []int
	}{
		{"none", nil},
		{"all", []int{0, 1, 2, 3, 4}},
		{"head", []int{0, 1}},
		{"middle", []int{2}},
		{"tail", []int{3, 4}},
		{"apart", []int{0, 2, 4}},
		{"two runs", []int{1, 3, 4}},
		{"ends", []int{0, 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r notificationstest.Recorder
			batch := notificationstest.Pushes(0, 5, "a")
			before := slices.Clone(batch)
			if err := sinks.NewFilter(&r, numbered(tt.match...)).Write(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.match, notificationstest.Numbers(r.Events()), cmp.Transformer("len0", func(s []int) []int { return append([]int{}, s...) })); diff != "" {
				t.Errorf("received (-want +got):\n%s", diff)
			}
			if wrote := len(r.Batches()); wrote > 1 || wrote == 1 && len(tt.match) == 0 {
				t.Errorf("%d writes", wrote)
			}
			if !slices.Equal(batch, before) {
				t.Error("the batch was modified")
			}
		})
	}
}

func TestFilterPassesTheAnswerOn(t *testing.T) {
	want := errors.New("no")
	f := sinks.NewFilter(always(want), numbered(0))
	if err := f.Write(t.Context(), notificationstest.Pushes(0, 2, "a")); !errors.Is(err, want) {
		t.Errorf("Write = %v", err)
	}
	if err := f.Write(t.Context(), notificationstest.Pushes(1, 2, "a")); err != nil {
		t.Errorf("Write of what does not match = %v", err)
	}
}

// discard takes everything and allocates nothing.
type discard struct{}

func (discard) Write(context.Context, []*notifications.Event) error { return nil }

func TestFilterAllocations(t *testing.T) {
	m := matcher(t, sinks.Rules{Repositories: []string{"team/**"}}, sinks.Rules{})
	f := sinks.NewFilter(discard{}, m)
	all := notificationstest.Pushes(0, 10, "team/a")
	none := notificationstest.Pushes(0, 10, "other/a")
	for name, batch := range map[string][]*notifications.Event{
		"all": all, "none": none, "a run": slices.Concat(none, all, none),
	} {
		if n := testing.AllocsPerRun(100, func() { _ = f.Write(context.Background(), batch) }); n != 0 {
			t.Errorf("%s match: %v allocations", name, n)
		}
	}
}

func TestFilterWants(t *testing.T) {
	manifests := []string{"application/vnd.oci.image.manifest.v1+json"}
	known, open := notificationstest.Push("team/a", "v1", 0), &notifications.Event{Action: "push", Repository: "team/a", Tag: "v1", Method: "PUT"}
	for _, tt := range []struct {
		name  string
		match sinks.Matcher
		e     *notifications.Event
		want  bool
	}{
		{"no matcher", nil, known, true},
		{"matching", matcher(t, sinks.Rules{MediaTypes: manifests}, sinks.Rules{}), known, true},
		{"not matching", matcher(t, sinks.Rules{MediaTypes: []string{"text/plain"}}, sinks.Rules{}), known, false},
		{"media type open", matcher(t, sinks.Rules{MediaTypes: manifests}, sinks.Rules{}), open, true},
		{"media type open, method not matching", matcher(t, sinks.Rules{MediaTypes: manifests, Methods: []string{"GET"}}, sinks.Rules{}), open, false},
		{"an unknown matcher is not asked", sinks.MatcherFunc(func(*notifications.Event) bool { return false }), known, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := sinks.NewFilter(discard{}, tt.match).Wants(tt.e); got != tt.want {
				t.Errorf("Wants = %t", got)
			}
			if sinks.NewFilter(sinks.NewBroadcaster(), tt.match).Wants(tt.e) {
				t.Error("wants what its destination does not want")
			}
		})
	}
}

func TestMayMatchOfAnyMatcher(t *testing.T) {
	pulls, err := sinks.NewMatcher(sinks.Rules{Actions: []string{notifications.ActionPull}}, sinks.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	push := notificationstest.Push("team/app", "v1", 1)
	for name, test := range map[string]struct {
		m    sinks.Matcher
		want bool
	}{
		"none":                   {nil, true},
		"rules":                  {pulls, false},
		"one that is only final": {sinks.MatcherFunc(func(*notifications.Event) bool { return false }), true},
	} {
		if got := sinks.MayMatch(test.m, push); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
