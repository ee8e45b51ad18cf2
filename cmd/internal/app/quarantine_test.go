package app_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// sendBody posts what no registry would.
func sendBody(t *testing.T, a *app.App, contentType, body string) {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Post("http://"+a.IntakeAddr()+"/events", contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, _ = io.Copy(io.Discard, resp.Body); resp.StatusCode != http.StatusAccepted {
		t.Fatalf("POST answered %d, want 202", resp.StatusCode)
	}
}

func TestQuarantine(t *testing.T) {
	r := newReceiver(t)
	a := startApp(t, load(t, t.TempDir(), endpoint("one", r.URL, "")))
	c := operator(t, a, "")
	sendBody(t, a, "application/json", "{broken")
	good := string(notifications.AppendEnvelope(nil, notificationstest.Pushes(1, 2, "team/a")))
	sendBody(t, a, "text/plain", good)
	mixed := strings.Replace(string(notifications.AppendEnvelope(nil, notificationstest.Pushes(3, 2, "team/a"))), `"team/a"`, `"NOT A NAME"`, 1)
	sendBody(t, a, "text/plain", mixed)

	list := must(c.Quarantined(t.Context(), admin.QuarantineQuery{Limit: 10}))(t)
	if len(list) != 3 || list[0].Reason != "syntax" || list[1].Reason != "content_type" || list[1].Size != len(good) {
		t.Fatalf("%+v, want three bodies", list)
	}
	if q := must(c.QuarantinedBody(t.Context(), list[0].ID))(t); string(q.Body) != "{broken" || q.Received.IsZero() || q.Sender == "" {
		t.Errorf("%+v, want all that is kept", q)
	}
	for _, tt := range []struct {
		name string
		s    admin.QuarantineSelection
		want uint64
	}{
		{"all", admin.QuarantineSelection{}, 3},
		{"by reason", admin.QuarantineSelection{Reason: "content_type"}, 2},
		{"by id", admin.QuarantineSelection{IDs: []uint64{list[2].ID, list[0].ID, list[0].ID, 1 << 40}}, 2},
		{"by both", admin.QuarantineSelection{IDs: []uint64{list[0].ID}, Reason: "content_type"}, 0},
	} {
		r := admin.QuarantineRequest{QuarantineSelection: tt.s, All: tt.s.IsZero(), DryRun: true}
		if out := must(c.DropQuarantined(t.Context(), r))(t); out.Count != tt.want || out.Done != 0 {
			t.Errorf("%s: %+v, want a count of %d", tt.name, out, tt.want)
		}
		if out := must(c.RetryQuarantined(t.Context(), r))(t); out.Count != tt.want || out.Done != 0 {
			t.Errorf("%s: %+v, want a count of %d", tt.name, out, tt.want)
		}
	}

	out := must(c.RetryQuarantined(t.Context(), admin.QuarantineRequest{All: true}))(t)
	if out.Count != 3 || out.Done != 2 || out.Events != 3 {
		t.Errorf("retry: %+v, want three events out of two of three bodies", out)
	}
	r.wait(t, 3)
	left := must(c.Quarantined(t.Context(), admin.QuarantineQuery{Limit: 10}))(t)
	if len(left) != 2 || left[0].Reason != "syntax" || left[1].Reason != "name" {
		t.Fatalf("%+v are left, want what cannot be read", left)
	}
	if again := must(c.RetryQuarantined(t.Context(), admin.QuarantineRequest{All: true}))(t); again.Count != 2 || again.Done != 0 {
		t.Errorf("retry again: %+v, want none of two", again)
	}
	if out := must(c.DropQuarantined(t.Context(), admin.QuarantineRequest{All: true}))(t); out.Done != 2 {
		t.Errorf("drop: %+v, want two", out)
	}
	if left := must(c.Quarantined(t.Context(), admin.QuarantineQuery{Limit: 10}))(t); len(left) != 0 {
		t.Errorf("%+v are left after all were dropped", left)
	}
}
