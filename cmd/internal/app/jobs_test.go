package app_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// finished waits for the end of a job.
func finished(t *testing.T, c *client.Client, id string) (j admin.Job) {
	t.Helper()
	eventually(t, "job "+id+" has ended", func() bool {
		j = must(c.Job(t.Context(), id))(t)
		return j.State != admin.JobRunning
	})
	if j.Ended.IsZero() || j.Ended.Before(j.Created) {
		t.Errorf("%+v: it ended before it began", j)
	}
	return j
}

func TestReplay(t *testing.T) {
	r, dir := newReceiver(t), t.TempDir()
	a := startApp(t, load(t, dir, endpoint("one", r.URL, `filter = { repositories = ["team/a", "team/b"] }`)))
	c := operator(t, a, "")
	events := notificationstest.Pushes(1, 6, "team/a", "team/b", "other")
	mustSend(t, a, events...)
	r.wait(t, 4)
	for _, tt := range []struct {
		name         string
		r            admin.ReplayRequest
		count, total uint64
		want         []int
	}{
		{"all", admin.ReplayRequest{All: true}, 6, 6, []int{1, 3, 4, 6}},
		{"by id", admin.ReplayRequest{Selection: admin.Selection{IDs: []string{events[0].ID, events[3].ID}}}, 2, 4, []int{1, 4}},
		{"by repository", admin.ReplayRequest{Selection: admin.Selection{Repository: "team/a"}}, 2, 4, []int{3, 6}},
		{"the oldest", admin.ReplayRequest{All: true, Limit: 3}, 3, 3, []int{1, 3}},
		{"with a rate", admin.ReplayRequest{Selection: admin.Selection{Repository: "team/b"}, Rate: 1000}, 2, 4, []int{1, 4}},
		{"nothing", admin.ReplayRequest{Selection: admin.Selection{Action: "delete"}}, 0, 0, nil},
	} {
		before := len(r.received())
		tt.r.Endpoint = "one"
		tt.r.DryRun = true
		if out := must(c.Replay(t.Context(), tt.r))(t); out.Count != tt.count || out.Job != nil {
			t.Errorf("%s, dry run: %+v, want a count of %d", tt.name, out, tt.count)
		}
		tt.r.DryRun = false
		out := must(c.Replay(t.Context(), tt.r))(t)
		if out.Job != nil {
			j := finished(t, c, out.Job.ID)
			if j.State != admin.JobDone || j.Kind != "replay" || j.Total != tt.total || j.Done != j.Total || j.Delivered != uint64(len(tt.want)) || j.Rate != tt.r.Rate {
				t.Errorf("%s: %+v, want %d of %d delivered", tt.name, j, len(tt.want), tt.total)
			}
		} else if tt.count > 0 {
			t.Errorf("%s: no job", tt.name)
		}
		var got []int
		for _, id := range r.received()[before:] {
			got = append(got, notificationstest.Number(&notifications.Event{ID: id}))
		}
		slices.Sort(got)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: delivered (-want +got):\n%s", tt.name, diff)
		}
	}
	if e := status(t, c, "one"); stored(&e) != 6 || e.Delivered != 4 {
		t.Errorf("%+v: a replay changed what became of events", e)
	}
	if list := must(c.Endpoints(t.Context()))(t); len(list) != 1 {
		t.Errorf("%+v, want the one endpoint", list)
	}
	shutdown(t, a)
	c = operator(t, startApp(t, load(t, dir, endpoint("one", r.URL, ""))), "")
	if jobs := must(c.Jobs(t.Context()))(t); len(jobs) != 5 || jobs[0].ID != "job5" || jobs[0].State != admin.JobDone {
		t.Errorf("%+v, want the five jobs of before the restart", jobs)
	}
}

// A stubborn consumer accepts what is new, and what a job sends only when told to.
type stubborn struct {
	*receiver
	mu      sync.Mutex
	accepts bool
	jobs    map[string]bool // that have asked
}

func (s *stubborn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	job := r.Header.Get("Regcast-Replay")
	if job != "" {
		s.jobs[job] = true
	}
	accepts := s.accepts || job == ""
	s.mu.Unlock()
	if !accepts {
		w.WriteHeader(http.StatusConflict) // the event's own trouble: no hold
		return
	}
	s.receiver.ServeHTTP(w, r)
}

func (s *stubborn) accept() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepts = true
}

func (s *stubborn) asked(job string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs[job]
}

