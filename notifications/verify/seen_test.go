package verify_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/verify"
)

func events(ids string) (list []*notifications.Event) {
	for _, id := range strings.Fields(ids) {
		list = append(list, &notifications.Event{ID: id})
	}
	return list
}

func ids(list []*notifications.Event) string {
	var all []string
	for _, e := range list {
		all = append(all, e.ID)
	}
	return strings.Join(all, " ")
}

func TestSeen(t *testing.T) {
	failed := errors.New("failed")
	seen := verify.NewSeen(3)
	for i, step := range []struct {
		events, work string // work "": not called
		err          error
	}{
		{"a b a", "a b", nil},
		{"a b", "", nil},
		{"b c", "c", failed}, // is not remembered
		{"b c", "c", nil},
		{"d", "d", nil}, // a is forgotten
		{"c b d", "", nil},
		{"a", "a", nil},
		{"c d a", "", nil},
		{"v w x y z", "v w x y z", nil},
		{"x y z", "", nil},
		{"v", "v", nil},
		{"", "", nil},
	} {
		got := ""
		err := seen.Do(events(step.events), func(fresh []*notifications.Event) error {
			got = ids(fresh)
			clear(fresh)
			return step.err
		})
		if got != step.work || err != step.err {
			t.Errorf("step %d: work on %q, %v; want %q, %v", i, got, err, step.work, step.err)
		}
	}
	if seen.Len() != 3 {
		t.Errorf("remembers %d, want 3", seen.Len())
	}
	seen = verify.NewSeen(3)
	seen.Add("a")
	seen.Add("a")
	seen.Add("b")
	if err := seen.Do(events("a b c"), func(fresh []*notifications.Event) error {
		if ids(fresh) != "c" {
			t.Errorf("work on %q, want c", ids(fresh))
		}
		return nil
	}); err != nil || seen.Len() != 3 {
		t.Errorf("%v, remembers %d", err, seen.Len())
	}
	if seen := verify.NewSeen(-1); seen.Do(events("a b"), func([]*notifications.Event) error { return nil }) != nil || seen.Len() != 1 {
		t.Errorf("of at most -1: remembers %d, want 1", seen.Len())
	}
}

// TestSeenAtOnce: work is done once, whoever comes at the same time.
func TestSeenAtOnce(t *testing.T) {
	seen := verify.NewSeen(10)
	var done []string // guarded by Do
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := seen.Do(events("a b"), func(fresh []*notifications.Event) error {
				done = append(done, ids(fresh))
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if !slices.Equal(done, []string{"a b"}) {
		t.Errorf("work: %q", done)
	}
}
