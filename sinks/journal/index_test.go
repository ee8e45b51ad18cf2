package journal_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// TestLookup finds events by id, repository and time, the same before the indexes are
// built, after, and after a restart in between.
func TestLookup(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		j := mustOpen(t, dir, nil)
		const count = 120
		var noon time.Time
		for n := 0; n < count; n += 4 {
			if n == 60 {
				time.Sleep(time.Minute)
				noon = time.Now()
				time.Sleep(time.Second)
			}
			if err := j.Write(ctx, notificationstest.Pushes(n, 4, "team/a", "team/b", "team/c")); err != nil {
				t.Fatal(err)
			}
		}
		checkLookup(t, j, count, noon)
		mustShutdown(t, j) // before or in the middle of it, as it happens
		j = mustOpen(t, dir, nil)
		checkLookup(t, j, count, noon)
		time.Sleep(time.Second)
		checkLookup(t, j, count, noon)
		if err := j.Write(ctx, notificationstest.Pushes(count, 4, "team/a", "team/b", "team/c")); err != nil {
			t.Fatal(err)
		}
		checkLookup(t, j, count+4, noon)
		mustShutdown(t, j)
	})
	sqlExec(t, dir, "CREATE TEMP TABLE must_be_indexed (n INTEGER CHECK (n > 100)); INSERT INTO must_be_indexed SELECT count(*) FROM by_id; INSERT INTO must_be_indexed SELECT 60 + count(*) FROM by_repository")
}

func checkLookup(t *testing.T, j *journal.Journal, count int, noon time.Time) {
	t.Helper()
	ctx := context.Background()
	all := notificationstest.Pushes(0, count, "team/a", "team/b", "team/c")
	for n := 0; n < count; n += 7 {
		d, err := j.Event(ctx, all[n].ID)
		if err != nil || d.Event.ID != all[n].ID || d.Sequence != uint64(n+1) || d.Stored.IsZero() {
			t.Errorf("event %d: %+v, %v", n, d, err)
		}
	}
	if _, err := j.Event(ctx, "no such id"); !errors.Is(err, sinks.ErrNotFound) {
		t.Errorf("an unknown id: %v", err)
	}
	for name, c := range map[string]struct {
		q    sinks.EventQuery
		want func(n int, e *notifications.Event) bool
	}{
		"all":        {sinks.EventQuery{}, func(int, *notifications.Event) bool { return true }},
		"repository": {sinks.EventQuery{Repository: "team/b"}, func(_ int, e *notifications.Event) bool { return e.Repository == "team/b" }},
		"nobody's":   {sinks.EventQuery{Repository: "team/z"}, func(int, *notifications.Event) bool { return false }},
		"since":      {sinks.EventQuery{Since: noon}, func(n int, _ *notifications.Event) bool { return n >= 60 }},
		"until":      {sinks.EventQuery{Until: noon}, func(n int, _ *notifications.Event) bool { return n < 60 }},
		"both":       {sinks.EventQuery{Repository: "team/c", Since: noon, Until: noon.Add(time.Minute)}, func(n int, e *notifications.Event) bool { return n >= 60 && e.Repository == "team/c" }},
		"after":      {sinks.EventQuery{After: 50}, func(n int, _ *notifications.Event) bool { return n < 49 }},
		"pattern":    {sinks.EventQuery{Repository: "*/b", Limit: 7}, func(_ int, e *notifications.Event) bool { return e.Repository == "team/b" }},
		"in pages":   {sinks.EventQuery{Repository: "team/b", Limit: 7}, func(_ int, e *notifications.Event) bool { return e.Repository == "team/b" }},
	} {
		got := searchAll(t, j, c.q)
		c.q.OldestFirst = true
		if c.q.After == 0 {
			backward := searchAll(t, j, c.q)
			slices.Reverse(backward)
			if diff := cmp.Diff(sequences(got), sequences(backward)); diff != "" {
				t.Errorf("%s: oldest first is not the reverse (-newest first +oldest first):\n%s", name, diff)
			}
		}
		for n := count - 1; n >= 0; n-- {
			if !c.want(n, all[n]) {
				continue
			}
			if len(got) == 0 || got[0].Event.ID != all[n].ID {
				t.Errorf("%s: event %d is missing", name, n)
				break
			}
			got = got[1:]
		}
		if len(got) > 0 {
			t.Errorf("%s: %d events too many, the first is %s", name, len(got), got[0].Event.ID)
		}
	}
}

// searchAll follows the pages of a search.
func searchAll(t *testing.T, j *journal.Journal, q sinks.EventQuery) (all []sinks.Delivery) {
	t.Helper()
	for {
		page, err := j.Events(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		if q.Limit > 0 && len(page.Events) > q.Limit {
			t.Errorf("%d events on a page of %d", len(page.Events), q.Limit)
		}
		all = append(all, page.Events...)
		if q.After = page.Next; page.Next == 0 {
			return all
		}
	}
}

func sequences(ds []sinks.Delivery) (list []uint64) {
	for _, d := range ds {
		list = append(list, d.Sequence)
	}
	return list
}
