package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// scaleRows show what does not grow: with endpoints, with the dead among them, with the
// backlog.
func scaleRows() []row {
	return []row{
		{name: "100 endpoints on one journal", against: "one endpoint", unit: "deliveries/s", reach: 1,
			ours: deliver(journalEngine, 3_000, 1, 100), peer: deliver(journalEngine, 60_000, 1, 1)},
		{name: "100 endpoints, one of them dead", against: "99 alone", unit: "deliveries/s", reach: 0.98,
			ours: deliverBesideDead(3_000, 99), peer: deliver(journalEngine, 3_000, 1, 99)},
		{name: "1 million events behind a dead endpoint", against: "an empty backlog + 64 MiB", unit: "MiB resident", reach: 1, less: true,
			ours: resident(1_000_000, 0), peer: resident(0, 64), rounds: 1},
		{name: "first delivery after a start, 2 million stored", against: "1 second", unit: "s", reach: 1, less: true,
			ours: firstDelivery(2_000_000), peer: func(context.Context) (result, error) { return result{value: 1}, nil }, rounds: 1},
	}
}

// deadURL is a port of loopback where nobody listens.
const deadURL = "http://127.0.0.1:9/"

func deliverBesideDead(n, fan int) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		ctx, cancel := context.WithCancel(ctx)
		var dead <-chan error
		defer func() {
			cancel()
			if dead != nil {
				<-dead
			}
		}()
		withDead := func() (sinks.Engine, func(), error) {
			engine, discard, err := journalEngine()
			if err != nil {
				return nil, nil, err
			}
			dead, err = startEndpoint(ctx, engine, "dead", deadURL, 1)
			return engine, func() { cancel(); <-dead; dead = nil; discard() }, err
		}
		return deliver(withDead, n, 1, fan)(ctx)
	}
}

// resident measures the memory of this process, in MiB, with n events stored behind an
// endpoint that is dead, plus extra.
func resident(n int, extra float64) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		engine, discard, err := journalEngine()
		if err != nil {
			return result{}, err
		}
		defer discard()
		ctx, cancel := context.WithCancel(ctx)
		dead, err := startEndpoint(ctx, engine, "dead", deadURL, 1)
		if err != nil {
			cancel()
			return result{}, err
		}
		defer func() { cancel(); <-dead }()
		if err := fill(ctx, engine, n); err != nil {
			return result{}, err
		}
		runtime.GC()
		debug.FreeOSMemory()
		rss, err := residentMiB()
		return result{value: rss + extra}, err
	}
}

// fill writes n events, 10 000 made at a time.
func fill(ctx context.Context, engine sinks.Engine, n int) error {
	for range n / 10_000 {
		if err := write(ctx, engine, events(10_000)); err != nil {
			return err
		}
	}
	return nil
}

// residentMiB is the process's resident memory as the kernel counts it.
func residentMiB() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(status), "VmRSS:")
	if !ok {
		return 0, fmt.Errorf("no VmRSS in /proc/self/status")
	}
	kib, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	return kib / 1024, err
}

// firstDelivery measures the seconds from opening a journal that holds n events, all
// pending, to the first request of an endpoint.
func firstDelivery(n int) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		dir, err := os.MkdirTemp("", "regcast-bench-")
		if err != nil {
			return result{}, err
		}
		defer os.RemoveAll(dir)
		engine, err := journal.Open(dir, nil)
		if err != nil {
			return result{}, err
		}
		cursor, err := engine.Cursor(ctx, "bench", nil)
		if err != nil {
			return result{}, err
		}
		if err := cursor.Close(); err != nil {
			return result{}, err
		}
		if err := fill(ctx, engine, n); err != nil {
			return result{}, err
		}
		if err := engine.Shutdown(ctx); err != nil {
			return result{}, err
		}

		to, err := receive(1, 1)
		if err != nil {
			return result{}, err
		}
		defer to.stop()
		start := time.Now()
		if engine, err = journal.Open(dir, nil); err != nil {
			return result{}, err
		}
		defer func() { _ = engine.Shutdown(context.Background()) }()
		ctx, cancel := context.WithCancel(ctx)
		done, err := startEndpoint(ctx, engine, "bench", to.url, 1)
		if err != nil {
			cancel()
			return result{}, err
		}
		defer func() { cancel(); <-done }()
		if err := to.wait(ctx); err != nil {
			return result{}, err
		}
		return result{value: time.Since(start).Seconds()}, nil
	}
}
