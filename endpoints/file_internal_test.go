package endpoints

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// TestFileBeginsAnewAfterAnError has a file that cannot be written to for a while.
func TestFileBeginsAnewAfterAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l := newFile(path, (*Options)(nil).withDefaults())
	send := func(n int) error {
		_, err := l.send(context.Background(), []*notifications.Event{notificationstest.Push("team/app", "v1", n)})
		return err
	}
	if err := send(1); err != nil {
		t.Fatal(err)
	}
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	l.f.Close()
	l.f = readOnly
	if err := send(2); err == nil {
		t.Error("wrote to a file that is open for reading")
	}
	for n := 2; n <= 3; n++ {
		if err := send(n); err != nil {
			t.Error(err)
		}
	}
	if err := l.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(content), "\n"); lines != 3 {
		t.Errorf("%d lines, want 3:\n%s", lines, content)
	}
}
