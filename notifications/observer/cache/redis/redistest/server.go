// Package redistest runs a real redis-server for a test: [Start] starts one that listens
// on loopback, keeps nothing on disk and ends with the test. The test can kill it, have it
// start again empty at the same address, and pause it.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A Server is a redis-server process. Only the goroutine of its test may use it.
type Server struct {
	t      testing.TB
	path   string
	addr   string
	held   []net.Conn // keep addr's port from those who ask for any
	cmd    *exec.Cmd
	output bytes.Buffer  // to be read after exited is closed
	exited chan struct{} // closed when the process is gone; nil before the first
}

// patience bounds how long a server may take to answer after its start.
const patience = time.Minute

// Start starts a server on a free port and waits until it answers. It skips the test where
// the program redis-server is missing, but fails it if CI=true.
func Start(t testing.TB) *Server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server: missing; install it by hand: redis-server")
		}
		t.Skip("shared caches are not tried on a real Redis (redis-server)")
	}
	s := &Server{t: t, path: path}
	t.Cleanup(func() {
		s.Kill()
		for _, c := range s.held {
			c.Close()
		}
	})
	if err := s.choose(); err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// choose finds a free port and holds it. While it has a connection, nobody is given it who
// does not ask for it, however long there is no server.
func (s *Server) choose() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	s.addr = l.Addr().String()
	near, err := net.Dial("tcp", s.addr)
	if err != nil {
		return err
	}
	s.held = append(s.held, near)
	far, err := l.Accept()
	if err != nil {
		return err
	}
	s.held = append(s.held, far)
	return nil
}

// Addr returns the server's host and port. It stays the same for the life of the Server.
func (s *Server) Addr() string { return s.addr }

// URL returns the server's address in the form that redis.ParseURL of go-redis reads.
func (s *Server) URL() string { return "redis://" + s.addr + "/0" }

// Kill ends the process with SIGKILL and waits until it is gone, if there is one.
func (s *Server) Kill() {
	if s.exited == nil {
		return
	}
	s.cmd.Process.Kill() // it may be gone already
	<-s.exited
}

// Restart starts the server again, empty, at the same address, and waits until it answers.
// It kills the process first if there is one.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Pause stops the process with SIGSTOP: the kernel still accepts connections for it and
// takes what clients send, but nothing is answered.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Resume undoes Pause.
func (s *Server) Resume() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// start starts a process and waits until it answers at s.addr.
func (s *Server) start() error {
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	s.output.Reset()
	s.cmd = exec.Command(s.path, "--port", port, "--bind", "127.0.0.1", "--dir", s.t.TempDir(),
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning")
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	s.cmd.SysProcAttr = endWithParent()
	started, exited := make(chan error), make(chan struct{})
	go func() {
		// The kernel takes the end of the thread that started the process for the end of
		// its parent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.cmd.Wait() // it is killed, so the error says nothing
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.exited = exited
	return s.awaitAnswer()
}

func (s *Server) awaitAnswer() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ping(ctx, s.addr, strconv.Itoa(s.cmd.Process.Pid))
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("redis-server ended: %s", s.output.Bytes())
		case <-ctx.Done():
			return fmt.Errorf("redis-server did not answer: %w", err)
		case <-tick.C:
		}
	}
}

// ping asks the server at addr whether it is the process pid.
func ping(ctx context.Context, addr, pid string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte("INFO server\r\nQUIT\r\n")); err != nil {
		return err
	}
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(conn); err != nil {
		return err
	}
	if !bytes.Contains(answer.Bytes(), []byte("\nprocess_id:"+pid+"\r\n")) {
		return errors.New("somebody else answers at " + addr)
	}
	return nil
}
