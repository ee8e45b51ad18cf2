package app_test

import (
	"net/http"
	"testing"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// TestStormOfTenThousand has a receiver that rejects everything there is, a few events at
// first. No more of them become dead letters than it takes to see what it is, those are
// pending again then, also for a restart in the middle, and all is delivered in the end.
func TestStormOfTenThousand(t *testing.T) {
	t.Parallel() // an event that is rejected is tried again after 10 s
	const envelopes, each, most = 100, 100, 20
	r, dir := newReceiver(t), t.TempDir()
	r.answer(http.StatusBadRequest)
	a := startApp(t, load(t, dir, endpoint("one", r.URL, "")))
	c := operator(t, a, "")
	first := notificationstest.Pushes(envelopes*each, 3, "old/a", "old/b", "old/c")
	mustSend(t, a, first...)
	eventually(t, "they are dead letters", func() bool { return status(t, c, "one").Dead == uint64(len(first)) })
	if reasons := buried(t, a, "one"); len(reasons) != len(first) || reasons[first[0].ID] != "rejected" {
		t.Errorf("dead letters %v, want the first events", reasons)
	}

	sent := make(map[string]string)
	for _, e := range first {
		sent[e.ID] = e.Repository
	}
	for i := range envelopes {
		events := notificationstest.Pushes(i*each, each, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
		for _, e := range events {
			sent[e.ID] = e.Repository
		}
		mustSend(t, a, events...)
	}
	eventually(t, "the storm is seen and nothing is dead", func() bool {
		e := status(t, c, "one")
		if e.Dead > most || stored(&e) != uint64(len(sent)) {
			t.Errorf("%+v, want at most %d dead, and %d in all", e, most, len(sent))
		}
		return e.State == "rejecting" && e.Dead == 0
	})
	if got := account(t, a, "one", len(sent)); got["pending"] != len(sent) || len(buried(t, a, "one")) != 0 {
		t.Errorf("%v in the storm, want everything pending", got)
	}
	shutdown(t, a)

	a = startApp(t, load(t, dir, endpoint("one", r.URL, "batch = { max_events = 100 }")))
	c = operator(t, a, "")
	if e := status(t, c, "one"); e.State != "rejecting" || e.Pending != uint64(len(sent)) {
		t.Errorf("after a restart %+v, want the storm to go on", e)
	}
	r.answer(http.StatusOK)
	steer(t, c, "one", admin.Resume)
	r.wait(t, len(sent))
	eventually(t, "all is settled", func() bool { return status(t, c, "one").Pending == 0 })
	if got := account(t, a, "one", len(sent)); got["delivered"] != len(sent) {
		t.Errorf("%v, want everything delivered", got)
	}
	checkOrder(t, sent, r.received())
}
