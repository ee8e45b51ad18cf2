package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/internal/outbox"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks/sinktest"
)

var (
	errLater = errors.New("later")
	errNever = notifications.Permanent(errors.New("never"))
)

func TestOutboxIsASink(t *testing.T) {
	for name, opts := range map[string]*outbox.Options{
		"default":   nil,
		"no wait":   {Wait: -1},
		"long wait": {Wait: time.Minute},
		"small":     {MaxEvents: 20},
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.TestSink(t, func(_ *testing.T, far notifications.Sink) sinktest.Subject {
				o := outbox.New(far, opts)
				return sinktest.Subject{Sink: o, Shutdown: o.Shutdown}
			})
		})
	}
}

func ExampleNew() {
	var rec notificationstest.Recorder
	o := outbox.New(&rec, nil)
	err := o.Write(context.Background(), pushes(0, 2)) // waits for the Recorder
	fmt.Println(err, rec.Len())
	fmt.Println(o.Shutdown(context.Background()))
	// Output:
	// <nil> 2
	// <nil>
}

func pushes(first, count int) []*notifications.Event {
	return notificationstest.Pushes(first, count, "team/app")
}

func pull(n int) []*notifications.Event {
	return []*notifications.Event{notificationstest.Pull("team/app", "v1", n)}
}

// numbers are those from first to before.
func numbers(first, before int) (list []int) {
	for n := first; n < before; n++ {
		list = append(list, n)
	}
	return list
}

// firsts are the numbers of events without repeats.
func firsts(events []*notifications.Event) (list []int) {
	seen := make(map[int]bool)
	for _, n := range notificationstest.Numbers(events) {
		if !seen[n] {
			seen[n] = true
			list = append(list, n)
		}
	}
	return list
}

// wrote writes batch and checks how long that took.
func wrote(t *testing.T, o *outbox.Outbox, batch []*notifications.Event, want time.Duration) {
	t.Helper()
	start := time.Now()
	if err := o.Write(t.Context(), batch); err != nil {
		t.Errorf("Write = %v", err)
	}
	if took := time.Since(start); took != want {
		t.Errorf("Write took %v, want %v", took, want)
	}
}

func mustShutdown(t *testing.T, o *outbox.Outbox) {
	t.Helper()
	if err := o.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

// unrecorded checks the counters: those that are not in want are there, at zero.
func unrecorded(t *testing.T, reg prometheus.Gatherer, want map[string]int) {
	t.Helper()
	all := map[string]int{"closed": 0, "full": 0, "refused": 0, "shutdown": 0}
	maps.Copy(all, want)
	if diff := cmp.Diff(all, metric(t, reg, "regcast_observer_unrecorded_events_total")); diff != "" {
		t.Errorf("unrecorded, -want +got:\n%s", diff)
	}
}

func waiting(t *testing.T, reg prometheus.Gatherer, want int) {
	t.Helper()
	if got := metric(t, reg, "regcast_observer_waiting_events")[""]; got != want {
		t.Errorf("%d events wait, want %d", got, want)
	}
}

// metric reads a metric by the value of its label, "" without one.
func metric(t *testing.T, reg prometheus.Gatherer, name string) map[string]int {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]int)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			label := ""
			for _, l := range m.GetLabel() {
				label = l.GetValue()
			}
			values[label] = int(m.GetCounter().GetValue() + m.GetGauge().GetValue())
		}
	}
	return values
}

func TestWriteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		o := outbox.New(notificationstest.NewSlow(&rec, 20*time.Millisecond), nil)
		wrote(t, o, pushes(0, 1), 20*time.Millisecond)
		wrote(t, o, pull(1), 0)
		synctest.Wait()                                                    // until it is being written
		wrote(t, o, append(pull(2), pushes(3, 1)...), 40*time.Millisecond) // behind the pull
		mustShutdown(t, o)
		if diff := cmp.Diff(numbers(0, 4), notificationstest.Numbers(rec.Events())); diff != "" {
			t.Error(diff)
		}

		rec.Reset()
		o = outbox.New(notificationstest.NewSlow(&rec, time.Second), nil)
		wrote(t, o, pushes(0, 1), outbox.DefaultWait)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := o.Write(ctx, pushes(1, 1)); err != nil || time.Since(start) != time.Millisecond {
			t.Errorf("Write whose context ends = %v after %v", err, time.Since(start))
		}
		mustShutdown(t, o)
		if diff := cmp.Diff(numbers(0, 2), notificationstest.Numbers(rec.Events())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatGathersIsOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		o := outbox.New(notificationstest.NewSlow(&rec, time.Millisecond), &outbox.Options{Wait: -1})
		for n := range 2500 {
			wrote(t, o, pushes(n, 1), 0)
			if n == 0 {
				synctest.Wait() // until the first is being written
			}
		}
		mustShutdown(t, o)
		var sizes []int
		for _, b := range rec.Batches() {
			sizes = append(sizes, len(b))
		}
		if diff := cmp.Diff([]int{1, 1000, 1000, 499}, sizes); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(numbers(0, 2500), notificationstest.Numbers(rec.Events())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFull(t *testing.T) {
	heavy := func(n int) []*notifications.Event {
		return []*notifications.Event{notifications.NewEvent(notifications.ActionPush, notifications.Details{Target: notifications.Target{
			Repository: "team/app",
			Descriptor: v1.Descriptor{Annotations: map[string]string{"a": strings.Repeat("x", n/2)}},
			References: []v1.Descriptor{{Data: make([]byte, n/2)}},
		}})}
	}
	for name, tc := range map[string]struct {
		opts  outbox.Options
		fill  []*notifications.Event
		more  []*notifications.Event
		never []*notifications.Event
	}{
		"events": {outbox.Options{MaxEvents: 10}, pushes(0, 10), pushes(10, 1), pushes(0, 11)},
		"bytes":  {outbox.Options{MaxBytes: 1 << 20}, heavy(1<<20 - 4<<10), heavy(8 << 10), heavy(1 << 20)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logs bytes.Buffer
				reg := prometheus.NewRegistry()
				tc.opts.Wait, tc.opts.Registerer, tc.opts.Logger = -1, reg, logger(&logs)
				gate := notificationstest.NewGate(nil)
				o := outbox.New(gate, &tc.opts)
				if err := o.Write(t.Context(), tc.never); !notifications.IsPermanent(err) {
					t.Errorf("Write of more than ever fits = %v", err)
				}
				if err := o.Accepting(); err != nil {
					t.Errorf("Accepting before it is full = %v", err)
				}
				wrote(t, o, tc.fill, 0)
				for range 2 {
					if err := o.Write(t.Context(), tc.more); !errors.Is(err, notifications.ErrFull) {
						t.Errorf("Write without room = %v", err)
					}
				}
				if err := o.Accepting(); !errors.Is(err, notifications.ErrFull) {
					t.Errorf("Accepting without room = %v", err)
				}
				waiting(t, reg, len(tc.fill))
				gate.Open()
				synctest.Wait()
				waiting(t, reg, 0)
				if err := o.Accepting(); err != nil {
					t.Errorf("Accepting with room = %v", err)
				}
				wrote(t, o, tc.more, 0)
				mustShutdown(t, o)
				unrecorded(t, reg, map[string]int{"full": len(tc.never) + 2})
				want := "ERROR no room for events, they go unrecorded\nINFO there is room for events again\n"
				if diff := cmp.Diff(want, logs.String()); diff != "" {
					t.Errorf("logged, -want +got:\n%s", diff)
				}
			})
		})
	}
}

