package journal_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// fillUp writes until the journal refuses, and returns how many events it took.
func fillUp(t *testing.T, j *journal.Journal, first int) (taken int) {
	t.Helper()
	for ; taken < 100_000; taken += 20 {
		err := j.Write(context.Background(), notificationstest.Pushes(first+taken, 20, "team/a"))
		if errors.Is(err, notifications.ErrFull) {
			return taken
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("never full")
	return taken
}

// mustBeFull checks that the journal works and takes no events.
func mustBeFull(t *testing.T, j *journal.Journal) {
	t.Helper()
	if err := j.Accepting(); !errors.Is(err, notifications.ErrFull) {
		t.Errorf("Accepting = %v, want %v", err, notifications.ErrFull)
	}
	if err := j.Healthy(); err != nil {
		t.Errorf("Healthy = %v: it delivers and settles", err)
	}
}

// becomes waits until the journal takes events, or until it does not.
func becomes(t *testing.T, j *journal.Journal, accepting bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); (j.Accepting() == nil) != accepting; {
		if time.Now().After(end) {
			t.Fatalf("accepting: %v", j.Accepting())
		}
		<-time.After(time.Millisecond) // polls: nobody says when
	}
}

// TestPageLimit fills the file to SQLite's limit: events are refused, delivery and
// settling go on, and when settled events have expired there is room again.
func TestPageLimit(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	j := mustOpen(t, dir, &journal.Options{MaxPages: 300, RetentionAge: time.Millisecond, ReserveBytes: -1, BallastBytes: -1})
	c, err := j.Cursor(ctx, "c", nil)
	if err != nil {
		t.Fatal(err)
	}
	taken := fillUp(t, j, 0)
	if taken == 0 {
		t.Fatal("full from the beginning")
	}
	mustBeFull(t, j)
	if r, err := j.Record(ctx, notificationstest.Pushes(0, 20, "team/a"), nil); err != nil || r.Duplicates != 20 {
		t.Errorf("repeats in a full journal: %+v, %v", r, err)
	}
	settleAll(t, c, taken)
	infos, err := j.CursorInfos(ctx)
	if err != nil || infos[0].Pending != 0 {
		t.Errorf("%+v, %v", infos, err)
	}
	mustShutdown(t, j)

	// The settlements were stored although the file was full.
	j = mustOpen(t, dir, &journal.Options{MaxPages: 300, RetentionAge: time.Millisecond, ReserveBytes: -1, BallastBytes: -1})
	defer mustShutdown(t, j)
	if infos, err = j.CursorInfos(ctx); err != nil || infos[0].LowWater != uint64(taken) {
		t.Errorf("%+v, %v, want %d settled", infos, err, taken)
	}
	for end := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) { // polls: retention runs by itself
		err := j.Write(ctx, notificationstest.Pushes(taken+1000, 20, "team/a"))
		if err == nil {
			break
		}
		if !errors.Is(err, notifications.ErrFull) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	becomes(t, j, true)
}

func settleAll(t *testing.T, c sinks.Cursor, count int) {
	t.Helper()
	into := make([]sinks.Delivery, 64)
	for count > 0 {
		n, err := c.Claim(context.Background(), into[:min(count, len(into))])
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range into[:n] {
			if err := c.Settle(sinks.Settlement{Sequence: d.Sequence}); err != nil {
				t.Fatal(err)
			}
		}
		count -= n
	}
}

// smallDisk mounts a file system of that many MiB.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "regcast-test", dir).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a small file system: %v\n%s", err, out)
		}
		t.Skipf("cannot mount a small file system: %v: %s", err, out)
	}
	t.Cleanup(func() {
		// A child that another test starts has all files of this one until its exec.
		for end := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
			out, err := exec.Command("umount", dir).CombinedOutput()
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Errorf("umount: %v\n%s", err, out)
				return
			}
		}
	})
	return dir
}

// TestDiskFull fills the disk under a journal, once up to its reserve and once really:
// events are refused, what is stored is delivered and settled, and when there is room
// again the journal takes events, by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for name, reserve := range map[string]int64{"up to the reserve": 1 << 20, "really": -1} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			disk := smallDisk(t, "6m")
			dir := filepath.Join(disk, "journal")
			j := mustOpen(t, dir, &journal.Options{ReserveBytes: reserve, BallastBytes: 512 << 10})
			c, err := j.Cursor(ctx, "c", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Write(ctx, notificationstest.Pushes(0, 100, "team/a")); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) { // polls: nobody says when
				if _, err := os.Stat(filepath.Join(dir, "regcast.ballast")); err == nil {
					break
				}
				if time.Now().After(end) {
					t.Fatal("no ballast")
				}
			}
			hog := filepath.Join(disk, "hog")
			fillDisk(t, hog, reserve)
			taken := 100 + fillUp(t, j, 100)
			mustBeFull(t, j)
			settleAll(t, c, taken)
			if _, err := j.DeadLetters(ctx, sinks.DeadQuery{}); err != nil { // settles for good
				t.Error(err)
			}
			mustBeFull(t, j)
			mustShutdown(t, j)
			j = mustOpen(t, dir, &journal.Options{ReserveBytes: reserve, BallastBytes: 512 << 10})
			if info := infoOf(t, j, "c"); info.LowWater != uint64(taken) {
				t.Errorf("%+v, want %d settled", info, taken)
			}
			fillUp(t, j, taken)
			if c, err = j.Cursor(ctx, "c", nil); err != nil {
				t.Fatal(err)
			}
			settleAll(t, c, int(infoOf(t, j, "c").Pending))
			taken = int(infoOf(t, j, "c").LowWater)

			if err := os.Remove(hog); err != nil {
				t.Fatal(err)
			}
			becomes(t, j, true)
			if err := j.Write(ctx, notificationstest.Pushes(taken+1000, 20, "team/a")); err != nil {
				t.Error(err)
			}
			settleAll(t, c, 20)
			mustShutdown(t, j)
			report, err := journal.Verify(ctx, dir)
			if err != nil || !report.OK() || int(report.Events) != taken+20 {
				t.Errorf("%+v, %v, want %d events", report, err, taken+20)
			}
		})
	}
}

// fillDisk writes until the disk is full but for what lets some events through.
func fillDisk(t *testing.T, name string, reserve int64) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	block := make([]byte, 4096)
	for err == nil {
		var n int
		n, err = f.Write(block)
		size += int64(n)
	}
	if reserve < 0 {
		reserve = 0
	}
	if err := errors.Join(f.Truncate(size-reserve-256<<10), f.Close()); err != nil {
		t.Fatal(err)
	}
}
