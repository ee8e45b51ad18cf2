package backfill_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications"
)

// patience bounds what a test waits for.
const patience = time.Minute

// poll waits until ok.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// A consumer is a webhook that remembers what it got.
type consumer struct {
	*httptest.Server
	mu  sync.Mutex
	got []*notifications.Event
}

func newConsumer(t *testing.T) *consumer {
	c := new(consumer)
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, notifications.Decode(body, nil).Events...)
}

func (c *consumer) events() []*notifications.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*notifications.Event(nil), c.got...)
}

func (c *consumer) wait(t *testing.T, n int) {
	t.Helper()
	poll(t, fmt.Sprintf("%d events have come", n), func() bool { return len(c.events()) >= n })
}

// pushed is what was delivered, repository after repository.
func (c *consumer) pushed(m *museum) []string {
	var list []admin.Found
	for _, e := range c.events() {
		list = append(list, admin.Found{Repository: e.Repository, Tag: e.Tag, Digest: string(e.Digest)})
	}
	byRepository(list)
	return m.shown(list)
}

// endpoint is the configuration of one that delivers to c.
func (c *consumer) endpoint(name, more string) string {
	return fmt.Sprintf("\n[[endpoint]]\nname = %q\nurl = %q\n%s\n", name, c.URL, more)
}

// A dispatcher is a real one.
type dispatcher struct {
	app    *app.App
	client *client.Client
}

// start starts one with a journal in dir.
func start(t *testing.T, dir, rest string) *dispatcher {
	t.Helper()
	cfg, err := config.Load(write(t, dir, rest))
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Start(t.Context(), cfg, app.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	transport := new(http.Transport)
	c, err := client.New("http://"+a.AdminAddr(), &client.Options{HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	d := &dispatcher{a, c}
	t.Cleanup(func() { transport.CloseIdleConnections(); d.stop(t) })
	return d
}

func write(t *testing.T, dir, rest string) string {
	t.Helper()
	file := filepath.Join(dir, "regcast.toml")
	content := "data_dir = \"data\"\n" + rest + "\n[intake]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (d *dispatcher) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.app.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func (d *dispatcher) reload(t *testing.T, dir, rest string) {
	t.Helper()
	write(t, dir, rest)
	if err := d.app.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// settled waits until no endpoint has anything pending.
func (d *dispatcher) settled(t *testing.T) {
	t.Helper()
	poll(t, "nothing is pending", func() bool {
		list, err := d.client.Endpoints(t.Context())
		pending := uint64(0)
		for _, e := range list {
			pending += e.Pending
		}
		return err == nil && pending == 0
	})
}

// send posts events as a registry would.
func (d *dispatcher) send(t *testing.T, events ...*notifications.Event) {
	t.Helper()
	resp, err := http.Post("http://"+d.app.IntakeAddr()+"/events", notifications.MediaTypeV2, bytes.NewReader(notifications.AppendEnvelope(nil, events)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp.Status)
	}
}
