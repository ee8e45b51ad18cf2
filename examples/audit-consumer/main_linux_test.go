package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/regcast/regcast/notifications/notificationstest"
)

// TestNoRoom lets the consumer write a part of a batch and no more, as a full disk does:
// it answers 500, keeps nothing of the batch, and goes on when there is room.
func TestNoRoom(t *testing.T) {
	c := newChild(t)
	c.start(t)
	if got := c.post(t, secret, notificationstest.Push("team/app", "v1", 1)); got != http.StatusNoContent {
		t.Fatalf("answered %d", got)
	}
	before, err := os.Stat(c.path("audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	limit := unix.Rlimit{Cur: uint64(before.Size()) + 8<<10, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(c.command.Process.Pid, unix.RLIMIT_FSIZE, nil, &was); err != nil {
		t.Fatal(err)
	}
	limit.Max = was.Max
	if err := unix.Prlimit(c.command.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := c.post(t, secret, notificationstest.Pushes(2, 100, "team/app")...); got != http.StatusInternalServerError {
			t.Errorf("without room: answered %d", got)
		}
	}
	if err := unix.Prlimit(c.command.Process.Pid, unix.RLIMIT_FSIZE, &was, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := c.post(t, secret, notificationstest.Push("team/app", "v1", 2)); got != http.StatusNoContent {
			t.Errorf("with room again: answered %d", got)
		}
	}
	c.stop(t)
	if out, ok := c.check(); !ok || !strings.Contains(out, ": 2 events, ") {
		t.Errorf("-verify: %v, %s", ok, out)
	}
	if !strings.Contains(c.log.String(), "file too large") {
		t.Errorf("nothing is said of it:\n%s", c.log)
	}
}