func TestSettle(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	settled := func(t *testing.T, o *outbox.Outbox, ctx context.Context, want time.Duration) {
		t.Helper()
		start := time.Now()
		o.Settle(ctx)
		if took := time.Since(start); took != want {
			t.Errorf("Settle took %v, want %v", took, want)
		}
	}
	write := func(t *testing.T, o *outbox.Outbox, batch []*notifications.Event) {
		t.Helper()
		start := time.Now()
		if err := o.Write(ended, batch); err != nil || time.Since(start) != 0 {
			t.Errorf("Write with a context that has ended = %v, after %v", err, time.Since(start))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		o := outbox.New(notificationstest.NewSlow(&rec, 10*time.Millisecond), nil)
		settled(t, o, t.Context(), 0)
		for n := range 3 {
			write(t, o, pushes(n, 1))
			synctest.Wait()
		}
		settled(t, o, t.Context(), 20*time.Millisecond) // the first alone, the others as one batch
		if n := rec.Len(); n != 3 {
			t.Errorf("%d events are written", n)
		}
		write(t, o, pushes(3, 1))
		settled(t, o, ended, 0)
		mustShutdown(t, o)
		settled(t, o, t.Context(), 0)
	})
	synctest.Test(t, func(t *testing.T) {
		gate := notificationstest.NewGate(nil)
		o := outbox.New(gate, nil)
		write(t, o, pushes(0, 1))
		settled(t, o, t.Context(), outbox.DefaultWait)
		time.Sleep(time.Second)
		settled(t, o, t.Context(), 0) // the sink is known to hang
		gate.Open()
		mustShutdown(t, o)
	})
	synctest.Test(t, func(t *testing.T) {
		gate := notificationstest.NewGate(nil)
		o := outbox.New(gate, &outbox.Options{Wait: -1})
		write(t, o, pushes(0, 1))
		settled(t, o, t.Context(), 0)
		gate.Open()
		mustShutdown(t, o)
	})
}

// While nothing is written, pulls do not take the room of pushes, whoever pulls.
func TestPullsLeaveRoomForChanges(t *testing.T) {
	pulls := func(count int) (batch []*notifications.Event) {
		for n := range count {
			batch = append(batch, pull(n)...)
		}
		return batch
	}
	heavy := func(action string, n int) []*notifications.Event {
		return []*notifications.Event{notifications.NewEvent(action, notifications.Details{Target: notifications.Target{
			Repository: "team/app", References: []v1.Descriptor{{Data: make([]byte, n)}},
		}})}
	}
	const kib = 1 << 10
	for name, tc := range map[string]struct {
		opts               outbox.Options
		fill, over, change []*notifications.Event
		never              []*notifications.Event
	}{
		"events": {outbox.Options{MaxEvents: 8}, pulls(6), pull(6), pushes(0, 2), pulls(7)},
		"bytes": {
			outbox.Options{MaxBytes: 100 * kib}, heavy(notifications.ActionPull, 70*kib), heavy(notifications.ActionPull, 10*kib),
			heavy(notifications.ActionDelete, 20*kib), heavy(notifications.ActionPull, 80*kib),
		},
		"pulls with a push": {outbox.Options{MaxEvents: 8}, pulls(6), pull(6), append(pulls(1), pushes(0, 1)...), pulls(7)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logs bytes.Buffer
				reg := prometheus.NewRegistry()
				tc.opts.Wait, tc.opts.Registerer, tc.opts.Logger = -1, reg, logger(&logs)
				gate := notificationstest.NewGate(nil)
				o := outbox.New(gate, &tc.opts)
				if err := o.Write(t.Context(), tc.never); !notifications.IsPermanent(err) {
					t.Errorf("Write of more pulls than ever fit = %v", err)
				}
				wrote(t, o, tc.fill, 0)
				for range 2 {
					if err := o.Write(t.Context(), tc.over); !errors.Is(err, notifications.ErrFull) {
						t.Errorf("Write of a pull without room = %v", err)
					}
				}
				if err := o.Accepting(); err != nil {
					t.Errorf("Accepting with room for changes = %v", err)
				}
				wrote(t, o, tc.change, 0)
				waiting(t, reg, len(tc.fill)+len(tc.change))
				gate.Open()
				synctest.Wait()
				wrote(t, o, tc.over, 0)
				mustShutdown(t, o)
				unrecorded(t, reg, map[string]int{"full": len(tc.never) + 2})
				want := "ERROR no room for events of pulls, they go unrecorded\nINFO there is room for events again\n"
				if diff := cmp.Diff(want, logs.String()); diff != "" {
					t.Errorf("logged, -want +got:\n%s", diff)
				}
			})
		})
	}
}

