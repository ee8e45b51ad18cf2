package journal_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// An event is on disk when Write has returned; a cursor gets it until it is settled,
// across restarts.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	for range 2 { // the second time, after a restart
		j, err := journal.Open(dir, nil)
		if err != nil {
			log.Fatal(err)
		}
		audit, err := j.Cursor(ctx, "audit", &sinks.CursorOptions{From: sinks.Oldest()})
		if err != nil {
			log.Fatal(err)
		}
		push := &notifications.Event{ID: "1", Action: notifications.ActionPush, Repository: "team/app"}
		receipt, err := j.Record(ctx, []*notifications.Event{push}, nil)
		if err != nil {
			log.Fatal(err)
		}
		into := make([]sinks.Delivery, 8)
		n, err := audit.Claim(ctx, into)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d accepted, %d repeated; claimed %d: %s of %s\n",
			receipt.Accepted, receipt.Duplicates, n, into[0].Event.Action, into[0].Event.Repository)
		if err := j.Shutdown(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 1 accepted, 0 repeated; claimed 1: push of team/app
	// 0 accepted, 1 repeated; claimed 1: push of team/app
}
