package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/backfill"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// walked is what a walk told of.
type walked struct {
	found    []admin.Found
	batches  int
	finished []string
	counts   backfill.Counts
}

// walk walks m by c and returns what it told of.
func walk(t *testing.T, c *registry.Client, after string, patterns ...string) (out walked, err error) {
	t.Helper()
	selection, err := backfill.Select(patterns)
	if err != nil {
		t.Fatal(err)
	}
	w := &backfill.Walk{Client: c, Selection: selection, After: after, Concurrency: 4, Unreadable: func(what string, err error) { t.Logf("%s: %v", what, err) }}
	err = w.Run(t.Context(), func(_ context.Context, b backfill.Batch) error {
		if len(b.Found) > admin.MaxFound {
			t.Errorf("a batch of %d", len(b.Found))
		}
		out.found = append(out.found, b.Found...)
		out.batches++
		out.finished = append(out.finished, b.Finished)
		return nil
	})
	out.counts = w.Counts()
	return out, err
}

// Manifests come before the indexes that refer to them and these before their tags, each
// once; what no registry lists is not found.
func TestWalkFindsEverything(t *testing.T) {
	for _, auth := range []registrytest.Auth{registrytest.None, registrytest.Htpasswd, registrytest.Token} {
		t.Run(string(auth), func(t *testing.T) {
			m := openMuseum(t, registrytest.Options{Auth: auth})
			m.fill()
			got, err := walk(t, m.connect(4), "")
			if err != nil {
				t.Fatal(err)
			}
			want := []string{
				"other/tool tool", "other/tool:v1 tool",
				"team/app app1", "team/app:latest app1", "team/app:v1 app1", "team/app app2", "team/app:v2 app2",
				"team/multi amd", "team/multi arm", "team/multi inner", "team/multi outer", "team/multi:v1 outer",
				"team/nested/app nested", "team/nested/app:v1 nested",
			}
			if diff := cmp.Diff(want, m.shown(got.found)); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
			if want := (backfill.Counts{Repositories: 4, Tags: 6, Manifests: 8, Gone: 1}); got.counts != want {
				t.Errorf("%+v, want %+v", got.counts, want)
			}
			if last := got.finished[len(got.finished)-1]; last != "team/nested/app" {
				t.Errorf("finished %q last", last)
			}
			for _, f := range got.found {
				if f.MediaType == "" || f.Size < 100 {
					t.Errorf("%+v is not described", f)
				}
			}
		})
	}
}