// logger writes level, message and the attribute error of each record as a line.
func logger(w io.Writer) *slog.Logger { return slog.New(lines{slog.DiscardHandler, w}) }

type lines struct {
	slog.Handler
	w io.Writer
}

func (lines) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (l lines) Handle(_ context.Context, r slog.Record) error {
	cause := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			cause = ": " + a.Value.String()
		}
		return true
	})
	_, err := fmt.Fprintf(l.w, "%v %s%s\n", r.Level, r.Message, cause)
	return err
}

func TestFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		var logs bytes.Buffer
		faulty := notificationstest.NewFaulty(&rec, notificationstest.Script(errLater, errLater, errLater, nil, errLater))
		o := outbox.New(faulty, &outbox.Options{Logger: logger(&logs)})
		wrote(t, o, pushes(0, 1), outbox.DefaultWait)
		if err := o.Accepting(); !errors.Is(err, errLater) {
			t.Errorf("Accepting while the sink fails = %v", err)
		}
		wrote(t, o, pushes(1, 1), 0) // nothing to wait for
		time.Sleep(time.Second)
		if err := o.Accepting(); err != nil {
			t.Errorf("Accepting when it takes events again = %v", err)
		}
		mustShutdown(t, o)
		if diff := cmp.Diff(numbers(0, 2), notificationstest.Numbers(rec.Events())); diff != "" {
			t.Error(diff)
		}
		want := strings.Repeat("WARN sink does not take events, they wait: later\nINFO sink takes events again\n", 2)
		if diff := cmp.Diff(want, logs.String()); diff != "" {
			t.Errorf("logged, -want +got:\n%s", diff)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		o := outbox.New(notificationstest.NewFaulty(nil, func(write int, _ []*notifications.Event) error {
			at = append(at, time.Now())
			if write == 12 {
				return nil
			}
			return errLater
		}), nil)
		wrote(t, o, pushes(0, 1), outbox.DefaultWait)
		mustShutdown(t, o)
		want := 50 * time.Millisecond
		for i := range at[1:] {
			if wait := at[i+1].Sub(at[i]); wait < want/2 || wait > want {
				t.Errorf("wait %d was %v, want %v to %v", i, wait, want/2, want)
			}
			want = min(2*want, 5*time.Second)
		}
	})
}

func TestAttemptsThatHangAreCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := notificationstest.NewGate(nil)
		o := outbox.New(gate, nil)
		start := time.Now()
		wrote(t, o, pushes(0, 1), outbox.DefaultWait)
		time.Sleep(10*time.Second - outbox.DefaultWait)
		synctest.Wait()
		if err := o.Accepting(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Accepting after %v = %v", time.Since(start), err)
		}
		gate.Open()
		mustShutdown(t, o)
	})
}

// A deaf sink does not answer before it is released, whatever becomes of the context.
type deaf struct {
	notificationstest.Recorder
	released chan struct{}
}

func (d *deaf) Write(ctx context.Context, batch []*notifications.Event) error {
	<-d.released
	return d.Recorder.Write(context.WithoutCancel(ctx), batch)
}

