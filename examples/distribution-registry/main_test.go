package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/examples/internal/harness"
)

// asExample in the environment makes the test's program the example.
const asExample = "DISTRIBUTION_REGISTRY"

func TestMain(m *testing.M) {
	if os.Getenv(asExample) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start runs the example, in a process of its own as a middleware is registered for good,
// and returns the registry's address and what ends it.
func start(t *testing.T, args ...string) (host string, stop func()) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	example := exec.CommandContext(t.Context(), program, args...)
	example.Env = append(os.Environ(), asExample+"=1")
	example.Stderr = t.Output()
	out, err := example.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := example.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the example ended: %v, %v", err, example.Wait())
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "a registry on ")), func() {
		if err := example.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := example.Wait(); err != nil {
			t.Errorf("the example ended with %v", err)
		}
	}
}

// The registry of config.yml, at another port, tells a webhook what a client does.
func TestDistributionRegistry(t *testing.T) {
	config, err := os.ReadFile("config.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(config), "127.0.0.1:5000", "127.0.0.1:0", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	webhook, err := harness.StartConsumer(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer webhook.Close()

	host, stop := start(t, "-config", file, "-webhook", webhook.URL(), "-journal", filepath.Join(dir, "journal"))
	client := harness.NewClient(t.Context(), host)
	if _, err := client.PushImage("team/app", "1.0", 1); err != nil {
		t.Fatal(err)
	}
	if err := client.Copy("team/app", "1.0", "team/fork"); err != nil {
		t.Fatal(err)
	}
	if err := client.DeleteTag("team/app", "1.0"); err != nil {
		t.Fatal(err)
	}
	// Two blobs and a manifest, the same mounted and pushed again, and the tag's end.
	wanted := map[string]int{"push team/app": 2, "push team/app:1.0": 1, "mount team/fork": 2, "push team/fork:1.0": 1, "delete team/app:1.0": 1}
	wait, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 7; ; n++ { // and some pulls, as the client looks around
		if err := webhook.Wait(wait, n); err != nil {
			t.Fatalf("%v; still wanted: %v", err, missing(wanted, webhook.Received()))
		}
		if len(missing(wanted, webhook.Received())) == 0 {
			break
		}
	}
	stop()
}

// missing says how often which events did not come.
func missing(wanted map[string]int, received []harness.Received) map[string]int {
	left := make(map[string]int)
	for what, n := range wanted {
		left[what] = n
	}
	for _, r := range received {
		what := fmt.Sprint(r.Action, " ", r.Repository)
		if r.Tag != "" {
			what += ":" + r.Tag
		}
		if left[what]--; left[what] <= 0 {
			delete(left, what)
		}
	}
	return left
}