func newStubborn(t *testing.T) (*stubborn, string) {
	s := &stubborn{receiver: newReceiver(t), jobs: make(map[string]bool)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

// A job goes on after a restart and a reload, and beside what is new.
func TestJobSurvives(t *testing.T) {
	for _, kind := range []string{"replay", "dead"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			s, url := newStubborn(t)
			one := endpoint("one", url, "drop_on = [422]")
			a := startApp(t, load(t, dir, one))
			c := operator(t, a, "")
			if kind == "dead" {
				s.answer(http.StatusUnprocessableEntity)
			}
			mustSend(t, a, notificationstest.Pushes(1, 3, "team/a")...)
			eventually(t, "all is settled", func() bool { return status(t, c, "one").Pending == 0 })
			s.answer(http.StatusOK)
			had := len(s.received())

			var out admin.Outcome
			if kind == "dead" {
				steer(t, c, "one", admin.Pause) // what is refused out of order is not tried again for minutes
				out = must(c.ReplayDead(t.Context(), admin.DeadRequest{All: true, Rate: 1000}))(t)
			} else {
				out = must(c.Replay(t.Context(), admin.ReplayRequest{Endpoint: "one", All: true}))(t)
				eventually(t, "the job has asked", func() bool { return s.asked(out.Job.ID) })
			}
			if err := reload(t, a, dir, endpoint("one", url, "drop_on = [422]\nconcurrency = 2")); err != nil {
				t.Fatal(err)
			}
			shutdown(t, a)
			a = startApp(t, load(t, dir, one))
			c = operator(t, a, "")
			if j := must(c.Job(t.Context(), out.Job.ID))(t); j.State != admin.JobRunning || j.Total != 3 || j.Done != 0 {
				t.Errorf("%+v, want a job that goes on", j)
			}
			mustSend(t, a, notificationstest.Pushes(4, 1, "team/a")...)
			if kind == "replay" {
				s.wait(t, had+1)
			}
			s.accept()
			steer(t, c, "one", admin.Resume)
			s.wait(t, had+4)
			if j := finished(t, c, out.Job.ID); j.State != admin.JobDone || j.Done != 3 || j.Delivered != 3 {
				t.Errorf("%+v, want three delivered", j)
			}
		})
	}
}

func TestCancelJob(t *testing.T) {
	s, url := newStubborn(t)
	a := startApp(t, load(t, t.TempDir(), endpoint("one", url, "")))
	c := operator(t, a, "")
	mustSend(t, a, notificationstest.Pushes(1, 2, "team/a")...)
	s.wait(t, 2)
	out := must(c.Replay(t.Context(), admin.ReplayRequest{Endpoint: "one", All: true}))(t)
	eventually(t, "the job has asked", func() bool { return s.asked(out.Job.ID) })
	for range 2 {
		if j := must(c.CancelJob(t.Context(), out.Job.ID))(t); j.State != admin.JobCanceled || j.Done != 0 || j.Total != 2 {
			t.Errorf("%+v, want a canceled job", j)
		}
	}
	s.accept()
	mustSend(t, a, notificationstest.Pushes(3, 1, "team/a")...)
	s.wait(t, 3)
	if n := len(s.received()); n != 3 {
		t.Errorf("%d events were accepted, want the three that were new", n)
	}
	if _, err := c.CancelJob(t.Context(), "job9"); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("another job: %v, want ErrNotFound", err)
	}
}

// A job ends with its endpoint, be it while the dispatcher does not run.
func TestJobOfRemovedEndpoint(t *testing.T) {
	for _, restart := range []bool{false, true} {
		dir := t.TempDir()
		s, url := newStubborn(t)
		a := startApp(t, load(t, dir, endpoint("one", url, "")))
		c := operator(t, a, "")
		mustSend(t, a, notificationstest.Pushes(1, 2, "team/a")...)
		s.wait(t, 2)
		out := must(c.Replay(t.Context(), admin.ReplayRequest{Endpoint: "one", All: true}))(t)
		eventually(t, "the job has asked", func() bool { return s.asked(out.Job.ID) })
		if restart {
			shutdown(t, a)
			c = operator(t, startApp(t, load(t, dir, "")), "")
		} else if err := reload(t, a, dir, ""); err != nil {
			t.Fatal(err)
		}
		if j := finished(t, c, out.Job.ID); j.State != admin.JobFailed || j.Error == "" {
			t.Errorf("restart %t: %+v, want a failed job", restart, j)
		}
		if _, err := c.Replay(t.Context(), admin.ReplayRequest{Endpoint: "one", All: true}); !errors.Is(err, admin.ErrConflict) {
			t.Errorf("a replay to a removed endpoint: %v, want ErrConflict", err)
		}
	}
}
