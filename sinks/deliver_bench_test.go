package sinks_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// countdown is a sink that does nothing but count, and closes done at the last event.
type countdown struct {
	left atomic.Int64
	done chan struct{}
}

func (c *countdown) Write(_ context.Context, batch []*notifications.Event) error {
	if c.left.Add(-int64(len(batch))) == 0 {
		close(c.done)
	}
	return nil
}

// BenchmarkDeliver measures an event's way from a full memory engine to a sink that does
// nothing.
func BenchmarkDeliver(b *testing.B) {
	for _, bench := range []struct {
		keys  int
		batch int
	}{{1, 1}, {100, 1}, {10_000, 1}, {1, 100}, {100, 100}, {10_000, 100}} {
		b.Run(fmt.Sprintf("keys=%d/batch=%d", bench.keys, bench.batch), func(b *testing.B) {
			benchmarkDeliver(b, bench.keys, &sinks.DeliverOptions{Batch: sinks.BatchOptions{MaxEvents: bench.batch}})
		})
	}
}

func benchmarkDeliver(b *testing.B, keys int, opts *sinks.DeliverOptions) {
	const most = 20_000
	events := received(b, most, keys)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		b.StopTimer()
		n := min(most, b.N-done)
		engine := sinks.NewMemory(nil)
		cur, err := engine.Cursor(b.Context(), "c", nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := engine.Write(b.Context(), events[:n]); err != nil {
			b.Fatal(err)
		}
		dst := &countdown{done: make(chan struct{})}
		dst.left.Store(int64(n))
		ctx, stop := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		b.StartTimer()
		go func() { ended <- sinks.Deliver(ctx, cur, dst, opts) }()
		<-dst.done
		stop()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		done += n
	}
}

// received returns n events of that many repositories as intake makes them.
func received(b *testing.B, n, keys int) []*notifications.Event {
	b.Helper()
	events := notificationstest.Pushes(0, n, repositories(keys)...)
	for i, e := range events {
		e, err := notifications.ParseEvent(string(e.AppendJSON(nil)))
		if err != nil {
			b.Fatal(err)
		}
		events[i] = e
	}
	return events
}

func BenchmarkMemoryRecord(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			const most = 20_000
			events := received(b, most, 100)
			engine := sinks.NewMemory(nil)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i+n > most {
					i = 0
					engine = sinks.NewMemory(nil)
				}
				if err := engine.Write(b.Context(), events[i:i+n]); err != nil {
					b.Fatal(err)
				}
				i += n
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}
