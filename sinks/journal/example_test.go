package journal_test

import (
	"context"
	"fmt"
	"os"

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// What was written before a restart is delivered after it.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "regcast-journal-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	j, err := journal.Open(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := j.Record(ctx, notificationstest.Pushes(0, 2, "team/app"), nil)
	fmt.Println("accepted", receipt.Accepted, err) // synced: they outlive a power loss
	if err := j.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}

	if j, err = journal.Open(dir, nil); err != nil {
		fmt.Println(err)
		return
	}
	cursor, err := j.Cursor(ctx, "audit", &sinks.CursorOptions{From: sinks.Oldest()})
	if err != nil {
		fmt.Println(err)
		return
	}
	loans := make([]sinks.Delivery, 10)
	n, err := cursor.Claim(ctx, loans)
	for _, d := range loans[:n] {
		fmt.Println(d.Sequence, d.Event.Action, d.Event.Repository)
	}
	if err != nil {
		fmt.Println(err)
	}
	if err := cursor.Close(); err != nil {
		fmt.Println(err)
	}
	if err := j.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// accepted 2 <nil>
	// 1 push team/app
	// 2 push team/app
}
