package endpoints

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
)

// TestSignedAfresh: a request that is repeated a day later is signed for then, with the
// same id.
func TestSignedAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(&SigningOptions{
			Secrets: []Secret{SecretString("a raw secret of more than 24 bytes")}, Scheme: SchemeStandardWebhooks,
		})
		batch, body := []*notifications.Event{{ID: "one"}}, []byte("{}")
		last := make(map[string]string)
		for range 3 {
			time.Sleep(24 * time.Hour)
			keys, err := s.current()
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]string)
			for _, f := range s.sign(keys, batch, body) {
				got[f.name] = f.value
			}
			if got["Webhook-Id"] != "one" || got["Webhook-Timestamp"] != strconv.FormatInt(time.Now().Unix(), 10) {
				t.Errorf("signed as %v", got)
			}
			if got["Webhook-Signature"] == last["Webhook-Signature"] {
				t.Errorf("%v has the signature of the day before", got)
			}
			last = got
		}
	})
}
