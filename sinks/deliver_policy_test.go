package sinks_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

func TestDeliverHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error {
			if down.Load() {
				return errBusy
			}
			return nil
		}}
		holding := false
		policy := table{
			admit: func(now time.Time) (int, time.Duration) {
				if !holding {
					return 8, 0
				}
				if left := start.Add(10 * time.Second).Sub(now); left > 0 {
					return 0, left
				}
				return 1, 0
			},
			judge: func(*sinks.Attempt, error) sinks.Verdict {
				holding = true
				return sinks.Verdict{Action: sinks.Hold}
			},
		}
		d := deliver(t, r, &sinks.DeliverOptions{Concurrency: 4, Policy: policy})
		events := notificationstest.Pushes(0, 50, "team/a", "team/b", "team/c", "team/d", "team/e")
		d.write(events...)
		pass(9 * time.Second)
		if n := len(r.tried()); n != 4 {
			t.Errorf("%d attempts before the hold ended, want the 4 in flight when it began", n)
		}
		down.Store(false)
		pass(2 * time.Second)
		d.expect(events)
		for _, a := range r.tried() {
			if a.Number != 1 || a.Previous != nil {
				t.Errorf("attempt number %d after %v, want 1: holds do not count", a.Number, a.Previous)
			}
		}
		d.end()
	})
}

// A receiver may answer to one event as if it were to all. The hold must not last for
// ever because that one is the probe each time.
func TestDeliverTakesTurnsAtProbing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var until time.Time
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			if batch[0].Repository == "team/0" {
				return errBusy
			}
			return nil
		}}
		policy := table{
			admit: func(now time.Time) (int, time.Duration) {
				if left := until.Sub(now); left > 0 {
					return 0, left
				}
				return 1, 0
			},
			judge: func(*sinks.Attempt, error) sinks.Verdict {
				until = time.Now().Add(time.Second)
				return sinks.Verdict{Action: sinks.Hold}
			},
		}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy})
		events := notificationstest.Pushes(0, 100, repositories(10)...)
		d.write(events...)
		pass(5 * time.Minute)
		d.expect(slices.DeleteFunc(events, func(e *notifications.Event) bool { return e.Repository == "team/0" }))
		if info := d.info(); info.Pending != 10 {
			t.Errorf("%d pending, want 10", info.Pending)
		}
		d.end()
	})
}

// An event that comes back from being put aside, while nothing else is there, has had its
// turn: the next probe of the hold is with one that has come meanwhile.
func TestDeliverTakesTurnsWithOneThatWasParked(t *testing.T) {
	for parks := 1; parks <= 4; parks++ {
		synctest.Test(t, func(t *testing.T) {
			var until time.Time
			r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
				if batch[0].Repository == "team/poison" {
					return errBusy
				}
				return nil
			}}
			parked := 0
			policy := table{
				admit: func(now time.Time) (int, time.Duration) {
					if left := until.Sub(now); left > 0 {
						return 0, left
					}
					return 1, 0
				},
				judge: func(*sinks.Attempt, error) sinks.Verdict {
					until = time.Now().Add(10 * time.Minute)
					if parked++; parked <= parks {
						return sinks.Verdict{Action: sinks.Park, After: time.Minute}
					}
					return sinks.Verdict{Action: sinks.Retry}
				},
			}
			d := deliver(t, r, &sinks.DeliverOptions{Policy: policy})
			d.write(notificationstest.Push("team/poison", "v0", 0))
			pass(time.Duration(parks)*10*time.Minute - time.Minute) // it is back for the next probe
			event := notificationstest.Push("team/app", "v1", 1)
			d.write(event)
			pass(12 * time.Minute) // two probes
			d.expect([]*notifications.Event{event})
			d.end()
		})
	}
}

func TestDeliverHeldTimeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a sinks.Attempt, _ []*notifications.Event) error {
			if a.Number == 1 {
				return errBusy
			}
			return nil
		}}
		start := time.Now()
		closed := false
		policy := table{
			admit: func(now time.Time) (int, time.Duration) {
				if left := start.Add(time.Minute).Sub(now); closed && left > 0 {
					return 0, left
				}
				return 1, 0
			},
			judge: func(*sinks.Attempt, error) sinks.Verdict {
				closed = true
				return sinks.Verdict{Action: sinks.Retry, After: 10 * time.Second}
			},
		}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy, Replay: "job7"})
		d.write(notificationstest.Pushes(0, 1, "team/a")...)
		pass(2 * time.Minute)
		if len(r.tried()) != 2 {
			t.Fatalf("%d attempts, want 2", len(r.tried()))
		}
		a := r.tried()[1]
		if a.Number != 2 || !errors.Is(a.Previous, errBusy) || a.Started.Sub(a.FirstTried) != time.Minute || a.Held != 50*time.Second || a.Replay != "job7" {
			t.Errorf("second attempt %+v, want held for 50 s of the 60 s since the first", a)
		}
		d.end()
	})
}

func TestDeliverParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			if down.Load() && notificationstest.Number(batch[0]) == 1 {
				return errBusy
			}
			return nil
		}}
		policy := table{judge: func(a *sinks.Attempt, err error) sinks.Verdict {
			if a.Number%3 == 0 {
				return sinks.Verdict{Action: sinks.Park, After: time.Minute}
			}
			return sinks.Verdict{Action: sinks.Retry, After: time.Second}
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy})
		d.write(notificationstest.Pushes(0, 4, "team/a")...)
		pass(30 * time.Second)
		if diff := cmp.Diff([]int{0, 2, 3}, r.numbers()["team/a"]); diff != "" {
			t.Errorf("accepted while one is parked (-want +got):\n%s", diff)
		}
		if info := d.info(); info.Parked != 1 || info.Pending != 1 {
			t.Errorf("%+v, want one parked", info)
		}
		down.Store(false)
		pass(time.Minute)
		last := r.tried()[len(r.tried())-1]
		if !last.OutOfOrder || last.Number != 4 || last.First != 2 || last.Started.Sub(last.FirstTried) < time.Minute {
			t.Errorf("attempt after parking %+v, want number 4, out of order", last)
		}
		for _, a := range r.tried()[:len(r.tried())-1] {
			if a.OutOfOrder {
				t.Errorf("attempt %+v is not out of order", a)
			}
		}
		d.settled(map[sinks.Outcome]uint64{sinks.Delivered: 4})
		d.end()
	})
}

func TestDeliverParksEarlyWhenOneKeyFillsTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			if batch[0].Repository == "team/hot" {
				return errBusy
			}
			return nil
		}}
		policy := table{judge: func(*sinks.Attempt, error) sinks.Verdict {
			return sinks.Verdict{Action: sinks.Retry, After: time.Hour}
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy, Window: 100})
		d.write(notificationstest.Pushes(0, 1000, "team/hot")...)
		healthy := notificationstest.Pushes(1000, 10, "team/other")
		d.write(healthy...)
		pass(time.Minute)
		d.expect(healthy)
		if info := d.info(); info.Parked < 900 || info.Pending != 1000 {
			t.Errorf("%d parked of %d pending, want at least 900 of 1000", info.Parked, info.Pending)
		}
		d.end()
	})
}

// Parking helps nobody while nothing may be sent.
func TestDeliverKeepsOrderDuringAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error { return errBusy }}
		judged := 0
		policy := table{
			admit: func(time.Time) (int, time.Duration) {
				if judged < 10 {
					return 1, 0
				}
				return 0, time.Minute
			},
			judge: func(*sinks.Attempt, error) sinks.Verdict {
				judged++
				return sinks.Verdict{Action: sinks.Retry, After: time.Hour}
			},
		}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy, Window: 100})
		d.write(notificationstest.Pushes(0, 1000, repositories(10)...)...)
		pass(10 * time.Minute)
		if info := d.info(); info.Parked != 0 || info.Pending != 1000 || judged != 10 {
			t.Errorf("%+v after %d attempts, want nothing parked after 10", info, judged)
		}
		d.end()
	})
}