func TestWalkSelects(t *testing.T) {
	m := openMuseum(t, registrytest.Options{Wrap: refuse(nil)})
	m.fill()
	for _, test := range []struct {
		name, after string
		patterns    []string
		want        []string
	}{
		{"a glob", "", []string{"team/*"}, []string{"team/app", "team/multi"}},
		{"two", "", []string{"other/*", "**/app"}, []string{"other/tool", "team/app", "team/nested/app"}},
		{"names", "", []string{"team/multi", "other/tool", "team/multi"}, []string{"other/tool", "team/multi"}},
		{"a glob, going on", "team/app", []string{"team/**"}, []string{"team/multi", "team/nested/app"}},
		{"names, going on", "team/app", []string{"team/multi", "team/app", "other/tool"}, []string{"team/multi"}},
		{"all, at the end", "team/nested/app", nil, nil},
	} {
		got, err := walk(t, m.connect(4), test.after, test.patterns...)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		var names []string
		for _, f := range got.found {
			names = append(names, f.Repository)
		}
		if diff := cmp.Diff(test.want, slices.Compact(names)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	if _, err := backfill.Select([]string{"a***"}); err == nil {
		t.Error("a bad glob is taken")
	}
}

func TestWalkWithoutACatalog(t *testing.T) {
	for _, status := range []int{401, 403, 404, 405, 501} {
		m := openMuseum(t, registrytest.Options{Wrap: refuse(map[string]int{"/_catalog": status})})
		m.image("team/app", "app", "v1")
		if _, err := walk(t, m.connect(4), "", "team/*"); !errors.Is(err, backfill.ErrNoCatalog) {
			t.Errorf("%d: %v, want ErrNoCatalog", status, err)
		}
		if got, err := walk(t, m.connect(4), "", "team/app"); err != nil || len(got.found) != 2 {
			t.Errorf("%d: found %v by name, %v", status, m.shown(got.found), err)
		}
	}
}

// Long lists come in chunks, all of them.
func TestWalkOfManyTags(t *testing.T) {
	const tags = 320
	m := openMuseum(t, registrytest.Options{})
	var want []string
	for n := range tags {
		tag := fmt.Sprintf("v%03d", n)
		m.index("team/app", tag, nil, tag)
		want = append(want, "team/app "+tag, "team/app:"+tag+" "+tag)
	}
	got, err := walk(t, m.connect(8), "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, m.shown(got.found)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if got.batches < 2 {
		t.Errorf("%d batches of %d", got.batches, len(got.found))
	}
}

// What a registry refuses is passed by, and what it has lost.
func TestWalkPassesBy(t *testing.T) {
	statuses := make(map[string]int)
	m := openMuseum(t, registrytest.Options{Wrap: refuse(statuses)})
	m.fill()
	m.image("team/app", "broken", "broken")
	m.image("team/app", "lost", "lost")
	statuses["/other/tool/"] = 403
	statuses["/manifests/broken"] = 501
	statuses["/manifests/lost"] = 404
	got, err := walk(t, m.connect(4), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.found) != 12 || got.counts.Unreadable != 2 || got.counts.Gone != 2 || got.counts.Repositories != 4 {
		t.Errorf("found %q, %+v", m.shown(got.found), got.counts)
	}
	got, err = walk(t, m.connect(4), "", "team/none", "team/app")
	if err != nil || got.counts.Unreadable != 2 {
		t.Errorf("a repository that was named and is not there: %+v, %v", got.counts, err)
	}
}

// What was found before the registry went away is told; what was not finished is not said
// to be.
func TestWalkOfARegistryThatGoesAway(t *testing.T) {
	gone := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v2/team/multi/tags/") {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	}
	m := openMuseum(t, registrytest.Options{Wrap: gone})
	m.fill()
	got, err := walk(t, m.connect(4), "")
	if err == nil || !strings.Contains(err.Error(), "team/multi") {
		t.Errorf("%v, want an error of team/multi", err)
	}
	if len(got.found) != 7 || slices.Max(got.finished) != "team/app" {
		t.Errorf("found %q, finished %q", m.shown(got.found), got.finished)
	}
}

func TestWalkEnds(t *testing.T) {
	m := openMuseum(t, registrytest.Options{})
	m.fill()
	selection, err := backfill.Select(nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	w := &backfill.Walk{Client: m.connect(2), Selection: selection, Concurrency: 2}
	if err := w.Run(t.Context(), func(context.Context, backfill.Batch) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v, want what emit returned", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w = &backfill.Walk{Client: m.connect(2), Selection: selection, Concurrency: 2}
	if err := w.Run(ctx, func(context.Context, backfill.Batch) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was canceled", err)
	}
}

// The gate holds, however much the walk would do at a time.
func TestConcurrencyIsBounded(t *testing.T) {
	const allowed = 3
	var mu sync.Mutex
	under, most := 0, 0
	full := make(chan struct{})
	release := sync.OnceFunc(func() { close(full) })
	counted := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodHead {
				next.ServeHTTP(w, r)
				return
			}
			mu.Lock()
			under++
			most = max(most, under)
			if under >= allowed {
				release()
			}
			mu.Unlock()
			select {
			case <-full:
			case <-r.Context().Done():
			}
			next.ServeHTTP(w, r)
			mu.Lock()
			under--
			mu.Unlock()
		})
	}
	m := openMuseum(t, registrytest.Options{Wrap: counted})
	for _, repository := range []string{"a", "b", "c"} {
		for n := range 30 {
			tag := fmt.Sprintf("v%d", n)
			m.index(repository, repository+tag, nil, tag)
		}
	}
	selection, err := backfill.Select(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &backfill.Walk{Client: m.connect(allowed), Selection: selection, Concurrency: 16}
	if err := w.Run(t.Context(), func(context.Context, backfill.Batch) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if most != allowed || w.Counts().Tags != 90 {
		t.Errorf("%d at a time, want %d; %+v", most, allowed, w.Counts())
	}
}
