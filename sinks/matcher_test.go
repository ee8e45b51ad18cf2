package sinks_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// matcher is NewMatcher of rules that are right.
func matcher(t testing.TB, filter, ignore sinks.Rules) *sinks.RuleMatcher {
	t.Helper()
	m, err := sinks.NewMatcher(filter, ignore)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMatcher(t *testing.T) {
	type rules = sinks.Rules
	var (
		push       = notificationstest.Push("team/app", "v1.2", 0) // by alice, PUT
		untagged   = notificationstest.Push("team/app", "", 0)
		pull       = notificationstest.Pull("team/app", "v1.2", 0)
		head       = &notifications.Event{Action: "pull", Repository: "team/app", Tag: "v1.2", MediaType: push.MediaType, Method: "HEAD"}
		blobPush   = notificationstest.BlobPush("team/app", 0)
		mount      = notificationstest.BlobMount("team/app", "base", 0)
		byDigest   = notificationstest.Delete("team/app", 0)
		tagDelete  = notificationstest.TagDelete("team/app", "v1.2", 0)
		repoDelete = notificationstest.RepositoryDelete("team/app", 0)
		rename     = &notifications.Event{Action: "rename", Repository: "team/app", Actor: "alice"}
		one        = func(s ...string) []string { return s }
	)
	for _, tt := range []struct {
		name           string
		filter, ignore rules
		e              *notifications.Event
		want           string // the key that keeps it out
	}{
		{"no rules", rules{}, rules{}, push, ""},
		{"no rules, a delete", rules{}, rules{}, repoDelete, ""},

		{"values are alternatives", rules{Actions: one("pull", "push")}, rules{}, push, ""},
		{"no alternative fits", rules{Actions: one("pull", "delete")}, rules{}, push, "filter.actions"},
		{"every key matches", rules{Actions: one("push"), Tags: one("v*"), Repositories: one("team/*"), Methods: one("PUT"), Actors: one("alice"), Kinds: one("image")}, rules{}, push, ""},
		{"one key does not match", rules{Actions: one("push"), Tags: one("latest"), Repositories: one("team/*")}, rules{}, push, "filter.tags"},
		{"ignore: one key is enough", rules{}, rules{Tags: one("latest"), Methods: one("PUT")}, push, "ignore.methods"},
		{"ignore: no key matches", rules{}, rules{Tags: one("latest"), Methods: one("HEAD")}, push, ""},
		{"ignore wins", rules{Tags: one("v1.2")}, rules{Tags: one("v1.2")}, push, "ignore.tags"},
		{"heads are ignored", rules{Kinds: one("image")}, rules{Methods: one("HEAD")}, head, "ignore.methods"},
		{"pulls are not", rules{Kinds: one("image")}, rules{Methods: one("HEAD")}, pull, ""},

		{"under team", rules{Repositories: one("team/**")}, rules{}, push, ""},
		{"team is not under itself", rules{Repositories: one("team/**")}, rules{}, notificationstest.Push("team", "v1", 0), "filter.repositories"},
		{"team is not ignored with what is under it", rules{}, rules{Repositories: one("team/**")}, notificationstest.Push("team", "v1", 0), ""},
		{"names are case-sensitive", rules{Actors: one("Alice")}, rules{}, push, "filter.actors"},
		{"a literal among patterns", rules{Repositories: one("x/*", "team/app", "y/**")}, rules{}, push, ""},
		{"a pattern among literals", rules{MediaTypes: one("text/plain", "application/vnd.oci.**")}, rules{}, push, ""},

		{"a field it lacks matches no value", rules{Tags: one("*", "**")}, rules{}, untagged, "filter.tags"},
		{"a field it lacks is not ignored", rules{}, rules{Tags: one("*", "**")}, untagged, ""},
		{"media types exclude deletes", rules{MediaTypes: one("**")}, rules{}, byDigest, "filter.media_types"},
		{"ignored media types keep deletes", rules{}, rules{MediaTypes: one("**")}, byDigest, ""},
		{"no actor", rules{Actors: one("**")}, rules{}, head, "filter.actors"},

		{"image: push by tag", rules{Kinds: one("image")}, rules{}, push, ""},
		{"image: not by digest", rules{Kinds: one("image")}, rules{}, untagged, "filter.kinds"},
		{"manifest: by digest", rules{Kinds: one("manifest")}, rules{}, untagged, ""},
		{"image: not a blob", rules{Kinds: one("image")}, rules{}, blobPush, "filter.kinds"},
		{"blob: push", rules{Kinds: one("blob")}, rules{}, blobPush, ""},
		{"blob: mount", rules{Kinds: one("blob")}, rules{}, mount, ""},
		{"blob: delete by digest may be one", rules{Kinds: one("blob")}, rules{}, byDigest, ""},
		{"manifest: delete by digest may be one", rules{Kinds: one("manifest")}, rules{}, byDigest, ""},
		{"ignored blob: delete by digest may be one", rules{}, rules{Kinds: one("blob")}, byDigest, "ignore.kinds"},
		{"tag: deletion", rules{Kinds: one("tag")}, rules{}, tagDelete, ""},
		{"tag: not a push", rules{Kinds: one("tag")}, rules{}, push, "filter.kinds"},
		{"repository: deletion", rules{Kinds: one("tag", "repository")}, rules{}, repoDelete, ""},

		{"unknown action", rules{}, rules{}, rename, "filter.actions"},
		{"unknown action, other keys match", rules{Actors: one("alice")}, rules{}, rename, "filter.actions"},
		{"unknown action, another is named", rules{Actions: one("push", "archive")}, rules{}, rename, "filter.actions"},
		{"unknown action, named", rules{Actions: one("push", "rename")}, rules{}, rename, ""},
		{"unknown action, named and ignored", rules{Actions: one("rename")}, rules{Actors: one("alice")}, rename, "ignore.actors"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := matcher(t, tt.filter, tt.ignore)
			if got := m.Explain(tt.e); got != tt.want {
				t.Errorf("Explain = %q, want %q", got, tt.want)
			}
			if got := m.Match(tt.e); got != (tt.want == "") {
				t.Errorf("Match = %t", got)
			}
			if m.Match(tt.e) && !m.MayMatch(tt.e) {
				t.Error("matches, but MayMatch is false")
			}
			// As a listener knows it before it has looked into the manifest.
			early := *tt.e
			early.MediaType, early.Digest = "", ""
			if tt.e.Action == notifications.ActionDelete {
				early.Digest = tt.e.Digest
			}
			if m.Match(tt.e) && !m.MayMatch(&early) {
				t.Error("matches, but MayMatch is false before the media type is known")
			}
		})
	}
}

