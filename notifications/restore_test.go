package notifications_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/regcast/regcast/notifications"
)

func TestRestoreEventTakesWhatAnEngineWasGiven(t *testing.T) {
	for name, e := range map[string]*notifications.Event{
		"made by hand":   {ID: "1", Action: "push", Repository: "Team/APP", Tag: strings.Repeat("x", 300), Digest: "sha256:short"},
		"without fields": {},
		"not UTF-8":      {ID: "2", Action: "push", Repository: "team/app", Actor: "\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			json := e.AppendJSON(nil)
			got, err := notifications.RestoreEvent(string(json))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(json), string(got.AppendJSON(nil))); diff != "" {
				t.Errorf("its JSON has changed (-given +restored):\n%s", diff)
			}
			if e.Actor == "" {
				if diff := cmp.Diff(e, got, cmpopts.IgnoreUnexported(notifications.Event{})); diff != "" {
					t.Errorf("(-given +restored):\n%s", diff)
				}
			}
		})
	}
	for _, bad := range []string{"", "[]", `{"id":`, `{} x`} {
		if _, err := notifications.RestoreEvent(bad); err == nil {
			t.Errorf("RestoreEvent(%q) is no error", bad)
		}
	}
}
