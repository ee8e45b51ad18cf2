package sinktest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

var deliverTests = []engineTest{
	{name: "deliver/in order, everything, once", run: testDeliver},
	{name: "deliver/everybody at once", run: testEverybody},
}

// soon is an error that asks to come back after a short time.
type soon struct{ error }

func (soon) RetryAfter() time.Duration { return time.Millisecond }

// testDeliver delivers while events are written, to a sink that refuses every third
// batch and one event for good, and stops and goes on in between.
func testDeliver(tr *trial) {
	const events, poison = 300, 123
	recorder := new(notificationstest.Recorder)
	rejecting := notificationstest.NewFaulty(recorder, notificationstest.Reject(func(e *notifications.Event) bool {
		return notificationstest.Number(e) == poison
	}, notifications.Permanent(errors.New("poison"))))
	dst := notificationstest.NewFaulty(rejecting, notificationstest.EveryNth(3, soon{errors.New("busy")}))
	opts := &sinks.DeliverOptions{Concurrency: 3, Batch: sinks.BatchOptions{MaxEvents: 5}}

	tr.must(tr.cursor("c", nil).Close())
	for half := range 2 {
		cur := tr.cursor("c", nil)
		ctx, stop := context.WithCancel(tr.Context())
		ended := make(chan error, 1)
		go func() { ended <- sinks.Deliver(ctx, cur, dst, opts) }()
		for n := half * events / 2; n < (half+1)*events/2; n += 10 {
			tr.write(notificationstest.Pushes(n, 10, "team/a", "team/b", "team/c")...)
		}
		if half == 1 {
			tr.eventually(func() bool { return tr.info("c").Pending == 0 }, "end of what is pending")
		}
		stop()
		tr.must(<-ended)
		tr.must(cur.Close())
	}

	byRepository := make(map[string][]int)
	for _, e := range recorder.Events() {
		byRepository[e.Repository] = append(byRepository[e.Repository], notificationstest.Number(e))
	}
	accepted := 0
	for repo, ns := range byRepository {
		accepted += len(ns)
		if !slices.IsSorted(ns) {
			tr.Errorf("%s: delivered out of order: %v", repo, ns)
		}
	}
	if accepted != events-1 {
		tr.Errorf("%d events delivered, want each of %d once", accepted, events-1)
	}
	if info := tr.info("c"); info.Totals[sinks.Delivered] != events-1 || info.Totals[sinks.DeadLettered] != 1 {
		tr.Errorf("%+v, want all but one delivered", info)
	}
	if dead := tr.dead(sinks.DeadQuery{}, 1); notificationstest.Number(dead[0].Event) != poison {
		tr.Errorf("dead letter %+v, want event %d", dead[0], poison)
	}
}

// testEverybody has every method called at the same time, for the race detector.
func testEverybody(tr *trial) {
	const writers, each = 3, 40
	ctx := tr.Context()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				bad := []notifications.Quarantined{{Reason: notifications.ReasonSyntax}}
				if _, err := tr.engine.Record(ctx, notificationstest.Pushes(w*each+i, 1, "team/a"), bad); err != nil {
					tr.Error(err)
				}
			}
		})
	}
	for _, name := range []string{"c", "d"} {
		cur := tr.cursor(name, fromOldest())
		wg.Go(func() {
			into := make([]sinks.Delivery, 7)
			for settled := 0; settled < writers*each; {
				n, err := cur.Claim(ctx, into)
				if err != nil {
					tr.Error(err)
					return
				}
				for i, d := range into[:n] {
					s := sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.Delivered}
					switch {
					case i == 3 && d.Tries == 0:
						s.Outcome = sinks.Released
					case i == 5 && d.Tries == 0:
						s.Outcome, s.Until = sinks.Parked, time.Now().Add(time.Millisecond)
					case i == 6:
						s.Outcome, s.Dead = sinks.DeadLettered, &sinks.DeadLetter{Reason: sinks.DeadManual, Count: 1}
					}
					if s.Outcome != sinks.Released && s.Outcome != sinks.Parked {
						settled++
					}
					if err := cur.Settle(s); err != nil {
						tr.Error(err)
					}
				}
			}
			if err := cur.Close(); err != nil {
				tr.Error(err)
			}
		})
	}
	wg.Go(func() {
		for range each {
			_, err := tr.engine.CursorInfos(ctx)
			_, err2 := tr.engine.DeadLetters(ctx, sinks.DeadQuery{})
			_, err3 := tr.engine.DeadCount(ctx, "c")
			_, err4 := tr.engine.Quarantined(ctx, 0, 0)
			err5 := tr.engine.SetState(ctx, "k", []byte("v"))
			_, err6 := tr.engine.State(ctx, "k")
			if err := errors.Join(err, err2, err3, err4, err5, err6); err != nil {
				tr.Error(err)
			}
		}
	})
	wg.Wait()
	for _, name := range []string{"c", "d"} {
		if info := tr.info(name); info.Pending != 0 || info.Totals[sinks.Delivered]+info.Totals[sinks.DeadLettered] != writers*each {
			tr.Errorf("%+v, want all of %d settled", info, writers*each)
		}
	}
}
