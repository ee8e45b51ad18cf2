package sinktest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// An EngineSuite says how to get the engine that [TestEngine] judges.
type EngineSuite struct {
	// Open opens an engine whose store is in the folder dir, which is empty at first and
	// belongs to it alone. After Shutdown the suite opens the same dir again. The suite
	// shuts down what it opens.
	Open func(t *testing.T, dir string) sinks.Engine

	// OpenSmall opens an engine that has room for 10 to 100 sample events. nil leaves out
	// the tests of a full engine.
	OpenSmall func(t *testing.T, dir string) sinks.Engine

	Volatile bool // it forgets everything at Shutdown
	Bubble   bool // it works in a bubble of testing/synctest; else the suite waits real, short times
}

// TestEngine checks that an engine keeps the promises of [sinks.Engine] and
// [sinks.Cursor]. Run it with the race detector.
func TestEngine(t *testing.T, suite EngineSuite) {
	for _, test := range slices.Concat(
		recordTests, cursorTests, loanTests, deadTests, reviveTests, deadCursorTests, stateTests, reopenTests, fullTests,
		modelTests, deliverTests, historyTests, searchTests,
	) {
		if test.durable && suite.Volatile || test.small && suite.OpenSmall == nil {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			run := func(t *testing.T) {
				tr := &trial{T: t, suite: suite, dir: dir, small: test.small}
				tr.open()
				test.run(tr)
				tr.shutdown()
			}
			if suite.Bubble {
				synctest.Test(t, run)
			} else {
				run(t)
			}
		})
	}
}

type engineTest struct {
	name    string
	run     func(tr *trial)
	durable bool // only for engines that outlive their process
	small   bool // with an engine that has little room
}

// moment is long enough for anything that an engine does without being asked, which is
// at most 100 ms late, and short enough to wait for in a test without a bubble.
const moment = 300 * time.Millisecond

// trial is one test's engine and what tests do with it.
type trial struct {
	*testing.T
	suite  EngineSuite
	dir    string
	small  bool
	engine sinks.Engine
}

func (tr *trial) open() {
	tr.Helper()
	if tr.small {
		tr.engine = tr.suite.OpenSmall(tr.T, tr.dir)
	} else {
		tr.engine = tr.suite.Open(tr.T, tr.dir)
	}
}

func (tr *trial) shutdown() {
	tr.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tr.must(tr.engine.Shutdown(ctx))
}

// leaveOut ends a test of what the engine need not have.
func (tr *trial) leaveOut(why string) {
	tr.Helper()
	tr.shutdown()
	tr.Skip(why)
}

func (tr *trial) reopen() {
	tr.Helper()
	tr.shutdown()
	tr.open()
}

func (tr *trial) must(err error) {
	tr.Helper()
	if err != nil {
		tr.Fatal(err)
	}
}

// mustBe fails the test unless err is want.
func (tr *trial) mustBe(err, want error, what string) {
	tr.Helper()
	if !errors.Is(err, want) {
		tr.Fatalf("%s: %v, want %v", what, err, want)
	}
}

func (tr *trial) write(events ...*notifications.Event) {
	tr.Helper()
	tr.must(tr.engine.Write(tr.Context(), events))
}

// push stores count sample pushes, numbered from first, to the repositories a and tr.
func (tr *trial) push(first, count int) []*notifications.Event {
	tr.Helper()
	events := notificationstest.Pushes(first, count, "team/a", "team/b")
	tr.write(events...)
	return events
}

func (tr *trial) cursor(name string, opts *sinks.CursorOptions) sinks.Cursor {
	tr.Helper()
	c, err := tr.engine.Cursor(tr.Context(), name, opts)
	tr.must(err)
	return c
}

func fromOldest() *sinks.CursorOptions { return &sinks.CursorOptions{From: sinks.Oldest()} }

// claim claims until it has n events, in as many claims as that takes.
func (tr *trial) claim(c sinks.Cursor, n int) []sinks.Delivery {
	tr.Helper()
	ctx, cancel := context.WithTimeout(tr.Context(), patience)
	defer cancel()
	got := make([]sinks.Delivery, 0, n)
	for len(got) < n {
		into := make([]sinks.Delivery, n-len(got))
		m, err := c.Claim(ctx, into)
		if err != nil {
			tr.Fatalf("claim of %d events ended after %d: %v", n, len(got), err)
		}
		if m < 1 || m > len(into) {
			tr.Fatalf("claim lent %d events for %d places", m, len(into))
		}
		got = append(got, into[:m]...)
	}
	return got
}

// claimNumbers claims and checks which sample events come, in order.
func (tr *trial) claimNumbers(c sinks.Cursor, want ...int) []sinks.Delivery {
	tr.Helper()
	got := tr.claim(c, len(want))
	if n := numbers(got); !slices.Equal(n, want) {
		tr.Fatalf("claimed events %v, want %v", n, want)
	}
	return got
}

// claimNothing checks that nothing is free for a moment.
func (tr *trial) claimNothing(c sinks.Cursor) {
	tr.Helper()
	ctx, cancel := context.WithTimeout(tr.Context(), moment)
	defer cancel()
	into := make([]sinks.Delivery, 8)
	n, err := c.Claim(ctx, into)
	if n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		tr.Fatalf("claimed events %v and %v, want none and %v", numbers(into[:n]), err, context.DeadlineExceeded)
	}
}

// settle ends the loans of ds with one outcome.
func (tr *trial) settle(c sinks.Cursor, o sinks.Outcome, ds ...sinks.Delivery) {
	tr.Helper()
	ends := make([]sinks.Settlement, len(ds))
	for i, d := range ds {
		ends[i] = sinks.Settlement{Sequence: d.Sequence, Outcome: o}
		if o == sinks.DeadLettered {
			ends[i].Dead = &sinks.DeadLetter{Reason: sinks.DeadRejected, Event: d.Event, Count: 1, Attempts: 1}
		}
	}
	tr.must(c.Settle(ends...))
}

func (tr *trial) park(c sinks.Cursor, until time.Time, ds ...sinks.Delivery) {
	tr.Helper()
	for _, d := range ds {
		tr.must(c.Settle(sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.Parked, Until: until}))
	}
}

// info returns what the engine says of a cursor.
func (tr *trial) info(name string) sinks.CursorInfo {
	tr.Helper()
	infos, err := tr.engine.CursorInfos(tr.Context())
	tr.must(err)
	for _, info := range infos {
		if info.Name == name {
			return info
		}
	}
	tr.Fatalf("no cursor %q among %v", name, infos)
	return sinks.CursorInfo{}
}

func numbers(ds []sinks.Delivery) []int {
	ns := make([]int, len(ds))
	for i, d := range ds {
		ns[i] = notificationstest.Number(d.Event)
	}
	return ns
}

// span returns count numbers from first on.
func span(first, count int) []int {
	ns := make([]int, count)
	for i := range ns {
		ns[i] = first + i
	}
	return ns
}
