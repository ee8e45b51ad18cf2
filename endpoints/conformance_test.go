package endpoints_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/sinktest"
)

// serve makes far an HTTP receiver.
func serve(t *testing.T, far notifications.Sink) string {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender has given up
		}
		decoded := notifications.Decode(body, nil)
		if len(decoded.Bad) > 0 {
			t.Errorf("a body that is not an envelope: %s", body)
		}
		switch err := far.Write(r.Context(), decoded.Events); {
		case err == nil:
		case notifications.IsPermanent(err):
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(receiver.Close)
	return receiver.URL
}

func TestWebhookIsASink(t *testing.T) {
	sinktest.TestSink(t, func(t *testing.T, far notifications.Sink) sinktest.Subject {
		w, err := endpoints.NewWebhook(serve(t, far), nil)
		if err != nil {
			t.Fatal(err)
		}
		return sinktest.Subject{Sink: w, Shutdown: w.Shutdown}
	})
}

func TestEndpointIsASink(t *testing.T) {
	sinktest.TestSink(t, func(t *testing.T, far notifications.Sink) sinktest.Subject {
		e, err := endpoints.NewEndpoint("audit", serve(t, far), &endpoints.Options{
			Format: endpoints.FormatDistributionV1, Metrics: endpoints.NewMetrics(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		return sinktest.Subject{Sink: e, Shutdown: e.Shutdown}
	})
}

func TestPipelineIsASink(t *testing.T) {
	sinktest.TestSink(t, func(t *testing.T, far notifications.Sink) sinktest.Subject {
		p, err := endpoints.New("audit", serve(t, far), &endpoints.Options{
			Retry: endpoints.RetryOptions{Initial: time.Millisecond, Max: 5 * time.Millisecond},
		})
		if err != nil {
			t.Fatal(err)
		}
		return sinktest.Subject{Sink: p, Shutdown: p.Shutdown}
	})
}

func TestFileIsASink(t *testing.T) {
	sinktest.TestSink(t, func(t *testing.T, _ notifications.Sink) sinktest.Subject {
		path := filepath.Join(t.TempDir(), "events.jsonl")
		e, err := endpoints.NewEndpoint("file", "file:"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sinktest.Subject{Sink: e, Shutdown: e.Shutdown, Received: func() []*notifications.Event {
			return readLines(t, path)
		}}
	})
}

func TestConsoleIsASink(t *testing.T) {
	sinktest.TestSink(t, func(t *testing.T, far notifications.Sink) sinktest.Subject {
		out := &syncBuffer{}
		e, err := endpoints.NewEndpoint("console", "console:", &endpoints.Options{Console: out})
		if err != nil {
			t.Fatal(err)
		}
		return sinktest.Subject{Sink: e, Shutdown: e.Shutdown, Received: func() []*notifications.Event {
			return printed(t, out.String())
		}}
	})
}

// readLines returns the events of a file of JSON lines.
func readLines(t *testing.T, path string) []*notifications.Event {
	t.Helper()
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var events []*notifications.Event
	for line := range strings.Lines(string(content)) {
		e, err := notifications.ParseEvent(line)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// printed returns the sample events whose lines a console has printed: the tag says
// which.
func printed(t *testing.T, lines string) []*notifications.Event {
	t.Helper()
	var events []*notifications.Event
	for line := range strings.Lines(lines) {
		var at, action, name, dgst, actor string
		if _, err := fmt.Sscan(line, &at, &action, &name, &dgst, &actor); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		repo, tag, _ := strings.Cut(name, ":")
		n, err := strconv.Atoi(strings.TrimPrefix(tag, "v"))
		if err != nil {
			continue // of no sample by number
		}
		events = append(events, notificationstest.Push(repo, tag, n))
	}
	return events
}

// A syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var (
	_ notifications.Selective = (*endpoints.Endpoint)(nil)
	_ notifications.Selective = (*endpoints.Pipeline)(nil)
	_ notifications.Sink      = (*endpoints.Webhook)(nil)
	_ endpoints.Ledger        = (sinks.Engine)(nil)
)
