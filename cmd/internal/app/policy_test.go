package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// newPoisoned returns a webhook that never manages what has word in it.
func newPoisoned(t *testing.T, word string) string {
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), word) {
			w.WriteHeader(http.StatusConflict)
		}
	}))
	t.Cleanup(hook.Close)
	return hook.URL
}

// The keys that say what becomes of an event that fails again and again.
func TestEventThatFailsAgainAndAgain(t *testing.T) {
	for _, tt := range []struct {
		name, keys string
		reason     string // of the dead letter; "" if it is parked
	}{
		{"parked", `max_block = "50ms"`, ""},
		{"given up on when it blocks", `max_block = "50ms"` + "\n" + `on_block = "dead_letter"`, "expired"},
		{"given up on by its age", "", "expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			retry := `retry = { initial = "10ms", max = "20ms" }`
			if tt.keys == "" {
				retry = `retry = { initial = "10ms", max = "20ms", max_age = "50ms" }`
			}
			list := "\n[[endpoint]]\nname = \"one\"\nurl = \"" + newPoisoned(t, `"tag":"v1"`) + "\"\n" + retry + "\n" + tt.keys + "\n"
			a := startApp(t, load(t, t.TempDir(), list))
			c := operator(t, a, "")
			poison := notificationstest.Push("team/a", "v1", 1)
			mustSend(t, a, poison, notificationstest.Push("team/a", "v2", 2), notificationstest.Push("team/a", "v3", 3))
			eventually(t, "the others are delivered", func() bool { return status(t, c, "one").Delivered == 2 })
			e := status(t, c, "one")
			letters := must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 10}))(t)
			if tt.reason == "" {
				if e.Parked != 1 || e.Pending != 1 || len(letters) != 0 {
					t.Errorf("%+v and %d dead letters, want the poison parked", e, len(letters))
				}
			} else if len(letters) != 1 || letters[0].EventID != poison.ID || letters[0].Reason != tt.reason || e.Dead != 1 {
				t.Errorf("%+v and %+v, want the poison as a dead letter, %s", e, letters, tt.reason)
			}
			if stored(&e) != 3 {
				t.Errorf("%+v: %d events, want 3", e, stored(&e))
			}
		})
	}
}

func TestDeniedAddress(t *testing.T) {
	r := newReceiver(t)
	for _, keys := range []string{`deny_cidrs = ["127.0.0.0/8"]`, `allow_cidrs = ["192.0.2.0/24"]`} {
		a := startApp(t, load(t, t.TempDir(), endpoint("one", r.URL, keys)))
		c := operator(t, a, "")
		mustSend(t, a, notificationstest.Pushes(1, 1, "team/a")...)
		eventually(t, "the endpoint is blocked", func() bool { return status(t, c, "one").State == "blocked" })
	}
	if n := len(r.received()); n != 0 {
		t.Errorf("%d events came to an address that is denied", n)
	}
}

// When a receiver turns out to reject every event, what was given up on before is pending
// again, and an operator sees why.
func TestStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("an event that is rejected is tried again after 10 s")
	}
	r := newReceiver(t)
	r.answer(http.StatusBadRequest)
	a := startApp(t, load(t, t.TempDir(), endpoint("one", r.URL, "")))
	c := operator(t, a, "")
	mustSend(t, a, notificationstest.Pushes(1, 3, "team/a", "team/b", "team/c")...)
	eventually(t, "they are dead letters", func() bool { return status(t, c, "one").Dead == 3 })
	mustSend(t, a, notificationstest.Pushes(4, 10, "team/a", "team/b", "team/c", "team/d", "team/e", "team/f", "team/g", "team/h", "team/i", "team/j")...)
	eventually(t, "the storm is seen", func() bool { return status(t, c, "one").State == "rejecting" })
	eventually(t, "nothing is given up on", func() bool { e := status(t, c, "one"); return e.Dead == 0 && e.Pending == 13 })
	if letters := must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 10}))(t); len(letters) != 0 {
		t.Errorf("%+v are left", letters)
	}
}
