package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// always is a sink that answers with err.
func always(err error) notifications.Sink {
	return notificationstest.NewFaulty(nil, notificationstest.EveryNth(1, err))
}

// patient is an error that asks to wait.
type patient struct{ wait time.Duration }

func (p patient) Error() string             { return "come back in " + p.wait.String() }
func (p patient) RetryAfter() time.Duration { return p.wait }

func TestBroadcasterOffersToAll(t *testing.T) {
	var first, last notificationstest.Recorder
	b := sinks.NewBroadcaster(&first, always(io.ErrUnexpectedEOF), &last)
	batch := notificationstest.Pushes(0, 3, "team/app")
	err := b.Write(t.Context(), batch)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Write = %v, want the error of the second sink", err)
	}
	for _, r := range []*notificationstest.Recorder{&first, &last} {
		if diff := cmp.Diff([]int{0, 1, 2}, notificationstest.Numbers(r.Events())); diff != "" {
			t.Errorf("received (-want +got):\n%s", diff)
		}
	}
}

func TestBroadcasterError(t *testing.T) {
	var (
		transient = errors.New("later")
		permanent = notifications.Permanent(errors.New("never"))
		closed    = fmt.Errorf("below: %w", notifications.ErrClosed)
	)
	for _, tt := range []struct {
		name                   string
		answers                []error
		closed, permanent, eof bool
		wait                   time.Duration
	}{
		{"transient", []error{transient}, false, false, false, 0},
		{"permanent", []error{permanent}, false, true, false, 0},
		{"permanent beside success", []error{nil, permanent, nil}, false, true, false, 0},
		{"all permanent", []error{permanent, permanent}, false, true, false, 0},
		{"permanent and transient", []error{permanent, transient}, false, false, false, 0},
		{"transient and permanent", []error{transient, permanent}, false, false, false, 0},
		{"closed", []error{closed}, true, false, false, 0},
		{"all closed", []error{closed, notifications.ErrClosed}, true, false, false, 0},
		{"closed and transient", []error{closed, transient}, false, false, false, 0},
		{"closed and permanent", []error{closed, permanent}, false, true, false, 0},
		{"any other error", []error{transient, io.EOF}, false, false, true, 0},
		{"the longest wait", []error{patient{time.Second}, transient, patient{time.Minute}}, false, false, false, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := sinks.NewBroadcaster()
			for _, err := range tt.answers {
				b.Add(always(err))
			}
			err := b.Write(t.Context(), notificationstest.Pushes(0, 1, "team/app"))
			err = fmt.Errorf("around: %w", err) // a wrapper must not change the answers
			if got := errors.Is(err, notifications.ErrClosed); got != tt.closed {
				t.Errorf("closed = %t", got)
			}
			if got := notifications.IsPermanent(err); got != tt.permanent {
				t.Errorf("permanent = %t", got)
			}
			if got := errors.Is(err, io.EOF); got != tt.eof {
				t.Errorf("EOF = %t", got)
			}
			if got, _ := sinks.RetryAfter(err); got != tt.wait {
				t.Errorf("RetryAfter = %v, want %v", got, tt.wait)
			}
			var wait patient
			if got := errors.As(err, &wait); got != (tt.wait > 0) {
				t.Errorf("As(patient) = %t", got)
			}
			var joined *sinks.BroadcastError
			if !errors.As(err, &joined) {
				t.Fatalf("%v is no BroadcastError", err)
			}
			for _, member := range joined.Errors() {
				if !strings.Contains(err.Error(), member.Error()) {
					t.Errorf("message %q does not say %q", err, member)
				}
			}
		})
	}
}

// A broadcaster of broadcasters gives the same answers.
func TestBroadcasterErrorNested(t *testing.T) {
	mixed := sinks.NewBroadcaster(always(notifications.ErrClosed), always(io.EOF))
	b := sinks.NewBroadcaster(mixed, always(notifications.ErrClosed))
	err := b.Write(t.Context(), nil)
	if errors.Is(err, notifications.ErrClosed) || notifications.IsPermanent(err) {
		t.Errorf("%v: a transient error deep inside was overlooked", err)
	}
}

