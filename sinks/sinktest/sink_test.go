package sinktest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks/sinktest"
)

func TestSinksOfNotificationstest(t *testing.T) {
	t.Run("Recorder", func(t *testing.T) {
		sinktest.TestSink(t, func(*testing.T, notifications.Sink) sinktest.Subject {
			r := &notificationstest.Recorder{}
			return sinktest.Subject{
				Sink:     r,
				Received: r.Events,
				Shutdown: func(context.Context) error { r.Close(); return nil },
			}
		})
	})
	for name, wrap := range map[string]func(far notifications.Sink) notifications.Sink{
		"Slow": func(far notifications.Sink) notifications.Sink {
			return notificationstest.NewSlow(far, 0)
		},
		"Gate": func(far notifications.Sink) notifications.Sink {
			g := notificationstest.NewGate(far)
			g.Open()
			return g
		},
		"Faulty": func(far notifications.Sink) notifications.Sink {
			return notificationstest.NewFaulty(far, notificationstest.Script())
		},
		"LossyAck": func(far notifications.Sink) notifications.Sink {
			return notificationstest.NewLossyAck(far, notificationstest.Script())
		},
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.TestSink(t, func(_ *testing.T, far notifications.Sink) sinktest.Subject {
				return sinktest.Subject{Sink: wrap(far)}
			})
		})
	}
}

// A brokenSink breaks the contract in one way.
type brokenSink struct {
	far   notifications.Sink
	write func(ctx context.Context, far notifications.Sink, batch []*notifications.Event) error
}

func (b *brokenSink) Write(ctx context.Context, batch []*notifications.Event) error {
	return b.write(ctx, b.far, batch)
}

// broken are sinks that TestSink must find fault with, and the subtest that must say so.
func broken() map[string]*brokenSink {
	return map[string]*brokenSink{
		"the_slice_stays": {write: func(ctx context.Context, far notifications.Sink, batch []*notifications.Event) error {
			slices.Reverse(batch)
			return far.Write(ctx, batch)
		}},
		"an_empty_batch": {write: func(ctx context.Context, far notifications.Sink, batch []*notifications.Event) error {
			if len(batch) == 0 {
				return errors.New("nothing to do")
			}
			return far.Write(ctx, batch)
		}},
		"passing_failures": {write: func(ctx context.Context, far notifications.Sink, batch []*notifications.Event) error {
			return notifications.Permanent(far.Write(ctx, batch))
		}},
		"a_refusal_for_good": {write: func(ctx context.Context, far notifications.Sink, batch []*notifications.Event) error {
			if err := far.Write(ctx, batch); err != nil {
				return errors.New(err.Error())
			}
			return nil
		}},
		"closed_after_shutdown": {write: func(ctx context.Context, far notifications.Sink, batch []*notifications.Event) error {
			return far.Write(ctx, batch)
		}},
	}
}

// TestSinkFindsFaults runs this test binary again on each broken sink, because a failing
// subtest cannot be taken back.
func TestSinkFindsFaults(t *testing.T) {
	const key = "SINKTEST_BROKEN"
	if name := os.Getenv(key); name != "" {
		sinktest.TestSink(t, func(_ *testing.T, far notifications.Sink) sinktest.Subject {
			sink := broken()[name]
			sink.far = far
			return sinktest.Subject{Sink: sink, Shutdown: func(context.Context) error { return nil }}
		})
		return
	}
	for name := range broken() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestSinkFindsFaults$/^"+name)
			cmd.Env = append(os.Environ(), key+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestSinkFindsFaults/"+name) {
				t.Errorf("not found: %v\n%s", err, out)
			}
		})
	}
}

func TestSinkOpensOneForEachSubtest(t *testing.T) {
	var opened, shut atomic.Int32
	t.Run("suite", func(t *testing.T) {
		sinktest.TestSink(t, func(_ *testing.T, far notifications.Sink) sinktest.Subject {
			opened.Add(1)
			r := &notificationstest.Recorder{}
			return sinktest.Subject{Sink: r, Received: r.Events, Shutdown: func(context.Context) error {
				shut.Add(1)
				r.Close()
				return nil
			}}
		})
	})
	if opened.Load() < 8 || shut.Load() < opened.Load() {
		t.Errorf("opened %d, shut down %d", opened.Load(), shut.Load())
	}
}
