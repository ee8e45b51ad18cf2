package redistest

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestServer(t *testing.T) {
	var pid int
	t.Run("runs", func(t *testing.T) {
		s := Start(t)
		answers := func(limit time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			return ping(ctx, s.Addr(), strconv.Itoa(s.cmd.Process.Pid))
		}
		if err := answers(patience); err != nil {
			t.Fatal("after Start:", err)
		}
		s.Pause()
		if err := answers(200 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
			t.Error("paused:", err)
		}
		s.Resume()
		if err := answers(patience); err != nil {
			t.Error("resumed:", err)
		}
		s.Kill()
		if _, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error("killed:", err)
		}
		addr := s.Addr()
		s.Restart()
		if err := answers(patience); err != nil || s.Addr() != addr {
			t.Errorf("restarted at %s instead of %s: %v", s.Addr(), addr, err)
		}
		s.Pause() // the cleanup ends it all the same
		pid = s.cmd.Process.Pid
	})
	if pid != 0 {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Error("after the test:", err)
		}
	}
}