func TestBroadcasterWithoutSinks(t *testing.T) {
	for name, b := range map[string]*sinks.Broadcaster{"zero": {}, "new": sinks.NewBroadcaster()} {
		e := notificationstest.Push("team/app", "v1", 0)
		if err := b.Write(t.Context(), []*notifications.Event{e}); err != nil {
			t.Errorf("%s: Write = %v", name, err)
		}
		if notifications.Wants(b, e) {
			t.Errorf("%s: wants what nobody takes", name)
		}
	}
}

func TestBroadcasterWantsWhatAnyWants(t *testing.T) {
	pushes := sinks.NewFilter(&notificationstest.Recorder{}, matcher(t, sinks.Rules{Actions: []string{"push"}}, sinks.Rules{}))
	mounts := sinks.NewFilter(&notificationstest.Recorder{}, matcher(t, sinks.Rules{Actions: []string{"mount"}}, sinks.Rules{}))
	b := sinks.NewBroadcaster(pushes, mounts)
	if !b.Wants(notificationstest.BlobMount("a", "b", 0)) {
		t.Error("does not want what the second wants")
	}
	if b.Wants(notificationstest.Pull("a", "v1", 0)) {
		t.Error("wants what neither wants")
	}
}

func TestBroadcasterAddRemove(t *testing.T) {
	var r notificationstest.Recorder
	b := sinks.NewBroadcaster()
	b.Add(&r)
	b.Add(&r)
	write := func() {
		if err := b.Write(t.Context(), notificationstest.Pushes(0, 1, "a")); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if r.Len() != 2 {
		t.Errorf("added twice, received %d times", r.Len())
	}
	for range 2 {
		if !b.Remove(&r) {
			t.Error("Remove did not find what was added")
		}
	}
	if b.Remove(&r) {
		t.Error("Remove found what was removed")
	}
	write()
	if r.Len() != 2 {
		t.Error("received after Remove")
	}
}

func TestBroadcasterKeepsItsOwnList(t *testing.T) {
	var r notificationstest.Recorder
	list := []notifications.Sink{&r}
	b := sinks.NewBroadcaster(list...)
	list[0] = discard{}
	if err := b.Write(t.Context(), pushes(0, 1)); err != nil || r.Len() != 1 {
		t.Errorf("Write = %v, %d received", err, r.Len())
	}
}

// uncomparable panics when it is compared to another of its type.
type uncomparable struct{ _ []notifications.Sink }

func (uncomparable) Write(context.Context, []*notifications.Event) error { return nil }

func TestBroadcasterRemoveOfUncomparable(t *testing.T) {
	var r notificationstest.Recorder
	b := sinks.NewBroadcaster(uncomparable{}, &r)
	if b.Remove(uncomparable{}) {
		t.Error("found a sink that cannot be compared")
	}
	if !b.Remove(&r) {
		t.Error("did not find the sink behind one that cannot be compared")
	}
}

func TestBroadcasterChangesWhileRunning(t *testing.T) {
	var always notificationstest.Recorder
	b := sinks.NewBroadcaster(&always)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 100 {
				if err := b.Write(t.Context(), notificationstest.Pushes(i*100+n, 1, "a")); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 100 {
				r := &notificationstest.Recorder{}
				b.Add(r)
				if !b.Remove(r) {
					t.Error("lost a sink")
				}
			}
		})
	}
	wg.Wait()
	if always.Len() != 400 {
		t.Errorf("the one that stayed received %d events, want 400", always.Len())
	}
}

// A sink that hangs until ctx ends takes nothing from a queue after it.
func TestBroadcasterBehindASlowSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r notificationstest.Recorder
		q := sinks.NewQueue(&r, nil)
		b := sinks.NewBroadcaster(notificationstest.NewSlow(nil, time.Hour), q)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := b.Write(ctx, notificationstest.Pushes(0, 1, "a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write = %v", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("Write took %v", took)
		}
		if err := q.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if r.Len() != 1 {
			t.Errorf("the queue after the slow sink received %d events", r.Len())
		}
	})
}

// It is on the path of a registry's requests.
func TestBroadcasterAllocations(t *testing.T) {
	images := matcher(t, sinks.Rules{Kinds: []string{"image"}}, sinks.Rules{})
	b := sinks.NewBroadcaster(sinks.NewFilter(discard{}, images), discard{})
	batch := pushes(0, 1)
	n := testing.AllocsPerRun(100, func() {
		if b.Wants(batch[0]) {
			_ = b.Write(context.Background(), batch)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations to ask and to offer", n)
	}
}
