package notificationstest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

func ExampleRecorder_Wait() {
	var rec notificationstest.Recorder
	go func() {
		_ = rec.Write(context.Background(), notificationstest.Pushes(0, 2, "team/app"))
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	events, err := rec.Wait(ctx, 2)
	for _, e := range events {
		fmt.Println(e.Action, e.Repository, e.Tag)
	}
	fmt.Println(err)
	// Output:
	// push team/app v0
	// push team/app v1
	// <nil>
}

func ExampleNewFaulty() {
	var rec notificationstest.Recorder
	sink := notificationstest.NewFaulty(&rec, notificationstest.Script(errors.New("out of order")))

	batch := []*notifications.Event{notificationstest.Push("team/app", "v1", 1)}
	fmt.Println(sink.Write(context.Background(), batch))
	fmt.Println(sink.Write(context.Background(), batch))
	fmt.Println(rec.Len(), "event after", sink.Writes(), "writes")
	// Output:
	// out of order
	// <nil>
	// 1 event after 2 writes
}

func ExampleNewLossyAck() {
	var rec notificationstest.Recorder
	sink := notificationstest.NewLossyAck(&rec, notificationstest.Script(errors.New("answer lost")))

	batch := []*notifications.Event{notificationstest.Push("team/app", "v1", 1)}
	fmt.Println(sink.Write(context.Background(), batch), rec.Len())
	// Output: answer lost 1
}

func ExampleNewSlow() {
	sink := notificationstest.NewSlow(nil, time.Hour)

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(sink.Write(ctx, notificationstest.Pushes(0, 1, "team/app")))
	// Output: context deadline exceeded
}

func ExampleNewGate() {
	var rec notificationstest.Recorder
	gate := notificationstest.NewGate(&rec)

	done := make(chan error)
	go func() { done <- gate.Write(context.Background(), notificationstest.Pushes(0, 1, "team/app")) }()
	_ = gate.WaitHeld(context.Background(), 1)
	fmt.Println("held:", rec.Len())
	gate.Open()
	fmt.Println("passed:", <-done, rec.Len())
	// Output:
	// held: 0
	// passed: <nil> 1
}

func ExamplePush() {
	e := notificationstest.Push("team/app", "v1", 7)
	fmt.Println(notificationstest.Number(e), e.ID)
	fmt.Println(e.Timestamp.Format(time.RFC3339), e.Action, e.Repository, e.Tag)
	// Output:
	// 7 019b7ca9-a7e0-7346-bfa5-000000000007
	// 2026-01-02T03:04:12Z push team/app v1
}
