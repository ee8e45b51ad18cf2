package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/examples/internal/harness"
)

// start runs the example and returns the registry's address and what ends it.
func start(t *testing.T, audit, deploy, journal string) (host string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, w, "127.0.0.1:0", audit, deploy, journal)
		w.CloseWithError(err)
		ended <- err
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		cancel()
		t.Fatalf("the example ended: %v", err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "a registry on ")), func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the example ended with %v", err)
		}
	}
}

func consumer(t *testing.T) *harness.Consumer {
	t.Helper()
	c, err := harness.StartConsumer(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// summary lists events as "action repository:tag", without the HEAD requests with which
// the client looks around.
func summary(events []harness.Received) (lines []string) {
	for _, e := range events {
		request, _ := e.JSON["request"].(map[string]any)
		if request["method"] == "HEAD" {
			continue
		}
		line := e.Action + " " + e.Repository
		if e.Tag != "" {
			line += ":" + e.Tag
		}
		lines = append(lines, line)
	}
	return lines
}

func TestEmbedded(t *testing.T) {
	for name, journal := range map[string]string{"in memory": "", "on disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			audit, deploy := consumer(t), consumer(t)
			host, stop := start(t, audit.URL(), deploy.URL(), journal)
			client := harness.NewClient(t.Context(), host)
			if _, err := client.PushImage("team/app", "1.0", 1); err != nil {
				t.Fatal(err)
			}
			if err := client.DeleteTag("team/app", "1.0"); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := deploy.Wait(ctx, 2); err != nil {
				t.Fatal(err)
			}
			want := "push team/app, push team/app, push team/app:1.0, delete team/app:1.0"
			got := ""
			for n := 4; ; n++ { // and some HEAD requests
				if err := audit.Wait(ctx, n); err != nil {
					t.Fatalf("the audit got %s; want %s: %v", got, want, err)
				}
				if got = strings.Join(summary(audit.Received()), ", "); got == want {
					break
				}
			}
			stop()
			got = strings.Join(summary(deploy.Received()), ", ")
			if want := "push team/app:1.0, delete team/app:1.0"; got != want {
				t.Errorf("the deployment got %s; want %s", got, want)
			}
		})
	}
}

// The registry would take a path of any prefix for that of a manifest.
func TestEmbeddedServesTheAPIAlone(t *testing.T) {
	host, stop := start(t, consumer(t).URL(), consumer(t).URL(), "")
	defer stop()
	for path, want := range map[string]int{"/v2/": 200, "/v2/foo/manifests/latest": 201, "/x/foo/manifests/latest": 404, "/foo/manifests/latest": 404} {
		method := http.MethodPut
		if want == 200 {
			method = http.MethodGet
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+host+path, strings.NewReader(`{"schemaVersion":2}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s %s: %s, want %d", method, path, resp.Status, want)
		}
	}
}

// What was pushed while the webhooks were away arrives after a restart.
func TestEmbeddedOnDiskSurvives(t *testing.T) {
	audit, deploy, journal := consumer(t), consumer(t), t.TempDir()
	if err := audit.Close(); err != nil {
		t.Fatal(err)
	}
	host, stop := start(t, audit.URL(), deploy.URL(), journal)
	if _, err := harness.NewClient(t.Context(), host).PushImage("team/app", "1.0", 1); err != nil {
		t.Fatal(err)
	}
	stop()
	if n := len(audit.Received()); n != 0 {
		t.Fatalf("a consumer that was away received %d events", n)
	}

	if err := audit.Resume(); err != nil {
		t.Fatal(err)
	}
	_, stop = start(t, audit.URL(), deploy.URL(), journal)
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := audit.Wait(ctx, 3); err != nil {
		t.Error(err)
	}
}
