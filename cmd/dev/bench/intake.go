package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/regcast/regcast/notifications/intake"
)

// intakeRows compare the way from a registry's POST to a synced event with bare handlers.
func intakeRows() []row {
	return []row{
		{name: "intake, 64 clients, synced before 202", against: "bare handler, no store", unit: "requests/s", reach: 0.45,
			ours: takeIn(40_000, 64, false), peer: bare(40_000, 64, false, discard{})},
		{name: "intake, one sender, one at a time", against: "bare write+fsync", unit: "requests/s", reach: 0.6,
			ours: takeIn(2_000, 1, true), peer: bareFile(2_000)},
	}
}

// takeIn measures our intake over a journal that nobody reads.
func takeIn(n, clients int, fresh bool) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		engine, discard, err := journalEngine()
		if err != nil {
			return result{}, err
		}
		defer discard()
		return posted(ctx, intake.NewHandler(engine, nil), n, clients, fresh)
	}
}

func posted(ctx context.Context, h http.Handler, n, clients int, fresh bool) (result, error) {
	s, err := serve(h)
	if err != nil {
		return result{}, err
	}
	defer s.stop()
	all := bodies(n, 1)
	watch := startWatch()
	if err := post(ctx, s.url, all, clients, fresh); err != nil {
		return result{}, err
	}
	return watch.per(n), nil
}

// bare measures a handler that reads the body, hands it to w and answers 202.
func bare(n, clients int, fresh bool, w io.Writer) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) { return posted(ctx, bareHandler(w), n, clients, fresh) }
}

func bareHandler(w io.Writer) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = w.Write(body)
		}
		if err != nil {
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		rw.WriteHeader(http.StatusAccepted)
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// bareFile measures the same handler over a file that is synced after every write: what
// the disk allows.
func bareFile(n int) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		file, err := os.CreateTemp("", "regcast-bench-")
		if err != nil {
			return result{}, err
		}
		defer os.Remove(file.Name())
		defer file.Close()
		return posted(ctx, bareHandler(&synced{file: file}), n, 1, true)
	}
}

// synced syncs the file after every write.
type synced struct {
	mu   sync.Mutex
	file *os.File
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.file.Write(p)
	if err != nil {
		return n, err
	}
	return n, s.file.Sync()
}
