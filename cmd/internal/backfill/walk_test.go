package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

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

// An answer that always breaks off is of one thing alone.
func TestWalkPassesByWhatBreaksOff(t *testing.T) {
	m := openMuseum(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/team/multi/manifests/") {
				w.Header().Set("Content-Length", "1000")
				return // fewer
			}
			next.ServeHTTP(w, r)
		})
	}})
	m.fill()
	got, err := walk(t, m.connect(2), "")
	if err != nil || got.counts.Unreadable != 1 || got.counts.Repositories != 4 {
		t.Errorf("%+v, %v", got.counts, err)
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

// counting counts the requests that come to a registry.
func counting(asked *atomic.Int64) registrytest.Options {
	return registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			next.ServeHTTP(w, r)
		})
	}}
}

// A manifest that indexes name on many paths is asked for once and found once.
func TestWalkOfIndexesThatRepeat(t *testing.T) {
	var asked atomic.Int64
	m := openMuseum(t, counting(&asked))
	d := m.image("team/app", "image")
	for _, name := range []string{"low", "middle", "high"} {
		d = m.index("team/app", name, slices.Repeat([]v1.Descriptor{d}, 20))
	}
	m.index("team/app", "top", []v1.Descriptor{d, d}, "v1")
	asked.Store(0)
	got, err := walk(t, m.connect(4), "", "team/app")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"team/app image", "team/app low", "team/app middle", "team/app high", "team/app top", "team/app:v1 top"}
	if diff := cmp.Diff(want, m.shown(got.found)); diff != "" || got.counts.Unreadable != 0 {
		t.Errorf("%+v (-want +got):\n%s", got.counts, diff)
	}
	if n := asked.Load(); n > 12 {
		t.Errorf("%d requests for 5 manifests and a tag", n)
	}
}

// The bound is on all that is below a tagged index, not on each level; another tag has
// its own.
func TestWalkBoundsWhatIsBelowAnIndex(t *testing.T) {
	var asked atomic.Int64
	m := openMuseum(t, counting(&asked))
	var inner []v1.Descriptor
	for i := range 4 {
		children := make([]v1.Descriptor, 400)
		for k := range children {
			children[k] = v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i, k)), Size: 7}
		}
		inner = append(inner, m.index("team/app", fmt.Sprint("inner", i), children))
	}
	m.index("team/app", "vast", inner, "a")
	m.index("team/app", "small", []v1.Descriptor{m.image("team/app", "image")}, "b")
	asked.Store(0)
	got, err := walk(t, m.connect(4), "", "team/app")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"team/app inner0", "team/app inner1", "team/app inner2", "team/app vast", "team/app:a vast",
		"team/app image", "team/app small", "team/app:b small",
	}
	if diff := cmp.Diff(want, m.shown(got.found)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	// Of 1000, 3 are inner indexes that are there; the rest of the last one of them and of
	// the outer one is not looked at.
	if got.counts.Gone != 997 || got.counts.Unreadable != 2 {
		t.Errorf("%+v, want 997 gone and 2 unreadable", got.counts)
	}
	if n := asked.Load(); n > 1020 {
		t.Errorf("%d requests", n)
	}
}

// What is below too many levels of indexes is counted.
func TestWalkBoundsLevels(t *testing.T) {
	m := openMuseum(t, registrytest.Options{})
	d := m.image("team/app", "image")
	for i := range 6 {
		d = m.index("team/app", fmt.Sprint("level", i), []v1.Descriptor{d})
	}
	m.index("team/app", "top", []v1.Descriptor{d}, "v1")
	got, err := walk(t, m.connect(4), "", "team/app")
	want := []string{"team/app level2", "team/app level3", "team/app level4", "team/app level5", "team/app top", "team/app:v1 top"}
	if diff := cmp.Diff(want, m.shown(got.found)); diff != "" || err != nil || got.counts.Unreadable != 1 {
		t.Errorf("%+v, %v (-want +got):\n%s", got.counts, err, diff)
	}
}
