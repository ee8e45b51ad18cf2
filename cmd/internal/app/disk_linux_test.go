package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/notificationstest"
)

// smallDisk mounts a file system of a few MiB in memory, which takes root.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
			t.Fatal("mounting a small file system:", err)
		}
		t.Skip("needs root, to mount a small file system:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error("unmounting the small file system:", err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	dir, r := smallDisk(t, 160), newReceiver(t)
	a := startApp(t, load(t, dir, endpoint("audit", r.URL, "")))
	r.answer(http.StatusServiceUnavailable)
	stored := notificationstest.Pushes(1, 5, "team/a")
	mustSend(t, a, stored...)

	// Somebody else fills the disk.
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, make([]byte, 110<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := send(t, a, "", notificationstest.Pushes(6, 1, "team/a")...); got != http.StatusServiceUnavailable {
		t.Fatalf("with a full disk intake answers %d, want 503", got)
	}
	if err := a.Ready(); err == nil {
		t.Error("ready with a full disk")
	} else if !strings.Contains(err.Error(), "disk") {
		t.Errorf("not ready, but the reason does not name the disk: %v", err)
	}
	if err := a.Health(); err != nil {
		t.Errorf("not healthy with a full disk, although a restart would not help: %v", err)
	}

	// What is stored is delivered all the same.
	r.answer(http.StatusOK)
	r.wait(t, len(stored))
	if metrics := scrape(t, a); !strings.Contains(metrics, `regcast_endpoint_dead_letters{endpoint="audit"`) {
		t.Error("the metrics of endpoints are missing while the disk is full")
	}
	if a.Ready() == nil {
		t.Error("ready again, although the disk is as full as before")
	}

	// There is room again: nobody has to restart anything.
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); a.Ready() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("not ready although there is room again:", a.Ready())
		}
		<-time.After(50 * time.Millisecond)
	}
	mustSend(t, a, notificationstest.Pushes(6, 1, "team/a")...)
	r.wait(t, len(stored)+1)
}
