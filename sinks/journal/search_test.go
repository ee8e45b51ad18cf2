package journal_test

import (
	"context"
	"testing"

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// TestSearchBesideRetention: who reads from the oldest on gets to the newest although
// retention deletes what he is about to read.
func TestSearchBesideRetention(t *testing.T) {
	ctx := context.Background()
	j := mustOpen(t, t.TempDir(), &journal.Options{RetentionBytes: 16 << 10})
	defer mustShutdown(t, j)
	written := make(chan uint64)
	go func() {
		defer close(written)
		for n := range 1000 {
			if err := j.Write(ctx, notificationstest.Pushes(n, 1, "team/a")); err != nil {
				t.Error(err)
				return
			}
			select {
			case written <- uint64(n + 1):
			default:
			}
		}
	}()
	defer func() {
		for range written { // until the writer has ended
		}
	}()
	for newest := range written {
		q := sinks.EventQuery{OldestFirst: true, Limit: 2}
		if newest%2 == 0 {
			q.Repository = "team/a"
		}
		var last uint64
		for {
			page, err := j.Events(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page.Events {
				if d.Sequence <= last {
					t.Fatalf("event %d after %d", d.Sequence, last)
				}
				last = d.Sequence
			}
			if q.After = page.Next; q.After == 0 {
				break
			}
		}
		if last >= newest {
			continue
		}
		left, err := j.Events(ctx, sinks.EventQuery{OldestFirst: true, Limit: 1})
		if err != nil || len(left.Events) != 1 {
			t.Fatalf("%+v, %v; want the oldest event", left, err)
		}
		if left.Events[0].Sequence <= newest { // else all that he looked for was deleted
			t.Errorf("ended with event %d, and %d is stored", last, newest)
		}
	}
}