func TestMayMatch(t *testing.T) {
	one := func(s ...string) []string { return s }
	open := &notifications.Event{Action: "push", Repository: "team/app", Method: "PUT"}
	for _, tt := range []struct {
		name           string
		filter, ignore sinks.Rules
		e              *notifications.Event
		want           bool
	}{
		{"media type open", sinks.Rules{MediaTypes: one("x")}, sinks.Rules{}, open, true},
		{"ignored media type open", sinks.Rules{}, sinks.Rules{MediaTypes: one("**")}, open, true},
		{"kind open", sinks.Rules{Kinds: one("blob")}, sinks.Rules{}, open, true},
		{"ignored kind open", sinks.Rules{}, sinks.Rules{Kinds: one("manifest", "repository")}, open, true},
		{"another key decides", sinks.Rules{Kinds: one("blob"), Actions: one("pull")}, sinks.Rules{}, open, false},
		{"ignored by another key", sinks.Rules{}, sinks.Rules{Repositories: one("team/**")}, open, false},
		{"the tag says that it is an image", sinks.Rules{Kinds: one("blob")}, sinks.Rules{}, &notifications.Event{Action: "push", Repository: "a", Tag: "v1"}, false},
		{"a mount is of a blob", sinks.Rules{Kinds: one("manifest")}, sinks.Rules{}, &notifications.Event{Action: "mount", Repository: "a"}, false},
		{"a delete has no media type", sinks.Rules{MediaTypes: one("**")}, sinks.Rules{}, notificationstest.Delete("a", 0), false},
	} {
		if got := matcher(t, tt.filter, tt.ignore).MayMatch(tt.e); got != tt.want {
			t.Errorf("%s: MayMatch = %t", tt.name, got)
		}
	}
}

func TestNewMatcherErrors(t *testing.T) {
	_, err := sinks.NewMatcher(
		sinks.Rules{
			Kinds:        []string{"image", "images"},
			Actions:      []string{"pu*", ""},
			Repositories: []string{"team/{a,b}", "ok/**"},
			Methods:      []string{"head"},
		},
		sinks.Rules{
			Tags:       []string{"v[0-9]", "***"},
			MediaTypes: []string{""},
			Actors:     []string{"bot[ci]", "***"}, // brackets are letters in an actor's name
		})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`filter.kinds: "images": `, `filter.actions: "pu*": `, `filter.actions: "": `,
		`filter.repositories: "team/{a,b}": `, `filter.methods: "head": `,
		`ignore.tags: "v[0-9]": `, `ignore.tags: "***": `, `ignore.media_types: "": `, `ignore.actors: "***": `,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %s", want)
		}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 9 {
		t.Fatalf("want 9 errors, joined: %v", err)
	}
	for _, err := range joined.Unwrap() {
		var bad *sinks.RuleError
		if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), bad.Key) || !strings.Contains(err.Error(), strconv.Quote(bad.Value)) {
			t.Errorf("%v does not name key and value: %+v", err, bad)
		}
	}
}

func busyMatcher(t testing.TB) *sinks.RuleMatcher {
	return matcher(t, sinks.Rules{
		Kinds:        []string{"image", "manifest", "blob"},
		Actions:      []string{"push", "delete"},
		Repositories: []string{"infra/base", "other/**", "**/cache/*", "team/**"},
		Tags:         []string{"latest", "v*.*"},
		MediaTypes:   []string{"application/vnd.oci.image.*+json"},
		Actors:       []string{"alice", "ci-*"},
	}, sinks.Rules{
		Methods:      []string{"HEAD"},
		Repositories: []string{"**/scratch/**"},
	})
}

func TestMatchAllocations(t *testing.T) {
	m := busyMatcher(t)
	for _, e := range []*notifications.Event{
		notificationstest.Push("team/group/app", "v1.2", 0),
		notificationstest.Push("nobody/group/app", "v1.2", 0),
		notificationstest.Delete("team/group/app", 0),
	} {
		if n := testing.AllocsPerRun(100, func() { m.Match(e); m.MayMatch(e); _ = m.Explain(e) }); n != 0 {
			t.Errorf("%s of %s: %v allocations", e.Action, e.Repository, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	m := busyMatcher(b)
	e := notificationstest.Push("team/group/app", "v1.2", 0)
	if !m.Match(e) {
		b.Fatal(m.Explain(e))
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Match(e)
	}
}