func TestDeliverPastManyKeysThatFail(t *testing.T) {
	for name, test := range map[string]struct{ failing, each, window, batch int }{
		"three fill the window":     {3, 200, 300, 1},
		"three fill it, in batches": {3, 200, 300, 10},
		"one for each place":        {100, 3, 100, 1},
		"eight, window of 64":       {8, 1000, 64, 1},
		"eight, window of 1000":     {8, 1000, 1000, 1},
		"eight, the default window": {8, 1000, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
					time.Sleep(10 * time.Millisecond)
					if slices.ContainsFunc(batch, func(e *notifications.Event) bool { return e.Repository != "healthy" }) {
						return errBusy
					}
					return nil
				}}
				d := deliver(t, r, &sinks.DeliverOptions{Window: test.window, Batch: sinks.BatchOptions{MaxEvents: test.batch}})
				failing := test.failing * test.each
				d.write(notificationstest.Pushes(0, failing, repositories(test.failing)...)...)
				healthy := notificationstest.Pushes(failing, 50, "healthy")
				d.write(healthy...)
				pass(3 * time.Minute)
				d.expect(healthy)
				if info := d.info(); info.Pending != uint64(failing) {
					t.Errorf("%+v, want the %d that fail to be pending", info, failing)
				}
				d.end()
			})
		})
	}
}

func TestDeliverHonoursRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a sinks.Attempt, _ []*notifications.Event) error {
			if a.Number == 1 {
				return comeBack{}
			}
			return nil
		}}
		d := deliver(t, r, nil)
		d.write(notificationstest.Pushes(0, 1, "team/a")...)
		pass(2 * time.Minute)
		if len(r.tried()) != 2 || r.tried()[1].Started.Sub(r.tried()[0].Started) != 90*time.Second {
			t.Errorf("attempts %+v, want a second one after 90s", r.tried())
		}
		d.end()
	})
}

type comeBack struct{}

func (comeBack) Error() string             { return "come back later" }
func (comeBack) RetryAfter() time.Duration { return 90 * time.Second }

func TestAttemptFrom(t *testing.T) {
	if a, ok := sinks.AttemptFrom(t.Context()); ok {
		t.Errorf("a context without an attempt has %+v", a)
	}
	ctx, cancel := context.WithTimeout(sinks.WithAttempt(t.Context(), sinks.Attempt{Number: 3}), time.Hour)
	defer cancel()
	if a, ok := sinks.AttemptFrom(ctx); !ok || a.Number != 3 {
		t.Errorf("attempt %+v, %t; want number 3", a, ok)
	}
}

func TestDeliverHoldOfASecondAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error {
			time.Sleep(5 * time.Second)
			if time.Since(start) < time.Minute {
				return errBusy
			}
			return nil
		}}
		var until time.Time
		policy := table{
			admit: func(now time.Time) (int, time.Duration) {
				if left := until.Sub(now); left > 0 {
					return 0, left
				}
				return 1, 0
			},
			judge: func(a *sinks.Attempt, _ error) sinks.Verdict {
				if a.Number == 1 {
					return sinks.Verdict{Action: sinks.Retry, After: 10 * time.Second}
				}
				until = time.Now().Add(time.Minute)
				return sinks.Verdict{Action: sinks.Hold}
			},
		}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy})
		d.write(notificationstest.Pushes(0, 1, "team/a")...)
		pass(2 * time.Minute)
		// Offered at 0 s, again at 15 s, held from 20 s on, offered a third time at 80 s.
		last := r.tried()[len(r.tried())-1]
		if last.Number != 2 || last.Started.Sub(last.FirstTried) != 80*time.Second || last.Held != 65*time.Second {
			t.Errorf("last attempt %+v, want number 2, held for 65 of 80 s", last)
		}
		d.end()
	})
}

func TestDeliverOffersParkedEventsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a sinks.Attempt, _ []*notifications.Event) error {
			if a.Number == 1 {
				return errBusy
			}
			return nil
		}}
		policy := table{judge: func(*sinks.Attempt, error) sinks.Verdict {
			return sinks.Verdict{Action: sinks.Park, After: time.Minute}
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy, Batch: sinks.BatchOptions{MaxEvents: 6}})
		d.write(notificationstest.Pushes(0, 6, "team/a", "team/b")...)
		pass(time.Hour)
		for i, a := range r.tried() {
			if again := i > 0; a.OutOfOrder != again || again && (a.Events != 1 || a.Number != 2) {
				t.Errorf("attempt %d: %+v, want one of all and a second one of each alone", i, a)
			}
		}
		d.settled(map[sinks.Outcome]uint64{sinks.Delivered: 6})
		d.end()
	})
}
