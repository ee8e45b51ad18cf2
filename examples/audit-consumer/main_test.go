package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/regcast/regcast/examples/internal/harness"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/verify"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// A child is the real audit-consumer in a folder of its own.
type child struct {
	binary, dir, addr string
	command           *exec.Cmd
	log               *logBuffer
}

// newChild builds the consumer; start starts it.
func newChild(t *testing.T) *child {
	t.Helper()
	c := &child{dir: t.TempDir(), log: new(logBuffer)}
	c.binary = filepath.Join(c.dir, "audit-consumer")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	if err := os.WriteFile(c.path("key"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.addr, err = harness.FreeAddr(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("the consumer says:\n%s", c.log)
		}
	})
	return c
}

func (c *child) path(name string) string { return filepath.Join(c.dir, name) }

func (c *child) start(t *testing.T) {
	t.Helper()
	c.command = exec.Command(c.binary, "-listen", c.addr, "-secret-file", c.path("key"), "-file", c.path("audit.jsonl"))
	c.command.Stderr = c.log
	if err := c.command.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the consumer listens", func() bool {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// kill is SIGKILL: nothing is finished.
func (c *child) kill() {
	if c.command != nil {
		_ = c.command.Process.Kill() // it may have ended by itself
		_ = c.command.Wait()         // which says that it was killed
		c.command = nil
	}
}

// stop is SIGTERM: it has to end well.
func (c *child) stop(t *testing.T) {
	t.Helper()
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.command.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	c.command = nil
}

// check runs -verify.
func (c *child) check() (out string, ok bool) {
	text, err := exec.Command(c.binary, "-verify", c.path("audit.jsonl")).CombinedOutput()
	return string(text), err == nil
}

// lines are the lines of the audit file that have an end.
func (c *child) lines() int {
	content, _ := os.ReadFile(c.path("audit.jsonl"))
	return bytes.Count(content, []byte("\n"))
}

// events counts the events of the audit file by id.
func (c *child) events(t *testing.T) map[string]int {
	t.Helper()
	file, err := os.Open(c.path("audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	count := make(map[string]int)
	if _, _, _, torn, err := readTrail(file, func(e *notifications.Event) { count[e.ID]++ }); err != nil || torn > 0 {
		t.Fatalf("%d bytes without an end, %v", torn, err)
	}
	return count
}

// post sends events as regcast would, signed with a secret, and returns the status.
func (c *child) post(t *testing.T, secret string, events ...*notifications.Event) int {
	t.Helper()
	key, err := verify.ParseKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	body, now := notifications.AppendEnvelope(nil, events), time.Now()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.addr+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(verify.HeaderID, "one")
	req.Header.Set(verify.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(verify.HeaderSignature, key.Sign("one", now, body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	return resp.StatusCode
}

// startDispatcher starts the real regcast, which signs what it delivers to c.
func startDispatcher(t *testing.T, c *child) *harness.Dispatcher {
	t.Helper()
	dir := t.TempDir()
	binary, err := harness.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	d, err := harness.StartDispatcher(ctx, binary, dir, nil, c.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Kill() })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	config, err := os.OpenFile(d.Config(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(config, `
[[endpoint]]
name = "audit"
url = "http://%s/"
retry = { initial = "50ms", max = "100ms" }
batch = { max_events = 3 }
signing = { secret_files = [%q] }
`, c.addr, c.path("key"))
	if err := config.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestEveryEventOnce kills the consumer three times while events are coming in.
func TestEveryEventOnce(t *testing.T) {
	c := newChild(t)
	c.start(t)
	d := startDispatcher(t, c)
	const all, rounds = 300, 3
	event := func(n int) *notifications.Event {
		return notificationstest.Push(fmt.Sprintf("team/app-%d", n%7), "v1", n)
	}
	sent := make(chan error, 1)
	go func() {
		for n := range all {
			body := notifications.AppendEnvelope(nil, []*notifications.Event{event(n)})
			resp, err := http.Post(d.IntakeURL(), notifications.MediaTypeV2, bytes.NewReader(body))
			if err == nil {
				err = resp.Body.Close()
				if resp.StatusCode != http.StatusAccepted {
					err = errors.New(resp.Status)
				}
			}
			if err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for round := range rounds {
		eventually(t, "events arrive", func() bool { return c.lines() >= (round+1)*all/(rounds+2) })
		c.kill()
		tear(t, c)
		c.start(t)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	eventually(t, "all events arrive", func() bool { return c.lines() >= all })
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	c.stop(t)

	got := c.events(t)
	for n := range all {
		if times := got[event(n).ID]; times != 1 {
			t.Errorf("event %d is there %d times", n, times)
		}
	}
	if len(got) != all {
		t.Errorf("%d different events, want %d", len(got), all)
	}
	if out, ok := c.check(); !ok || !strings.Contains(out, "audit.jsonl: 300 events, head ") {
		t.Errorf("-verify: %v, %s", ok, out)
	}
	if n := strings.Count(c.log.String(), "removing a torn last line of "); n < rounds {
		t.Errorf("%d torn lines were noted, want %d", n, rounds)
	}
}

// tear leaves a part of a line behind, as a kill in the middle of a write does: one that is
// longer than the line that comes next.
func tear(t *testing.T, c *child) {
	t.Helper()
	file, err := os.OpenFile(c.path("audit.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(`{"prev":"` + strings.Repeat("0", 64) + `","event":"` + strings.Repeat("x", 8<<10)); err != nil {
		t.Fatal(err)
	}
}

// TestForgeriesAndRepeats: what is not signed with the secret is refused and not written,
// what was there before is accepted and not written again, also after a restart.
func TestForgeriesAndRepeats(t *testing.T) {
	c := newChild(t)
	c.start(t)
	one, two := notificationstest.Push("team/app", "v1", 1), notificationstest.Push("team/app", "v1", 2)
	ping, err := notifications.ParseEvent(`{"id":"ping","action":"ping","target":{"repository":"team/app"}}`)
	if err != nil {
		t.Fatal(err)
	}
	for name, step := range map[string]struct {
		secret string
		events []*notifications.Event
		want   int
	}{
		"forged":      {"the secret of somebody else", []*notifications.Event{two}, http.StatusUnauthorized},
		"good":        {secret, []*notifications.Event{one}, http.StatusNoContent},
		"a ping":      {secret, []*notifications.Event{ping}, http.StatusNoContent},
		"no envelope": {secret, nil, http.StatusBadRequest},
	} {
		for range 2 {
			if got := c.post(t, step.secret, step.events...); got != step.want {
				t.Errorf("%s: answered %d, want %d", name, got, step.want)
			}
		}
	}
	resp, err := http.Post("http://"+c.addr+"/", notifications.MediaTypeV2, bytes.NewReader(notifications.AppendEnvelope(nil, []*notifications.Event{two})))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("not signed: answered %s", resp.Status)
	}
	c.stop(t)
	tear(t, c)
	c.start(t)
	if got := c.post(t, secret, one); got != http.StatusNoContent {
		t.Errorf("a repeat after a restart: answered %d", got)
	}
	if got := c.events(t); len(got) != 1 || got[one.ID] != 1 {
		t.Errorf("written: %v, want %s alone, once", got, one.ID)
	}
}

// TestTampering changes each byte of an audit file in turn: the check finds it, and names
// the line.
func TestTampering(t *testing.T) {
	c := newChild(t)
	c.start(t)
	for n := range 3 {
		c.post(t, secret, notificationstest.Push("team/app", "v1", n))
	}
	c.stop(t)
	whole, err := os.ReadFile(c.path("audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(c.path("audit.jsonl"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	changed := bytes.Clone(whole)
	for i := range changed {
		changed[i] ^= 1
		lines, _, _, torn, err := readTrail(bytes.NewReader(changed), func(*notifications.Event) {})
		if want := bytes.Count(whole[:i], []byte("\n")); err == nil && torn == 0 || lines != want {
			t.Fatalf("byte %d of line %d is another: %d lines are sound, %v", i, want+1, lines, err)
		}
		changed[i] ^= 1
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for name, c := range map[string]struct {
		content []byte
		line    string
	}{
		"the second is gone":  {bytes.Join([][]byte{lines[0], lines[2]}, nil), "line 2 does not follow"},
		"the first is gone":   {bytes.Join(lines[1:], nil), "line 1 does not follow"},
		"exchanged":           {bytes.Join([][]byte{lines[1], lines[0], lines[2]}, nil), "line 1 does not follow"},
		"twice":               {bytes.Join([][]byte{lines[0], lines[0], lines[1]}, nil), "line 2 does not follow"},
		"an empty line":       {bytes.Join([][]byte{lines[0], []byte("\n"), lines[1]}, nil), "line 2 is no entry"},
		"nothing of the sort": {[]byte("hello\n"), "line 1 is no entry"},
	} {
		_, _, _, _, err := readTrail(bytes.NewReader(c.content), func(*notifications.Event) {})
		if err == nil || !strings.Contains(err.Error(), c.line) {
			t.Errorf("%s: %v, want %q", name, err, c.line)
		}
	}

	// The real thing says so and does not go on with such a file.
	i := bytes.Index(whole, []byte("team/app"))
	changed[i] = 'd'
	put(changed)
	if out, ok := c.check(); ok || !strings.Contains(out, "audit.jsonl: line 1 was changed") {
		t.Errorf("-verify: %v, %s", ok, out)
	}
	if out, err := exec.Command(c.binary, "-listen", c.addr, "-secret-file", c.path("key"), "-file", c.path("audit.jsonl")).CombinedOutput(); err == nil || !bytes.Contains(out, []byte("line 1 was changed")) {
		t.Errorf("starting on a changed file: %v, %s", err, out)
	}
	put(whole)
	if out, ok := c.check(); !ok {
		t.Errorf("-verify of the file as it was: %s", out)
	}
}

// FuzzReadTrail: what is accepted as a chain is one, line by line.
func FuzzReadTrail(f *testing.F) {
	line, hash := appendLine(nil, beginning, notificationstest.Time(1), notificationstest.Push("team/app", "v1", 1))
	more, _ := appendLine(line, hash, notificationstest.Time(2), notificationstest.Push("team/app", "v1", 2))
	f.Add(line)
	f.Add(more)
	f.Add([]byte("{}\n" + seal(hash)))
	f.Fuzz(func(t *testing.T, content []byte) {
		events := 0
		lines, size, head, torn, err := readTrail(bytes.NewReader(content), func(e *notifications.Event) {
			if e == nil {
				t.Fatal("a line without an event")
			}
			events++
		})
		if lines != events || size > int64(len(content)) || err == nil && int(size)+torn != len(content) || len(head) != len(beginning) {
			t.Errorf("%d lines, %d events, %d+%d of %d bytes, head %s, %v", lines, events, size, torn, len(content), head, err)
		}
	})
}

// eventually polls until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !so(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A logBuffer keeps what children say.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
