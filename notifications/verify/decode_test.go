package verify_test

import (
	"strings"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/verify"
)

func TestDecode(t *testing.T) {
	batch := []*notifications.Event{
		notificationstest.Push("team/app", "v1", 1), notificationstest.BlobMount("team/fork", "team/app", 2), notificationstest.Delete("team/app", 3),
	}
	for name, body := range map[string][]byte{
		"distribution":    notifications.AppendEnvelope(nil, batch),
		"distribution-v1": notifications.AppendEnvelopeV1(nil, batch),
		"one event":       batch[0].AppendJSON(nil),
		"larger than intake would have it": []byte(`{"id":"x","action":"ping","target":{"repository":"a","x":"` +
			strings.Repeat("x", 2<<20) + `"}}`),
	} {
		got, err := verify.Decode(body)
		if err != nil || len(got) == 0 {
			t.Errorf("%s: %d events, %v", name, len(got), err)
			continue
		}
		for i, e := range got {
			if want := batch[i]; e.ID != want.ID && e.ID != "x" {
				t.Errorf("%s: event %d is %s, want %s", name, i, e.ID, want.ID)
			}
		}
	}
	for name, body := range map[string]string{
		"nothing":         "",
		"no JSON":         "hello",
		"empty envelope":  "{}",
		"cut":             `{"events":[{"id":"a","action":"push","target":{"repository":"a"}}`,
		"one is no event": `{"events":[{"id":"a","action":"push","target":{"repository":"a"}},{"id":"b"}]}`,
	} {
		if got, err := verify.Decode([]byte(body)); err == nil || got != nil {
			t.Errorf("%s: %d events, %v", name, len(got), err)
		}
	}
}