func TestASinkThatHangsIsKnownToAfterASecond(t *testing.T) {
	for name, wait := range map[string]time.Duration{"default": 0, "long wait": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &deaf{released: make(chan struct{})}
				o := outbox.New(sink, &outbox.Options{Wait: wait})
				done := make(chan struct{})
				go func() { // with a long wait, until the sink answers
					defer close(done)
					_ = o.Write(t.Context(), pushes(0, 1))
				}()
				time.Sleep(time.Second)
				if err := o.Accepting(); err != nil {
					t.Errorf("Accepting while a write takes a second = %v", err)
				}
				time.Sleep(time.Millisecond)
				if err := o.Accepting(); err == nil {
					t.Error("Accepting while it takes longer = nil")
				}
				wrote(t, o, pushes(1, 1), 0)
				time.Sleep(time.Minute) // longer than a write may take
				if err := o.Accepting(); err == nil {
					t.Error("Accepting after a minute = nil")
				}
				close(sink.released)
				synctest.Wait()
				<-done
				if err := o.Accepting(); err != nil {
					t.Errorf("Accepting when the sink has answered = %v", err)
				}
				mustShutdown(t, o)
				if diff := cmp.Diff(numbers(0, 2), notificationstest.Numbers(sink.Events())); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestNoWaitForASinkThatIsNotAccepting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer error
		o := outbox.New(notificationstest.NewSlow(nil, 20*time.Millisecond), &outbox.Options{Accepting: func() error { return answer }})
		wrote(t, o, pushes(0, 1), 20*time.Millisecond)
		answer = errLater
		wrote(t, o, pushes(1, 1), 0)
		mustShutdown(t, o)
	})
}

func TestRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		var logs bytes.Buffer
		reg := prometheus.NewRegistry()
		culprit := func(e *notifications.Event) bool {
			return slices.Contains([]int{0, 7, 8, 99}, notificationstest.Number(e))
		}
		o := outbox.New(notificationstest.NewFaulty(&rec, notificationstest.Reject(culprit, errNever)),
			&outbox.Options{Registerer: reg, Logger: logger(&logs)})
		wrote(t, o, pushes(0, 100), 0)
		if err := o.Accepting(); err != nil {
			t.Errorf("Accepting of a sink that refuses = %v", err)
		}
		mustShutdown(t, o)
		want := slices.DeleteFunc(numbers(0, 100), func(n int) bool { return slices.Contains([]int{0, 7, 8, 99}, n) })
		if diff := cmp.Diff(want, notificationstest.Numbers(rec.Events())); diff != "" {
			t.Error(diff)
		}
		unrecorded(t, reg, map[string]int{"refused": 4})
		if diff := cmp.Diff("ERROR events refused for good, they go unrecorded: never\n", logs.String()); diff != "" {
			t.Errorf("logged, -want +got:\n%s", diff)
		}
	})
}

// A volatile sink panics over the batches that its rule names.
type volatile struct {
	notificationstest.Recorder
	rule func(batch []*notifications.Event) bool
}

func (v *volatile) Write(ctx context.Context, batch []*notifications.Event) error {
	if v.rule(batch) {
		panic("boom")
	}
	return v.Recorder.Write(ctx, batch)
}

func (v *volatile) Wants(*notifications.Event) bool { panic("boom") }

func TestPanicsOfTheSink(t *testing.T) {
	panics := 0
	for name, tc := range map[string]struct {
		rule    func([]*notifications.Event) bool
		refused []int
	}{
		"passing": {func([]*notifications.Event) bool { panics++; return panics < 3 }, nil},
		"over some events": {func(batch []*notifications.Event) bool {
			return slices.ContainsFunc(batch, func(e *notifications.Event) bool { return notificationstest.Number(e)%7 == 3 })
		}, []int{3, 10, 17}},
		"always": {func([]*notifications.Event) bool { return true }, numbers(0, 20)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logs bytes.Buffer
				reg := prometheus.NewRegistry()
				sink := &volatile{rule: tc.rule}
				o := outbox.New(sink, &outbox.Options{Registerer: reg, Logger: logger(&logs)})
				wrote(t, o, pushes(0, 20), outbox.DefaultWait)
				if err := o.Accepting(); err == nil || !strings.Contains(err.Error(), "boom") {
					t.Errorf("Accepting of a sink that panics = %v", err)
				}
				time.Sleep(time.Minute)
				if err := o.Accepting(); err != nil { // or nothing would ever be tried again
					t.Errorf("Accepting when nothing waits = %v", err)
				}
				if !o.Wants(pushes(0, 1)[0]) {
					t.Error("what the sink cannot say is not wanted")
				}
				mustShutdown(t, o)
				want := slices.DeleteFunc(numbers(0, 20), func(n int) bool { return slices.Contains(tc.refused, n) })
				if diff := cmp.Diff(want, notificationstest.Numbers(sink.Events())); diff != "" {
					t.Error(diff)
				}
				unrecorded(t, reg, map[string]int{"refused": len(tc.refused)})
				if n := strings.Count(logs.String(), "ERROR the sink has panicked"); n != 1 {
					t.Errorf("%d panics are logged:\n%s", n, logs.String())
				}
			})
		})
	}
}

func TestSinkThatClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		var logs bytes.Buffer
		reg := prometheus.NewRegistry()
		rec.Close()
		o := outbox.New(&rec, &outbox.Options{Registerer: reg, Logger: logger(&logs)})
		wrote(t, o, pushes(0, 3), 0)
		if err := o.Write(t.Context(), pushes(3, 2)); !errors.Is(err, notifications.ErrClosed) {
			t.Errorf("Write = %v", err)
		}
		if err := o.Accepting(); !errors.Is(err, notifications.ErrClosed) {
			t.Errorf("Accepting = %v", err)
		}
		mustShutdown(t, o)
		unrecorded(t, reg, map[string]int{"closed": 5})
		if diff := cmp.Diff("ERROR sink is closed, events go unrecorded\n", logs.String()); diff != "" {
			t.Errorf("logged, -want +got:\n%s", diff)
		}
	})
}

func TestShutdown(t *testing.T) {
	for name, tc := range map[string]struct {
		dst  func() notifications.Sink
		err  error
		left map[string]int
	}{
		"hanging": {func() notifications.Sink { return notificationstest.NewGate(nil) }, context.DeadlineExceeded, map[string]int{"shutdown": 1500, "closed": 1}},
		"failing": {func() notifications.Sink {
			return notificationstest.NewFaulty(nil, notificationstest.EveryNth(1, errLater))
		}, context.DeadlineExceeded, map[string]int{"shutdown": 1500, "closed": 1}},
		"slow": {func() notifications.Sink { return notificationstest.NewSlow(nil, time.Second) }, nil, map[string]int{"closed": 1}},
		"closes": {func() notifications.Sink {
			return notificationstest.NewSlow(notificationstest.NewFaulty(nil, notificationstest.Script(nil, notifications.ErrClosed)), time.Second)
		}, notifications.ErrClosed, map[string]int{"closed": 501}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := prometheus.NewRegistry()
				o := outbox.New(tc.dst(), &outbox.Options{Registerer: reg})
				done := make(chan struct{})
				go func() {
					defer close(done)
					if err := o.Write(t.Context(), pushes(0, 1500)); err != nil {
						t.Errorf("Write = %v", err)
					}
				}()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if err := o.Shutdown(ctx); !errors.Is(err, tc.err) {
					t.Errorf("Shutdown = %v, want %v", err, tc.err)
				}
				<-done
				if err := o.Write(t.Context(), pushes(0, 1)); !errors.Is(err, notifications.ErrClosed) {
					t.Errorf("Write after Shutdown = %v", err)
				}
				mustShutdown(t, o)
				unrecorded(t, reg, tc.left)
				waiting(t, reg, 0)
			})
		})
	}
}

func TestSeveralOutboxesShareARegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	for _, name := range []string{"a", "b"} {
		o := outbox.New(&notificationstest.Recorder{}, &outbox.Options{
			Registerer: prometheus.WrapRegistererWith(prometheus.Labels{"part": name}, reg),
		})
		mustShutdown(t, o)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if want := map[string]int{"regcast_observer_unrecorded_events_total": 8, "regcast_observer_waiting_events": 2}[f.GetName()]; len(f.GetMetric()) != want {
			t.Errorf("%s: %d metrics, want %d", f.GetName(), len(f.GetMetric()), want)
		}
	}
}

func TestAcceptingOfTheSink(t *testing.T) {
	o := outbox.New(&notificationstest.Recorder{}, &outbox.Options{Accepting: func() error { return errLater }})
	if err := o.Accepting(); !errors.Is(err, errLater) {
		t.Errorf("Accepting = %v", err)
	}
	mustShutdown(t, o)
}

// A picky sink wants pushes alone.
type picky struct{ notifications.Sink }

func (picky) Wants(e *notifications.Event) bool { return e.Action == notifications.ActionPush }

func TestWantsWhatTheSinkWants(t *testing.T) {
	o := outbox.New(picky{&notificationstest.Recorder{}}, nil)
	if !notifications.Wants(o, pushes(0, 1)[0]) || notifications.Wants(o, pull(0)[0]) {
		t.Error("the sink was not asked")
	}
}

// TestNothingIsLostOrReordered lets several registries' worth of requests write to a sink
// that fails in every way and loses answers.
func TestNothingIsLostOrReordered(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func chaos(t *testing.T, r *rand.Rand) {
	const writers, events = 4, 150
	var rec notificationstest.Recorder
	reg := prometheus.NewRegistry()
	var rmu sync.Mutex
	roll := func(n int) int {
		rmu.Lock()
		defer rmu.Unlock()
		return r.IntN(n)
	}
	poison := func(e *notifications.Event) bool { return notificationstest.Number(e)%37 == 5 }
	fault := func(_ int, batch []*notifications.Event) error {
		if slices.ContainsFunc(batch, poison) {
			return errNever
		}
		if roll(4) == 0 {
			return errLater
		}
		return nil
	}
	dst := notificationstest.NewFaulty(notificationstest.NewSlow(notificationstest.NewLossyAck(&rec, func(int, []*notifications.Event) error {
		if roll(6) == 0 {
			return errLater
		}
		return nil
	}), time.Duration(roll(30))*time.Millisecond), fault)
	o := outbox.New(dst, &outbox.Options{Registerer: reg, MaxEvents: 20 + roll(100)})

	accepted := make([][]int, writers)
	full := 0
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := w * events; n < (w+1)*events; {
				size := min(1+roll(5), (w+1)*events-n)
				err := o.Write(t.Context(), pushes(n, size))
				switch {
				case err == nil:
					accepted[w] = append(accepted[w], numbers(n, n+size)...)
				case errors.Is(err, notifications.ErrFull):
					rmu.Lock()
					full += size
					rmu.Unlock()
				default:
					t.Errorf("Write = %v", err)
				}
				n += size
				if roll(3) == 0 {
					time.Sleep(time.Duration(roll(100)) * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(roll(20))*100*time.Millisecond)
	defer cancel()
	err := o.Shutdown(ctx)

	got := make([][]int, writers)
	for _, n := range firsts(rec.Events()) {
		got[n/events] = append(got[n/events], n)
	}
	arrived, refused := 0, 0
	for w := range writers {
		want := slices.DeleteFunc(slices.Clone(accepted[w]), func(n int) bool { return n%37 == 5 })
		arrived += len(got[w])
		if len(got[w]) > len(want) || !slices.Equal(got[w], want[:len(got[w])]) {
			t.Errorf("writer %d, -accepted +arrived:\n%s", w, cmp.Diff(want, got[w]))
		}
		refused += len(accepted[w]) - len(want)
	}
	if err == nil {
		unrecorded(t, reg, map[string]int{"full": full, "refused": refused})
		if missing := writers*events - full - refused - arrived; missing != 0 {
			t.Errorf("%d events are missing", missing)
		}
	}
}
