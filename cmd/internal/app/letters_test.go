package app_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// rejects starts an app whose endpoint one has rejected n events for good.
func rejects(t *testing.T, n int) (*app.App, *client.Client, *receiver) {
	t.Helper()
	r := newReceiver(t)
	r.answer(http.StatusUnprocessableEntity)
	a := startApp(t, load(t, t.TempDir(), endpoint("one", r.URL, "drop_on = [422]")))
	c := operator(t, a, "")
	mustSend(t, a, notificationstest.Pushes(1, n, "team/a", "team/b")...)
	eventually(t, "all are dead letters", func() bool { return status(t, c, "one").Dead == uint64(n) })
	return a, c, r
}

func TestDeadLetters(t *testing.T) {
	_, c, _ := rejects(t, 4)
	letters := must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 10}))(t)
	if len(letters) != 4 {
		t.Fatalf("%d dead letters, want 4", len(letters))
	}
	d := must(c.DeadLetter(t.Context(), letters[1].ID))(t)
	if d.Endpoint != "one" || d.Reason != "rejected" || d.Repository != letters[1].Repository || d.Status != 422 ||
		d.Attempts != 1 || d.Count != 1 || len(d.Raw) == 0 || d.Buried.IsZero() {
		t.Errorf("%+v, want what there is to know of it", d)
	}
	for _, tt := range []struct {
		name string
		s    admin.DeadSelection
		want int
	}{
		{"of the endpoint", admin.DeadSelection{Endpoint: "one"}, 4},
		{"of another", admin.DeadSelection{Endpoint: "two"}, 0},
		{"by reason", admin.DeadSelection{Reason: "expired"}, 0},
		{"by repository", admin.DeadSelection{Repository: "team/a"}, 2},
		{"by id", admin.DeadSelection{IDs: []uint64{letters[0].ID, 1 << 40}}, 1},
	} {
		if got := must(c.DeadLetters(t.Context(), admin.DeadQuery{DeadSelection: tt.s, Limit: 10}))(t); len(got) != tt.want {
			t.Errorf("%s: %d dead letters, want %d", tt.name, len(got), tt.want)
		}
		out := must(c.DropDead(t.Context(), admin.DeadRequest{DeadSelection: tt.s, DryRun: true}))(t)
		if out.Count != uint64(tt.want) || out.Done != 0 {
			t.Errorf("%s: %+v, want a count of %d", tt.name, out, tt.want)
		}
	}
	if _, err := c.DeadLetters(t.Context(), admin.DeadQuery{DeadSelection: admin.DeadSelection{Repository: "***"}, Limit: 1}); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("a bad glob: %v, want ErrInvalid", err)
	}
	out := must(c.DropDead(t.Context(), admin.DeadRequest{DeadSelection: admin.DeadSelection{Repository: "team/b"}}))(t)
	if out.Count != 2 || out.Done != 2 {
		t.Errorf("%+v, want two dropped", out)
	}
	if left := must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 10}))(t); len(left) != 2 || left[0].Repository != "team/a" {
		t.Errorf("%+v are left, want the two of team/a", left)
	}
	if e := status(t, c, "one"); stored(&e) != 4 || e.Dead != 4 {
		t.Errorf("%+v: dropping dead letters changed what became of events", e)
	}
}

// Dead letters without a rate are pending again; those with one are delivered by a job.
func TestReplayDead(t *testing.T) {
	for _, tt := range []struct {
		name string
		rate float64
		dead uint64 // of the endpoint's totals
	}{{"revived", 0, 1}, {"as a job", 1000, 4}} {
		t.Run(tt.name, func(t *testing.T) {
			_, c, r := rejects(t, 4)
			r.answer(http.StatusOK)
			letters := must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 10}))(t)
			request := admin.DeadRequest{Rate: tt.rate, DeadSelection: admin.DeadSelection{
				IDs: []uint64{letters[0].ID, letters[1].ID, letters[3].ID}}}
			request.DryRun = true
			if out := must(c.ReplayDead(t.Context(), request))(t); out.Count != 3 || out.Done != 0 || out.Job != nil {
				t.Errorf("dry run: %+v, want a count of 3", out)
			}
			request.DryRun = false
			out := must(c.ReplayDead(t.Context(), request))(t)
			if out.Count != 3 || (out.Job != nil) != (tt.rate > 0) || out.Job == nil && out.Done != 3 {
				t.Errorf("%+v, want 3", out)
			}
			r.wait(t, 3)
			eventually(t, "their letters have gone", func() bool {
				return len(must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 10}))(t)) == 1
			})
			if out.Job != nil {
				j := finished(t, c, out.Job.ID)
				if j.State != admin.JobDone || j.Kind != "dead" || j.Total != 3 || j.Done != 3 || j.Delivered != 3 || j.Dead != 0 {
					t.Errorf("%+v, want three delivered", j)
				}
			}
			eventually(t, "all is settled", func() bool { return status(t, c, "one").Pending == 0 })
			if e := status(t, c, "one"); e.Dead != tt.dead || stored(&e) != 4 {
				t.Errorf("%+v, want %d dead of 4", e, tt.dead)
			}
			if got := len(slices.Compact(slices.Sorted(slices.Values(r.received())))); got != 3 {
				t.Errorf("%d different events were received, want 3", got)
			}
		})
	}
}

// What a job cannot deliver either stays a dead letter.
func TestReplayDeadInVain(t *testing.T) {
	_, c, _ := rejects(t, 2)
	out := must(c.ReplayDead(t.Context(), admin.DeadRequest{All: true, Rate: 1000}))(t)
	j := finished(t, c, out.Job.ID)
	if j.State != admin.JobDone || j.Done != 2 || j.Delivered != 0 || j.Dead != 2 {
		t.Errorf("%+v, want two given up on", j)
	}
	if left := must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 10}))(t); len(left) != 2 {
		t.Errorf("%d dead letters are left, want 2", len(left))
	}
}

// What a replay cannot deliver is a dead letter of its endpoint, beside those of before.
func TestDeadLettersOfJobs(t *testing.T) {
	_, c, r := rejects(t, 2)
	out := must(c.Replay(t.Context(), admin.ReplayRequest{Endpoint: "one", All: true}))(t)
	if j := finished(t, c, out.Job.ID); j.State != admin.JobDone || j.Done != 2 || j.Delivered != 0 || j.Dead != 2 {
		t.Errorf("%+v, want two given up on", j)
	}
	mine := admin.DeadSelection{Endpoint: "one"}
	if all := must(c.DeadLetters(t.Context(), admin.DeadQuery{DeadSelection: mine, Limit: 10}))(t); len(all) != 4 || all[3].Endpoint != "one" {
		t.Fatalf("%+v, want four dead letters of the endpoint", all)
	}
	r.answer(http.StatusOK)
	out = must(c.ReplayDead(t.Context(), admin.DeadRequest{DeadSelection: mine}))(t)
	if out.Count != 4 || out.Done != 2 || out.Job == nil {
		t.Fatalf("%+v, want two pending again and a job for the others", out)
	}
	if j := finished(t, c, out.Job.ID); j.Kind != "dead" || j.Delivered != 2 {
		t.Errorf("%+v, want two delivered", j)
	}
	r.wait(t, 4)
	eventually(t, "all is settled", func() bool { return status(t, c, "one").Delivered == 2 })
	if left := must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 10}))(t); len(left) != 0 {
		t.Errorf("%+v are left", left)
	}
}
