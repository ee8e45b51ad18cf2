package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

var errDown = errors.New("down")

// outage fails until the end of the outage and notes when it was asked.
type outage struct {
	dst  notifications.Sink
	ends time.Time
	err  error

	mu    sync.Mutex
	asked []time.Time
}

func (o *outage) Write(ctx context.Context, batch []*notifications.Event) error {
	o.mu.Lock()
	o.asked = append(o.asked, time.Now())
	o.mu.Unlock()
	if time.Now().Before(o.ends) {
		return o.err
	}
	return o.dst.Write(ctx, batch)
}

func TestRetrierOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const days = 3 * 24 * time.Hour
		var r notificationstest.Recorder
		o := &outage{dst: &r, ends: time.Now().Add(days), err: errDown}
		start := time.Now()
		if err := sinks.NewRetrier(o, nil).Write(t.Context(), notificationstest.Pushes(0, 2, "a")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < days || took > days+time.Minute {
			t.Errorf("took %v", took)
		}
		if r.Len() != 2 {
			t.Errorf("received %d events", r.Len())
		}
		for i := 1; i < len(o.asked); i++ {
			most := time.Minute
			if i < 7 {
				most = time.Second << (i - 1)
			}
			if wait := o.asked[i].Sub(o.asked[i-1]); wait < most/2 || wait > most {
				t.Errorf("wait %d was %v, want %v to %v", i, wait, most/2, most)
			}
		}
	})
}

func TestRetrierAfterTenThousandFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := func(write int, _ []*notifications.Event) error {
			if write <= 10_000 {
				return errDown
			}
			return nil
		}
		start := time.Now()
		if err := sinks.NewRetrier(notificationstest.NewFaulty(nil, fault), nil).Write(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if took, least := time.Since(start), 9_990*30*time.Second; took < least {
			t.Errorf("took %v: the wait did not stay at its bound, which takes %v at least", took, least)
		}
	})
}

func TestRetrierWaitsAsLongAsAsked(t *testing.T) {
	for _, tt := range []struct {
		name        string
		limit       time.Duration
		err         error
		least, most time.Duration
	}{
		{"longer than the backoff", 0, patient{10 * time.Minute}, 10 * time.Minute, 10 * time.Minute},
		{"shorter than the backoff", 0, patient{time.Millisecond}, time.Second / 2, time.Second},
		{"wrapped", 0, fmt.Errorf("posting: %w", patient{10 * time.Minute}), 10 * time.Minute, 10 * time.Minute},
		{"over the default limit", 0, patient{100 * time.Hour}, time.Hour, time.Hour},
		{"over the limit", 2 * time.Minute, patient{time.Hour}, 2 * time.Minute, 2 * time.Minute},
		{"not heeded", -1, patient{time.Hour}, time.Second / 2, time.Second},
		{"negative", 0, patient{-time.Hour}, time.Second / 2, time.Second},
		{"full", 0, notifications.ErrFull, time.Second / 2, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dst := notificationstest.NewFaulty(nil, notificationstest.Script(tt.err))
				start := time.Now()
				if err := sinks.NewRetrier(dst, &sinks.RetrierOptions{MaxRetryAfter: tt.limit}).Write(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took < tt.least || took > tt.most {
					t.Errorf("waited %v, want %v to %v", took, tt.least, tt.most)
				}
			})
		})
	}
}

