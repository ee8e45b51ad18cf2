package harness_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/examples/internal/harness"
)

// TestRegistryTellsTheTruth shows that the scene without regcast holds together: two
// consumers of one registry get the same events, of every kind.
func TestRegistryTellsTheTruth(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	one, two := startConsumer(t), startConsumer(t)
	registry := startRegistry(t, map[string]string{"one": one.URL(), "two": two.URL()})

	if err := harness.NewClient(ctx, registry.Host()).Play("team"); err != nil {
		t.Fatal(err)
	}
	if err := registry.Settled(ctx); err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(events(one.Received()), events(two.Received())); diff != "" {
		t.Errorf("the consumers got different events (-one +two):\n%s", diff)
	}
	actions := make(map[string]int)
	for _, e := range one.Received() {
		actions[e.Action]++
	}
	for _, action := range []string{"push", "pull", "mount", "delete"} {
		if actions[action] == 0 {
			t.Errorf("no %s event: %v", action, actions)
		}
	}
}

func startConsumer(t *testing.T) *harness.Consumer {
	t.Helper()
	c, err := harness.StartConsumer(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func startRegistry(t *testing.T, endpoints map[string]string) *harness.Registry {
	t.Helper()
	r, err := harness.StartRegistry(endpoints)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// events is what was received, without what differs from delivery to delivery.
func events(received []harness.Received) []map[string]any {
	var out []map[string]any
	for _, r := range received {
		out = append(out, r.JSON)
	}
	return out
}
