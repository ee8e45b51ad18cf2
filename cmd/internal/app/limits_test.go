package app_test

import (
	"strings"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// TestMaxEvent looks where an event goes that is larger than the default limit.
func TestMaxEvent(t *testing.T) {
	form := string(notificationstest.Push("team/app", "v1", 1).AppendJSON(nil))
	large, err := notifications.ParseEvent(form[:len(form)-1] + `,"x":"` + strings.Repeat("x", 2<<20) + `"}`)
	if err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[string]string{
		"":                   `regcast_intake_quarantined_total{reason="too_large"} 1`,
		`max_event = "3MiB"`: `regcast_intake_events_total{format="distribution"} 1`,
	} {
		a := startApp(t, load(t, t.TempDir(), "[intake]\nlisten = \"127.0.0.1:0\"\n"+limit+"\n"))
		mustSend(t, a, large)
		if got := scrape(t, a); !strings.Contains(got, want) {
			t.Errorf("with %q: no %s", limit, want)
		}
	}
}
