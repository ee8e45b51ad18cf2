package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy/proxytest"
	"github.com/regcast/regcast/notifications/observer/cache/redis/redistest"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// patience bounds what a test waits for; it is never waited out by a test that passes.
const patience = time.Minute

// Two processes stand in front of one registry and share a Redis. One of them is killed and
// started again, and so is Redis: nobody ever sees what was before a change that either has
// acknowledged, and each has in its journal a pull for every manifest that it gave, from the
// cache or not.
func TestTwoProcessesShareACache(t *testing.T) {
	registry := registrytest.Start(t, &registrytest.Options{
		Auth: registrytest.Htpasswd, Users: map[string]string{"bob": "b"}, Wrap: slowChanges,
	})
	redis := redistest.Start(t)
	known := []string{basic(registrytest.Username, registrytest.Password), basic("bob", "b")}
	steady, fragile := newProcess(t, registry, redis), newProcess(t, registry, redis)
	whole, first := steady.start(), fragile.start()
	storm := proxytest.Start(t, known, &steady.front, &fragile.front)
	hits := func(lives ...*proxytest.Life) {
		t.Helper()
		for _, l := range lives {
			enough := l.Hits() + 5
			eventually(t, "answers from the cache", func() bool { return l.Hits() >= enough })
		}
	}
	changes := func(more int64) {
		t.Helper()
		enough := storm.Changes() + more
		eventually(t, "changes", func() bool { return storm.Changes() >= enough })
	}
	hits(whole, first)
	changes(3)

	first.End()
	fragile.kill()
	changes(3)
	hits(whole)
	second := fragile.start()
	hits(whole, second)
	changes(3)

	redis.Kill()
	changes(3)
	redis.Restart()
	hits(whole, second)
	changes(3)
	storm.Stop()

	steady.stop()
	fragile.stop()
	t.Logf("%d reads, %d changes; pulls, of them hits: %d %d, %d %d, %d %d", storm.Reads(), storm.Changes(),
		whole.Pulls(), whole.Hits(), first.Pulls(), first.Hits(), second.Pulls(), second.Hits())
	for _, p := range []struct {
		name    string
		process *process
		last    *proxytest.Life
		lives   int
	}{{"the steady one", steady, whole, 1}, {"the one that was killed", fragile, second, 2}} {
		pulls, last := p.process.pulls()
		if len(pulls) != p.lives {
			t.Errorf("%s made events of pulls as %v, want %d lives", p.name, pulls, p.lives)
		}
		if pulls[last] != p.last.Pulls() { // what a killed process gave last may have no event
			t.Errorf("%s gave %d manifests in its last life, %d of them from the cache, and made %d events of pulls",
				p.name, p.last.Pulls(), p.last.Hits(), pulls[last])
		}
	}
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// slowChanges takes its time for changes, before they are made and after.
func slowChanges(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pause := func() {
			if r.Method == http.MethodPut || r.Method == http.MethodDelete {
				<-time.After(time.Duration(rand.IntN(5)) * time.Millisecond)
			}
		}
		pause()
		next.ServeHTTP(w, r)
		pause()
	})
}

// A process is `regcast serve` with a proxy and a journal of its own.
type process struct {
	t      *testing.T
	dir    string
	front  proxytest.Front
	cmd    *exec.Cmd
	read   chan struct{} // closed when all of its log was read
	exited bool
}

func newProcess(t *testing.T, registry *registrytest.Registry, redis *redistest.Server) *process {
	p := &process{t: t, dir: t.TempDir()}
	for name, content := range map[string]string{
		"redis": redis.URL() + "?read_timeout=" + patience.String(), // a busy machine is no fault
		"regcast.toml": fmt.Sprintf(`
			data_dir = "data"
			[intake]
			listen = "127.0.0.1:0"
			[admin]
			listen = "127.0.0.1:0"
			[[proxy]]
			name = "main"
			listen = "127.0.0.1:0"
			upstream = %q
			cache = { kind = "redis", ttl = "1h", redis = { url_file = "redis" } }`, registry.URL()),
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// command is the binary that is tested: this one, as TestMain has it called.
func (p *process) command(args ...string) *exec.Cmd {
	cmd := exec.Command("regcast", args...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// start starts the process, for the first time or again, and waits until it says where its
// proxy is.
func (p *process) start() *proxytest.Life {
	p.t.Helper()
	p.cmd, p.read, p.exited = p.command("serve"), make(chan struct{}), false
	log, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.kill)
	listening := regexp.MustCompile(`proxy=main url=(http://\S+)`)
	url := make(chan string, 1)
	go func() {
		defer close(p.read)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			fmt.Fprintln(p.t.Output(), lines.Text())
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				url <- m[1]
			}
		}
	}()
	select {
	case u := <-url:
		return p.front.Begin(p.t, u)
	case <-p.read:
		p.t.Fatal("regcast serve has ended")
	case <-time.After(patience):
		p.t.Fatal("regcast serve does not say where its proxy is")
	}
	return nil
}

// kill ends the process with SIGKILL, if there is one.
func (p *process) kill() {
	if p.exited {
		return
	}
	_ = p.cmd.Process.Kill() // it may be gone already
	_ = p.wait()
}

// stop ends the process as an operator does: all that it knows is in its journal then.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	if err := p.wait(); err != nil {
		p.t.Error(err)
	}
}

func (p *process) wait() error {
	<-p.read
	p.exited = true
	return p.cmd.Wait()
}

// pulls counts the events of pulls in the journal by the process that made them, and says
// which of them was the last.
func (p *process) pulls() (pulls map[string]int64, last string) {
	p.t.Helper()
	out, err := p.command("journal", "export", "data").Output()
	if err != nil {
		p.t.Fatal(err)
	}
	pulls = make(map[string]int64)
	for line := range bytes.Lines(out) {
		var e struct {
			Action string
			Source struct{ InstanceID string }
		}
		if err := json.Unmarshal(line, &e); err != nil {
			p.t.Fatal(err)
		}
		if e.Action == "pull" {
			pulls[e.Source.InstanceID]++
			last = e.Source.InstanceID
		}
	}
	return pulls, last
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}
