package app_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// numbers are those of the sample events in a listing.
func numbers(list []admin.Event) []int {
	var all []int
	for _, e := range list {
		all = append(all, notificationstest.Number(&notifications.Event{ID: e.ID}))
	}
	return all
}

func TestEvents(t *testing.T) {
	a := startApp(t, load(t, t.TempDir(), endpoint("one", newReceiver(t).URL, "")))
	c := operator(t, a, "")
	events := notificationstest.Pushes(1, 6, "team/a", "team/b")
	mustSend(t, a, events...)
	for _, tt := range []struct {
		name string
		q    admin.EventQuery
		want []int
	}{
		{"all, newest first", admin.EventQuery{Limit: 10}, []int{6, 5, 4, 3, 2, 1}},
		{"a page", admin.EventQuery{Limit: 2, After: 4}, []int{3, 2}},
		{"a repository", admin.EventQuery{Limit: 10, Selection: admin.Selection{Repository: "*/a"}}, []int{6, 4, 2}},
		{"by id", admin.EventQuery{Limit: 10, Selection: admin.Selection{IDs: []string{events[0].ID, "none", events[3].ID}}}, []int{4, 1}},
		{"by id, of a repository", admin.EventQuery{Limit: 10, Selection: admin.Selection{
			IDs: []string{events[0].ID, events[3].ID}, Repository: "team/a"}}, []int{4}},
		{"nothing", admin.EventQuery{Limit: 10, Selection: admin.Selection{Action: "delete"}}, nil},
	} {
		if diff := cmp.Diff(tt.want, numbers(must(c.Events(t.Context(), tt.q))(t))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if _, err := c.Events(t.Context(), admin.EventQuery{Limit: 1, Selection: admin.Selection{Repository: "***"}}); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("a bad glob: %v, want ErrInvalid", err)
	}
	if _, err := c.Event(t.Context(), "none"); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("an id of no event: %v, want ErrNotFound", err)
	}
}

// An event's story says what became of it for each endpoint, and of every request with it.
func TestStory(t *testing.T) {
	dir, good, bad := t.TempDir(), newReceiver(t), newReceiver(t)
	bad.answer(http.StatusUnprocessableEntity)
	list := endpoint("delivers", good.URL, "") + endpoint("filters", good.URL, `filter = { actions = ["delete"] }`) +
		endpoint("refuses", bad.URL, "drop_on = [422]") + endpoint("waits", good.URL, "disabled = true")
	a := startApp(t, load(t, dir, list))
	c := operator(t, a, "")
	e := notificationstest.Pushes(1, 1, "team/a")[0]
	mustSend(t, a, e)
	eventually(t, "it is settled", func() bool {
		return status(t, c, "delivers").Delivered == 1 && status(t, c, "filters").Filtered == 1 && status(t, c, "refuses").Dead == 1
	})
	if err := reload(t, a, dir, list+endpoint("young", good.URL, "")); err != nil {
		t.Fatal(err)
	}
	story := must(c.Event(t.Context(), e.ID))(t)
	states := make(map[string]string)
	for _, p := range story.Places {
		states[p.Endpoint] = p.State
		if (p.Dead != 0) != (p.State == "dead") {
			t.Errorf("%+v: a dead letter, or none", p)
		}
	}
	want := map[string]string{"delivers": "delivered", "filters": "filtered", "refuses": "dead", "waits": "pending", "young": "before"}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
	tried := make(map[string]int)
	for _, at := range story.Attempts {
		tried[at.Endpoint] = at.Status
	}
	if diff := cmp.Diff(map[string]int{"delivers": 200, "refuses": 422}, tried); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if got := must(notifications.ParseEvent(string(story.Raw)))(t); got.ID != e.ID {
		t.Errorf("the story is about event %s, want %s", got.ID, e.ID)
	}
}

// Failures are remembered alone where the configuration says so.
func TestHistoryOfFailures(t *testing.T) {
	r := newReceiver(t)
	a := startApp(t, load(t, t.TempDir(), "[engine]\nhistory = \"failures\"\n"+endpoint("one", r.URL, "")))
	c := operator(t, a, "")
	r.answer(http.StatusServiceUnavailable)
	e := notificationstest.Pushes(1, 1, "team/a")[0]
	mustSend(t, a, e)
	eventually(t, "it was tried", func() bool { return status(t, c, "one").LastError != "" })
	r.answer(http.StatusOK)
	steer(t, c, "one", admin.Resume)
	r.wait(t, 1)
	eventually(t, "it is delivered", func() bool { return status(t, c, "one").Delivered == 1 })
	for _, at := range must(c.Event(t.Context(), e.ID))(t).Attempts {
		if at.Status != http.StatusServiceUnavailable {
			t.Errorf("%+v is remembered, which is no failure", at)
		}
	}
}

