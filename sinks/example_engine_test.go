package sinks_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// What is written to an engine is claimed back through a cursor.
func ExampleNewMemory() {
	ctx := context.Background()
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(ctx)

	cur, err := engine.Cursor(ctx, "audit", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer cur.Close()

	push := notificationstest.Push("team/app", "v1", 1)
	receipt, err := engine.Record(ctx, []*notifications.Event{push, push}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d stored, %d repeated\n", receipt.Accepted, receipt.Duplicates)

	into := make([]sinks.Delivery, 10)
	n, err := cur.Claim(ctx, into)
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range into[:n] {
		fmt.Println(d.Sequence, d.Event.Action, d.Event.Repository)
		if err := cur.Settle(sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.Delivered}); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 1 stored, 1 repeated
	// 1 push team/app
}

// Deliver copies from a cursor to a sink. What the sink refuses comes again later, and
// later events of the same repository wait for it.
func ExampleDeliver() {
	ctx := context.Background() // Deliver stops when it ends, or at the end of the cursor
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(ctx)
	cur, err := engine.Cursor(ctx, "audit", &sinks.CursorOptions{From: sinks.Oldest(), To: 3})
	if err != nil {
		log.Fatal(err)
	}
	defer cur.Close()
	if err := engine.Write(ctx, notificationstest.Pushes(1, 3, "team/app")); err != nil {
		log.Fatal(err)
	}

	// In place of the printer there would be a webhook. This one is down at first.
	webhook := notificationstest.NewFaulty(printer("audit"), notificationstest.Script(errRestarting{}))
	if err := sinks.Deliver(ctx, cur, webhook, &sinks.DeliverOptions{Concurrency: 4}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// audit: push team/app:v1
	// audit: push team/app:v2
	// audit: push team/app:v3
}

// errRestarting asks to come back soon; without that the first retry is after a second.
type errRestarting struct{}

func (errRestarting) Error() string             { return "restarting" }
func (errRestarting) RetryAfter() time.Duration { return time.Millisecond }

// Dead letters are delivered again through a cursor over them. What is accepted now is
// no dead letter any more.
func ExampleNewDeadCursor() {
	ctx := context.Background()
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(ctx)
	cur, err := engine.Cursor(ctx, "audit", &sinks.CursorOptions{From: sinks.Oldest(), To: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer cur.Close()
	if err := engine.Write(ctx, notificationstest.Pushes(1, 2, "team/app")); err != nil {
		log.Fatal(err)
	}
	broken := notificationstest.NewFaulty(printer("audit"), notificationstest.Script(notifications.Permanent(errRestarting{})))
	if err := sinks.Deliver(ctx, cur, broken, nil); err != nil {
		log.Fatal(err)
	}

	// The DeadCursor method of an engine fills in the options.
	again := sinks.NewDeadCursor(engine, sinks.DeadCursorOptions{
		Name: "audit~again", Query: sinks.DeadQuery{Cursor: "audit"}, Newest: 1, Closed: func() {},
	})
	defer again.Close()
	if err := sinks.Deliver(ctx, again, printer("again"), &sinks.DeliverOptions{Rate: 50, Replay: "again"}); err != nil {
		log.Fatal(err)
	}
	letters, err := engine.DeadLetters(ctx, sinks.DeadQuery{})
	fmt.Println(len(letters), "dead letters,", err)
	// Output:
	// audit: push team/app:v2
	// again: push team/app:v1
	// 0 dead letters, <nil>
}

// An engine keeps one Ledger for each cursor.
func ExampleNewLedger() {
	const last = 3 // the newest event that is stored
	l := sinks.NewLedger(0)
	for s, ok := l.Next(time.Now(), last); ok; s, ok = l.Next(time.Now(), last) {
		l.Lend(s)
	}
	l.Settle(sinks.Settlement{Sequence: 1, Outcome: sinks.Delivered})
	l.Settle(sinks.Settlement{Sequence: 2, Outcome: sinks.Released})
	l.Settle(sinks.Settlement{Sequence: 3, Outcome: sinks.Filtered})

	s, _ := l.Next(time.Now(), last)
	tries, _ := l.Lend(s)
	info := l.Info(last)
	fmt.Printf("event %d again, lent %d time before; %d pending above %d\n", s, tries, info.Pending, info.LowWater)
	// Output: event 2 again, lent 1 time before; 1 pending above 1
}

// What is settled out of order is kept above the mark until the mark gets there.
func ExampleNewProgress() {
	p := sinks.NewProgress(0)
	p.Settle(2)
	p.Settle(3)
	fmt.Println(p.Low())
	p.Settle(1)
	fmt.Println(p.Low())
	// Output:
	// 0
	// 3
}

func ExampleNewRepeats() {
	r := sinks.NewRepeats(0, 0)
	push := notificationstest.Push("team/app", "v1", 1)
	for range 2 {
		key := r.Key(push, push.AppendJSON(nil))
		fmt.Println(r.Add(key, time.Now()) == sinks.Duplicate)
	}
	// Output:
	// false
	// true
}
