// Command demo plays regcast's main job in front of you, on loopback and with nothing
// faked: it builds and starts the real `regcast serve` with a journal in a temporary
// folder, starts a real registry (CNCF distribution v3) that sends its notifications
// there, pushes, pulls, mounts and deletes with a real client, and prints each event as
// a real webhook receives it. In the middle it kills the dispatcher with SIGKILL and
// starts it again, to show that nothing is lost.
//
//	go run ./examples/demo
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/regcast/regcast/examples/internal/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run plays the demo, within three minutes once regcast is built, and tells it on w.
func run(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "regcast-demo-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	say := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

	say("Building regcast …")
	binary, err := harness.Build(ctx, dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tell := &teller{w: w}
	consumer, err := harness.StartConsumer(tell.event)
	if err != nil {
		return err
	}
	defer consumer.Close()
	witness, err := harness.StartConsumer(nil)
	if err != nil {
		return err
	}
	defer witness.Close()

	log := new(bytes.Buffer)
	dispatcher, err := harness.StartDispatcher(ctx, binary, dir, map[string]string{"audit": consumer.URL()}, log)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, log)
	}
	defer dispatcher.Kill()
	registry, err := harness.StartRegistry(map[string]string{"regcast": dispatcher.IntakeURL(), "witness": witness.URL()})
	if err != nil {
		return err
	}
	defer registry.Close()
	say("Registry (CNCF distribution v3) on %s\n  notifies regcast on %s\n  which delivers to the webhook on %s\n",
		registry.Host(), dispatcher.IntakeURL(), consumer.URL())

	client := harness.NewClient(ctx, registry.Host())
	say("— A client pushes, pulls, mounts and deletes in team/…")
	if err := client.Play("team"); err != nil {
		return err
	}
	if err := drained(ctx, registry, witness, consumer); err != nil {
		return err
	}

	say("\n— The webhook goes away, the client goes on in after/…, and regcast is killed with SIGKILL.")
	if err := consumer.Close(); err != nil {
		return err
	}
	if err := client.Play("after"); err != nil {
		return err
	}
	if err := registry.Settled(ctx); err != nil {
		return err
	}
	if err := dispatcher.Kill(); err != nil {
		return err
	}
	waiting := len(ids(witness.Received())) - len(ids(consumer.Received()))
	say("  %d events were acknowledged and not delivered; the registry has forgotten them.", waiting)

	say("\n— The webhook is back, and regcast starts again:")
	if err := consumer.Resume(); err != nil {
		return err
	}
	if err := dispatcher.Start(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, log)
	}
	if err := drained(ctx, registry, witness, consumer); err != nil {
		return err
	}
	if err := dispatcher.Close(); err != nil {
		return fmt.Errorf("%w\n%s", err, log)
	}
	sent, received := witness.Received(), consumer.Received()
	if err := compare(sent, received); err != nil {
		return fmt.Errorf("%w\n%s", err, log)
	}
	say("\nThe registry sent %d events, the webhook received %d. Nothing was lost.", len(ids(sent)), len(ids(received)))
	return nil
}

// compare says which events that were sent are missing among those received, and which
// were never sent.
func compare(sent, received []harness.Received) error {
	want, got := ids(sent), ids(received)
	var errs []error
	if len(want) == 0 {
		errs = append(errs, errors.New("the registry sent nothing"))
	}
	for id, r := range want {
		if _, ok := got[id]; !ok {
			errs = append(errs, fmt.Errorf("the event %s (%s of %s) was lost", id, r.Action, r.Repository))
		}
	}
	for id, r := range got {
		if _, ok := want[id]; !ok {
			errs = append(errs, fmt.Errorf("the event %s (%s of %s) was never sent", id, r.Action, r.Repository))
		}
	}
	return errors.Join(errs...)
}

// ids are the events by their ids: a repeat counts once.
func ids(events []harness.Received) map[string]harness.Received {
	set := make(map[string]harness.Received)
	for _, r := range events {
		set[r.ID] = r
	}
	return set
}

// drained waits until the registry has sent everything it has, and the consumer has
// received everything that the witness has.
func drained(ctx context.Context, registry *harness.Registry, witness, consumer *harness.Consumer) error {
	if err := registry.Settled(ctx); err != nil {
		return err
	}
	return consumer.Wait(ctx, len(ids(witness.Received())))
}

// A teller prints events as they arrive, and remembers which it has seen.
type teller struct {
	w    io.Writer
	mu   sync.Mutex
	seen map[string]bool
}

func (t *teller) event(r harness.Received) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen == nil {
		t.seen = make(map[string]bool)
	}
	again := ""
	if t.seen[r.ID] {
		again = "  (a repeat, same id)"
	}
	t.seen[r.ID] = true
	what := r.Repository
	target, _ := r.JSON["target"].(map[string]any)
	switch digest, _ := target["digest"].(string); {
	case r.Tag != "":
		what += ":" + r.Tag
	case len(digest) > 19:
		what += "@" + digest[:19] + "…"
	}
	media, _ := target["mediaType"].(string)
	fmt.Fprintf(t.w, "  #%-3s %-7s %-42s %s%s\n", r.Header.Get("Regcast-Sequence"), r.Action, what, media, again)
}
