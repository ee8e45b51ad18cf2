package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/notificationstest"
)

// Without a drain timeout, stopping waits for no consumer, and nothing is lost by it.
func TestNoDrain(t *testing.T) {
	dir, stuck, healthy := t.TempDir(), neverAnswers(t), newReceiver(t)
	cfg := load(t, dir, endpoint("audit", stuck.url, `timeout = "10m"`))
	cfg.DrainTimeout = 0
	a := startApp(t, cfg)
	mustSend(t, a, notificationstest.Pushes(1, 1, "team/a")...)
	eventually(t, "the consumer is asked", func() bool { return stuck.requests.Load() > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // less than Deliver's own drain time
	defer cancel()
	if err := a.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	startApp(t, load(t, dir, endpoint("audit", healthy.URL, "")))
	healthy.wait(t, 1)
}
