package journal

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A child that some other goroutine starts has every open file of ours from its fork until
// its exec. A lock that ended with the last descriptor would outlive Close for that long.
func TestLockEndsWithReleaseWhoeverElseHasTheFile(t *testing.T) {
	dir := t.TempDir()
	l, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	forked, err := unix.FcntlInt(l.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(forked)

	if _, err := lockDir(dir); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second lock on a folder in use: %v, want ErrLocked", err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	again, err := lockDir(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := again.release(); err != nil {
		t.Fatal(err)
	}
}