func TestRetrierGivesUp(t *testing.T) {
	errNever := notifications.Permanent(errors.New("never"))
	for _, tt := range []struct {
		name    string
		opts    sinks.RetrierOptions
		answers []error
		writes  int
		want    error
		reject  bool // OnReject takes it, where there is one
	}{
		{"refused for good", sinks.RetrierOptions{}, []error{errNever}, 1, errNever, true},
		{"refused for good at last", sinks.RetrierOptions{}, []error{errDown, errDown, errNever}, 3, errNever, true},
		{"tried often enough", sinks.RetrierOptions{MaxAttempts: 3}, []error{errDown, errDown, errDown}, 3, errDown, true},
		{"tried once", sinks.RetrierOptions{MaxAttempts: 1}, []error{errDown}, 1, errDown, true},
		{"the last attempt succeeds", sinks.RetrierOptions{MaxAttempts: 3}, []error{errDown, errDown}, 3, nil, false},
		{"tried long enough", sinks.RetrierOptions{MaxElapsed: time.Minute, Backoff: sinks.Backoff{Initial: time.Hour}}, []error{errDown}, 1, errDown, true},
		{"asked to wait too long", sinks.RetrierOptions{MaxElapsed: time.Minute}, []error{patient{2 * time.Minute}}, 1, patient{2 * time.Minute}, true},
		{"closed", sinks.RetrierOptions{}, []error{errDown, fmt.Errorf("below: %w", notifications.ErrClosed)}, 2, notifications.ErrClosed, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				batch := notificationstest.Pushes(0, 2, "a")
				dst := notificationstest.NewFaulty(nil, notificationstest.Script(tt.answers...))
				err := sinks.NewRetrier(dst, &tt.opts).Write(t.Context(), batch)
				if !errors.Is(err, tt.want) {
					t.Errorf("Write = %v, want %v", err, tt.want)
				}
				if dst.Writes() != tt.writes {
					t.Errorf("%d writes, want %d", dst.Writes(), tt.writes)
				}

				var rejected []error
				opts := tt.opts
				opts.OnReject = func(_ context.Context, b []*notifications.Event, err error) error {
					if len(b) != len(batch) {
						t.Errorf("%d events rejected, want the whole batch", len(b))
					}
					rejected = append(rejected, err)
					return nil
				}
				dst = notificationstest.NewFaulty(nil, notificationstest.Script(tt.answers...))
				err = sinks.NewRetrier(dst, &opts).Write(t.Context(), batch)
				switch {
				case tt.reject && (err != nil || len(rejected) != 1 || !errors.Is(rejected[0], tt.want)):
					t.Errorf("Write = %v with %v rejected, want nil and %v", err, rejected, tt.want)
				case !tt.reject && (!errors.Is(err, tt.want) || len(rejected) != 0):
					t.Errorf("Write = %v with %v rejected, want %v and none", err, rejected, tt.want)
				}
			})
		})
	}
}

// What OnReject cannot put away must not be taken for refused: it would be lost.
func TestRetrierThatCannotPutAway(t *testing.T) {
	errDisk := errors.New("disk full")
	r := sinks.NewRetrier(always(notifications.Permanent(errors.New("never"))), &sinks.RetrierOptions{
		OnReject: func(context.Context, []*notifications.Event, error) error { return errDisk },
	})
	err := r.Write(t.Context(), notificationstest.Pushes(0, 1, "a"))
	if !errors.Is(err, errDisk) || notifications.IsPermanent(err) {
		t.Errorf("Write = %v, want a passing %v", err, errDisk)
	}
}

func TestRetrierEndsWithItsContext(t *testing.T) {
	errStop := errors.New("told to stop")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(90*time.Minute, func() { cancel(errStop) })
		start := time.Now()
		err := sinks.NewRetrier(always(errDown), nil).Write(ctx, nil)
		if !errors.Is(err, errStop) || !errors.Is(err, errDown) {
			t.Errorf("Write = %v, want %v and %v", err, errStop, errDown)
		}
		if took := time.Since(start); took != 90*time.Minute {
			t.Errorf("returned after %v", took)
		}
	})
}

func TestRetrierEndsDuringAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		slow := notificationstest.NewSlow(nil, time.Hour)
		start := time.Now()
		err := sinks.NewRetrier(slow, nil).Write(ctx, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write = %v", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("returned after %v", took)
		}
	})
}

// An attempt that was cut short says nothing about the batch.
func TestRetrierDoesNotGiveUpWhenCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := sinks.NewRetrier(notificationstest.NewSlow(nil, time.Hour), &sinks.RetrierOptions{
			MaxAttempts: 1,
			OnReject:    func(context.Context, []*notifications.Event, error) error { return nil },
		}).Write(ctx, pushes(0, 1))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write = %v, want the end of the context", err)
		}
	})
}

// One batch in trouble does not hold up another that is written beside it.
func TestRetrierKeepsNothingBetweenWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		bad := func(e *notifications.Event) bool { return notificationstest.Number(e) == 0 }
		r := sinks.NewRetrier(notificationstest.NewFaulty(&rec, notificationstest.Reject(bad, errDown)), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := make(chan error)
		go func() { done <- r.Write(ctx, notificationstest.Pushes(0, 1, "a")) }()
		synctest.Wait()
		start := time.Now()
		if err := r.Write(ctx, notificationstest.Pushes(1, 1, "a")); err != nil || time.Since(start) != 0 {
			t.Errorf("the other batch: %v after %v", err, time.Since(start))
		}
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the batch in trouble: %v", err)
		}
	})
}
