package journal_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// received returns count events of about 900 bytes, as a registry's intake hands them
// over, numbered from first.
func received(tb testing.TB, first, count int) []*notifications.Event {
	tb.Helper()
	events := make([]*notifications.Event, count)
	for i := range events {
		events[i] = receivedOne(tb, first+i)
	}
	return events
}

func receivedOne(tb testing.TB, n int) *notifications.Event {
	raw := fmt.Sprintf(`{"id":"%08d-3f2c-4d61-9c0e-5a1b7c9d2e3f","timestamp":"2026-05-04T12:13:14.123456789Z","action":"push",`+
		`"target":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064x","size":1234,"length":1234,`+
		`"repository":"team/app-%02d","url":"https://registry.example:5000/v2/team/app/manifests/sha256:%064x","tag":"v1.%d",`+
		`"references":[{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%064x","size":4567}]},`+
		`"request":{"id":"9a6f5c1e-0f3b-4c1d-8a2e-6b7c8d9e0f1a","addr":"192.0.2.17:51234","host":"registry.example:5000","method":"PUT","useragent":"containerd/2.0.0"},`+
		`"actor":{"name":"ci-builder"},"source":{"addr":"registry-7f9c:5000","instanceID":"5d3c2b1a-9e8f-4a7b-8c6d-1e2f3a4b5c6d"}}`,
		n, n, n%37, n, n, n)
	e, err := notifications.ParseEvent(raw)
	if err != nil {
		tb.Fatal(err)
	}
	e.Provenance = notifications.Provenance{Format: "distribution", Sender: "192.0.2.17"}
	return e
}

func benchJournal(b *testing.B, opts *journal.Options) (*journal.Journal, string) {
	b.Helper()
	dir := b.TempDir()
	if opts == nil {
		opts = &journal.Options{}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	j, err := journal.Open(dir, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := j.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return j, dir
}

// A bareLog is the limit: write and fsync with group commit, and nothing else.
type bareLog struct {
	mu    sync.Mutex
	file  *os.File
	buf   []byte
	wait  []chan error
	wake  chan struct{}
	ended chan struct{}
}

func newBareLog(b *testing.B) *bareLog {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	l := &bareLog{file: f, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go l.run()
	b.Cleanup(func() { close(l.wake); <-l.ended; f.Close() })
	return l
}

func (l *bareLog) run() {
	defer close(l.ended)
	for range l.wake {
		l.mu.Lock()
		buf, wait := l.buf, l.wait
		l.buf, l.wait = nil, nil
		l.mu.Unlock()
		_, err := l.file.Write(buf)
		if err == nil {
			err = l.file.Sync()
		}
		for _, w := range wait {
			w <- err
		}
	}
}

func (l *bareLog) Write(_ context.Context, batch []*notifications.Event) error {
	done := make(chan error, 1)
	l.mu.Lock()
	for _, e := range batch {
		l.buf = e.AppendJSON(l.buf)
	}
	l.wait = append(l.wait, done)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return <-done
}

func BenchmarkAppend(b *testing.B) {
	for _, load := range []struct{ writers, batch int }{{1, 1}, {64, 1}, {16, 100}} {
		for _, kind := range []string{"bare", "journal"} {
			b.Run(fmt.Sprintf("writers=%d/batch=%d/%s", load.writers, load.batch, kind), func(b *testing.B) {
				events := received(b, 0, b.N*load.batch)
				var dst notifications.Sink
				if kind == "bare" {
					dst = newBareLog(b)
				} else {
					dst, _ = benchJournal(b, nil)
				}
				var wg sync.WaitGroup
				var mu sync.Mutex
				next := 0
				b.ResetTimer()
				for range load.writers {
					wg.Go(func() {
						for {
							mu.Lock()
							n := next
							next++
							mu.Unlock()
							if n >= b.N {
								return
							}
							if err := dst.Write(context.Background(), events[n*load.batch:(n+1)*load.batch]); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N*load.batch)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// BenchmarkRead reads what is not in memory any more.
func BenchmarkRead(b *testing.B) {
	j, _ := benchJournal(b, &journal.Options{TailBytes: 1 << 20})
	const stored = 100_000
	for n := 0; n < stored; n += 1000 {
		if err := j.Write(context.Background(), received(b, n, 1000)); err != nil {
			b.Fatal(err)
		}
	}
	into := make([]sinks.Delivery, 1024)
	settled := make([]sinks.Settlement, len(into))
	// Reading only, not the building of the indexes.
	<-time.After(time.Second)
	b.ResetTimer()
	read := 0
	for i := range b.N {
		c, err := j.Cursor(context.Background(), fmt.Sprintf("c%d", i), &sinks.CursorOptions{From: sinks.Oldest(), To: stored})
		if err != nil {
			b.Fatal(err)
		}
		for {
			n, err := c.Claim(context.Background(), into)
			if err != nil {
				break
			}
			for k := range n {
				settled[k] = sinks.Settlement{Sequence: into[k].Sequence, Outcome: sinks.Delivered}
			}
			if err := c.Settle(settled[:n]...); err != nil {
				b.Fatal(err)
			}
			read += n
		}
		c.Close()
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkBacklog reports what a million events behind a cursor that nobody serves cost:
// memory beyond that of an empty journal, and the time to open and claim.
func BenchmarkBacklog(b *testing.B) {
	ctx := context.Background()
	dir := b.TempDir()
	open := func() *journal.Journal {
		j, err := journal.Open(dir, &journal.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		return j
	}
	j := open()
	c, err := j.Cursor(ctx, "dead", nil)
	if err != nil {
		b.Fatal(err)
	}
	into := make([]sinks.Delivery, 64)
	write := func(n int) {
		if err := j.Write(ctx, received(b, n, 1000)); err != nil {
			b.Fatal(err)
		}
	}
	write(0)
	if _, err := c.Claim(ctx, into); err != nil {
		b.Fatal(err)
	}
	before := resident(b)
	for n := 1000; n < 1_000_000; n += 1000 {
		write(n)
	}
	grown := resident(b) - before
	if err := j.Shutdown(ctx); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		j := open()
		c, err := j.Cursor(ctx, "dead", nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Claim(ctx, into); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := j.Shutdown(ctx); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(grown)/(1<<20), "MiB")
}

// resident is the process's memory, after what is not needed was given back.
func resident(b *testing.B) int {
	b.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}
