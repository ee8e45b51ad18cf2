package endpoints_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

func newEndpoint(t *testing.T, url string, opts *endpoints.Options) *endpoints.Endpoint {
	t.Helper()
	e, err := endpoints.NewEndpoint("audit", url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func write(t *testing.T, e notifications.Sink, events ...*notifications.Event) {
	t.Helper()
	if err := e.Write(context.Background(), events); err != nil {
		t.Fatal(err)
	}
}

func TestFileLines(t *testing.T) {
	events := notificationstest.Pushes(0, 3, "team/app")
	for format, appendEvent := range map[string]func(*notifications.Event, []byte) []byte{
		endpoints.FormatDistribution:   (*notifications.Event).AppendJSON,
		endpoints.FormatDistributionV1: (*notifications.Event).AppendJSONv1,
	} {
		path := filepath.Join(t.TempDir(), "events.jsonl")
		e := newEndpoint(t, "file:"+path, &endpoints.Options{Format: format})
		write(t, e, events[0])
		write(t, e, events[1:]...)
		var want []byte
		for _, ev := range events {
			want = append(appendEvent(ev, want), '\n')
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s:\n%s", format, diff)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("mode %v, want 0600", info.Mode())
		}
	}
}

func TestFileRotates(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	events := notificationstest.Pushes(0, 20, "team/app")
	line := int64(events[0].Size() + 2)
	var log bytes.Buffer
	e := newEndpoint(t, "file:"+path, &endpoints.Options{
		FileMaxBytes: 3 * line, FileKeep: 4, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for _, ev := range events {
		write(t, e, ev)
	}
	var kept []*notifications.Event
	for _, suffix := range []string{".4", ".3", ".2", ".1", ""} {
		events := readLines(t, path+suffix)
		if n := len(events); n == 0 || n > 3 {
			t.Errorf("%d lines in events.jsonl%s, want 1 to 3", n, suffix)
		}
		kept = append(kept, events...)
	}
	want := events[len(events)-len(kept):]
	if !slices.Equal(notificationstest.Numbers(kept), notificationstest.Numbers(want)) {
		t.Errorf("kept %v, want the newest %v", notificationstest.Numbers(kept), notificationstest.Numbers(want))
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 5 {
		t.Errorf("%d files, want the current one and 4 rotated", len(files))
	}
	removed := 0
	for _, m := range regexp.MustCompile(`level=WARN msg="removing the oldest rotated file" .*file=\S+\.4 events=(\d+)`).FindAllStringSubmatch(log.String(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		removed += n
	}
	if removed == 0 || removed != len(events)-len(kept) {
		t.Errorf("%d events were removed, and the log says %d:\n%s", len(events)-len(kept), removed, &log)
	}
}

// TestFileAfterACrash cuts the last line of a file at every byte.
func TestFileAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	first, second := notificationstest.Push("team/app", "v1", 1), notificationstest.Push("team/app", "v2", 2)
	whole := append(append(first.AppendJSON(nil), '\n'), append(second.AppendJSON(nil), '\n')...)
	start := first.Size() + 1
	for cut := start; cut <= len(whole); cut += 13 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		e := newEndpoint(t, "file:"+path, nil)
		write(t, e, second)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(got, whole[:cut]) {
			t.Fatalf("cut at %d: what was there is gone", cut)
		}
		if !bytes.HasSuffix(got, append([]byte("\n"), whole[start:]...)) {
			t.Fatalf("cut at %d: the new event has no line of its own:\n%s", cut, got)
		}
	}
}

// A file that was there before is for its owner only from now on.
func TestFileTakesWhatWasOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, newEndpoint(t, "file:"+path, nil), notificationstest.Push("team/app", "v1", 1))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
}

func TestFileThatIsMovedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	e := newEndpoint(t, "file:"+path, nil)
	write(t, e, notificationstest.Push("team/app", "v1", 1))
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	write(t, e, notificationstest.Push("team/app", "v2", 2))
	for n, p := range []string{path + ".moved", path} {
		if got := notificationstest.Numbers(readLines(t, p)); !slices.Equal(got, []int{n + 1}) {
			t.Errorf("%s has %v", p, got)
		}
	}
}

func TestFileHealsByItself(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	e := newEndpoint(t, "file:"+filepath.Join(dir, "events.jsonl"), nil)
	err := e.Write(context.Background(), batch)
	if d := deliveryError(t, err); d.Class != endpoints.Transient || d.Code() != "local" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v: class %v, code %s", err, d.Class, d.Code())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, e, batch...)

	e = newEndpoint(t, "file:"+dir, nil)
	if err := e.Write(context.Background(), batch); err == nil {
		t.Error("wrote to a directory")
	}
	e = newEndpoint(t, "file:/dev/null", nil)
	if err := e.Write(context.Background(), batch); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("wrote to a device: %v", err)
	}
}

func TestConsoleLines(t *testing.T) {
	var out bytes.Buffer
	e := newEndpoint(t, "console:", &endpoints.Options{Console: &out})
	odd, err := notifications.ParseEvent(`{"action":"push","target":{"repository":"team/app"},"actor":{"name":"a\u001b[31m b\n"}}`)
	if err != nil {
		t.Fatal(err)
	}
	write(t, e, notificationstest.Push("team/app", "v1", 1), notificationstest.Delete("team/app", 2), odd)
	want := "2026-01-02T03:04:06Z push team/app:v1 " + notificationstest.Digest("team/app", 1).String() + " alice\n" +
		"2026-01-02T03:04:07Z delete team/app " + notificationstest.Digest("team/app", 2).String() + " alice\n" +
		`- push team/app - "a\x1b[31m b\n"` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestConsoleThatCannotPrint(t *testing.T) {
	e := newEndpoint(t, "console:", &endpoints.Options{Console: brokenWriter{}})
	if d := deliveryError(t, e.Write(context.Background(), batch)); d.Class != endpoints.Transient || d.Code() != "local" {
		t.Errorf("%v: class %v, code %s", d, d.Class, d.Code())
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, fs.ErrClosed }