// Without a history it is still known what is pending and what is not.
func TestStoryWithoutHistory(t *testing.T) {
	a := startApp(t, load(t, t.TempDir(), "[engine]\nhistory = \"off\"\n"+endpoint("one", newPoisoned(t, `"tag":"v1"`), "")))
	c := operator(t, a, "")
	stuck, gone := notificationstest.Push("team/a", "v1", 1), notificationstest.Push("team/b", "v2", 2)
	mustSend(t, a, stuck, gone)
	eventually(t, "one is delivered", func() bool { return status(t, c, "one").Delivered == 1 })
	for id, want := range map[string]string{stuck.ID: "pending", gone.ID: "settled"} {
		story := must(c.Event(t.Context(), id))(t)
		if len(story.Places) != 1 || story.Places[0].State != want || len(story.Attempts) != 0 {
			t.Errorf("%+v and %d attempts, want %s and none", story.Places, len(story.Attempts), want)
		}
	}
}

// The engine that forgets at a restart answers operators all the same.
func TestOperatorOfMemory(t *testing.T) {
	r := newReceiver(t)
	a := startApp(t, load(t, t.TempDir(), "[engine]\nkind = \"memory\"\n"+endpoint("one", r.URL, "")))
	c := operator(t, a, "")
	events := notificationstest.Pushes(1, 2, "team/a")
	mustSend(t, a, events...)
	r.wait(t, 2)
	eventually(t, "all is settled", func() bool { return status(t, c, "one").Delivered == 2 })
	story := must(c.Event(t.Context(), events[0].ID))(t)
	if len(story.Attempts) != 1 || len(story.Places) != 1 || story.Places[0].State != "delivered" {
		t.Errorf("%+v, want a delivered event", story)
	}
	out := must(c.Replay(t.Context(), admin.ReplayRequest{Endpoint: "one", All: true}))(t)
	if j := finished(t, c, out.Job.ID); j.State != admin.JobDone || j.Delivered != 2 {
		t.Errorf("%+v, want two delivered", j)
	}
	steer(t, c, "one", admin.Pause)
	if log := must(c.Log(t.Context(), admin.LogQuery{Limit: 10}))(t); len(log) != 2 || log[0].Action != "pause" {
		t.Errorf("%+v, want the two operations", log)
	}
}

func TestStream(t *testing.T) {
	a := startApp(t, load(t, t.TempDir(), ""))
	c := operator(t, a, "")
	mustSend(t, a, notificationstest.Pushes(1, 2, "team/a")...)
	for _, tt := range []struct {
		name string
		q    admin.EventQuery
		want []int // of events 1 and 2, stored before, and 3 to 6, stored then
	}{
		{"from now on", admin.EventQuery{Limit: 4}, []int{3, 4, 5, 6}},
		{"after a sequence", admin.EventQuery{Limit: 5, After: 1}, []int{2, 3, 4, 5, 6}},
		{"of a repository", admin.EventQuery{Limit: 2, Selection: admin.Selection{Repository: "team/b"}}, []int{3, 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := startApp(t, load(t, t.TempDir(), ""))
			c := operator(t, a, "")
			mustSend(t, a, notificationstest.Pushes(1, 2, "team/a")...)
			events := must(c.Stream(t.Context(), tt.q))(t)
			for i := range 4 {
				mustSend(t, a, notificationstest.Pushes(3, 4, "team/a", "team/b")[i])
			}
			var got []admin.Event
			for e, err := range events {
				if err != nil {
					t.Fatal(err)
				}
				if len(e.Raw) == 0 {
					t.Errorf("event %s has no JSON", e.ID)
				}
				got = append(got, e)
			}
			if diff := cmp.Diff(tt.want, numbers(got)); diff != "" {
				t.Errorf("stream (-want +got):\n%s", diff)
			}
		})
	}
	// A stream ends when the dispatcher stops, and does not hold it up.
	events := must(c.Stream(t.Context(), admin.EventQuery{}))(t)
	shutdown(t, a)
	for e, err := range events {
		if err == nil {
			t.Errorf("event %s came from a dispatcher that has stopped", e.ID)
		}
	}
}
