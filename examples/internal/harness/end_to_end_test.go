package harness_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/examples/internal/harness"
)

// binary builds regcast into a folder of the test. The toolchain's cache makes the
// second time quick.
func binary(t *testing.T) string {
	t.Helper()
	path, err := harness.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A scene is a registry that notifies a witness directly and, beside it, regcast, which
// delivers to a consumer. What the witness saw is the truth.
type scene struct {
	*harness.Client
	registry   *harness.Registry
	witness    *harness.Consumer
	consumer   *harness.Consumer
	dispatcher *harness.Dispatcher
}

// newScene sets a scene, and returns how long it may play: two minutes from when regcast is
// built, for which a machine that does so for the first time takes its time.
func newScene(t *testing.T) (context.Context, *scene) {
	t.Helper()
	s := &scene{witness: startConsumer(t), consumer: startConsumer(t)}
	program := binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	var err error
	s.dispatcher, err = harness.StartDispatcher(ctx, program, t.TempDir(),
		map[string]string{"audit": s.consumer.URL()}, testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.dispatcher.Kill() })
	s.registry = startRegistry(t, map[string]string{
		"witness": s.witness.URL(), "regcast": s.dispatcher.IntakeURL(),
	})
	s.Client = harness.NewClient(ctx, s.registry.Host())
	return ctx, s
}

// settle waits until registry and regcast have delivered everything, stops regcast the
// polite way and compares what arrived with the truth.
func (s *scene) settle(ctx context.Context, t *testing.T, repeats bool) {
	t.Helper()
	if err := s.registry.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	truth := s.witness.Received()
	if err := s.consumer.Wait(ctx, len(truth)); err != nil {
		t.Fatalf("%v\nmissing: %v", err, missing(truth, s.consumer.Received()))
	}
	if err := s.dispatcher.Close(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	got := s.consumer.Received()
	firsts := firstOfEachID(got)
	if !repeats && len(firsts) != len(got) {
		t.Errorf("%d repeats, want none without a crash", len(got)-len(firsts))
	}
	if diff := cmp.Diff(byRepository(truth), byRepository(firsts)); diff != "" {
		t.Errorf("the consumer's events are not the registry's (-registry +consumer):\n%s", diff)
	}
	if len(truth) < 20 {
		t.Errorf("only %d events: the traffic was not what it should be", len(truth))
	}
}

// byRepository is the events of each repository in order of arrival.
func byRepository(received []harness.Received) map[string][]map[string]any {
	out := make(map[string][]map[string]any)
	for _, r := range received {
		out[r.Repository] = append(out[r.Repository], r.JSON)
	}
	return out
}

func firstOfEachID(received []harness.Received) []harness.Received {
	seen := make(map[string]bool)
	return slices.DeleteFunc(slices.Clone(received), func(r harness.Received) bool {
		defer func() { seen[r.ID] = true }()
		return seen[r.ID]
	})
}

func missing(truth, got []harness.Received) (out []string) {
	have := make(map[string]bool)
	for _, r := range got {
		have[r.ID] = true
	}
	for _, r := range truth {
		if !have[r.ID] {
			out = append(out, fmt.Sprintf("%s %s:%s %s", r.Action, r.Repository, r.Tag, r.ID))
		}
	}
	return out
}

func TestEveryEventArrives(t *testing.T) {
	ctx, s := newScene(t)
	for _, prefix := range []string{"team", "other/deep/er"} {
		if err := s.Play(prefix); err != nil {
			t.Fatal(err)
		}
	}
	s.settle(ctx, t, false)

	header := s.consumer.Received()[0].Header
	if got, want := header.Get("Content-Type"), "application/vnd.docker.distribution.events.v2+json"; got != want {
		t.Errorf("Content-Type = %q, want %q", got, want)
	}
	if got := header.Get("User-Agent"); !strings.HasPrefix(got, "regcast/") {
		t.Errorf("User-Agent = %q, want regcast/…", got)
	}
	if header.Get("Regcast-Attempt") != "1" || header.Get("Regcast-Sequence") == "" {
		t.Errorf("headers of the first attempt: %v", header)
	}
}

func TestConsumerIsDownDuringThePush(t *testing.T) {
	ctx, s := newScene(t)
	if err := s.consumer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Play("team"); err != nil {
		t.Fatal(err)
	}
	if err := s.registry.Settled(ctx); err != nil {
		t.Fatal("the registry has to get rid of its events while the consumer is down:", err)
	}
	if got := s.consumer.Received(); len(got) != 0 {
		t.Fatalf("a closed consumer received %d events", len(got))
	}
	if err := s.consumer.Resume(); err != nil {
		t.Fatal(err)
	}
	s.settle(ctx, t, false)
}

func TestKilledInTheMiddle(t *testing.T) {
	ctx, s := newScene(t)
	s.consumer.Answer(func(n int) int {
		if n%4 == 0 {
			return http.StatusServiceUnavailable // so that something is always under way
		}
		return http.StatusOK
	})

	pushed := make(chan error, 1)
	go func() {
		for i := range 6 {
			if err := s.Play(fmt.Sprintf("team-%d", i)); err != nil {
				pushed <- err
				return
			}
		}
		pushed <- nil
	}()
	for round := range 4 {
		if err := s.consumer.Wait(ctx, 15*(round+1)); err != nil {
			t.Fatal(err)
		}
		if err := s.dispatcher.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.dispatcher.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-pushed; err != nil {
		t.Fatal(err)
	}
	s.settle(ctx, t, true)
}

func TestConsumerFailsEveryThirdTime(t *testing.T) {
	ctx, s := newScene(t)
	s.consumer.Answer(func(n int) int {
		if n%3 == 0 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	if err := s.Play("team"); err != nil {
		t.Fatal(err)
	}
	s.settle(ctx, t, false)
}

// testLog shows the dispatcher's log only where a test failed.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	return l.t.Output().Write(p)
}
