package endpoints

import (
	"context"
	"time"

	"github.com/regcast/regcast/notifications"
)

// headerTest marks a request that is no delivery.
const headerTest = "Regcast-Test"

// A PingResult is what came of a Ping.
type PingResult struct {
	Status   int           // of the answer; 0 without one, and from a built-in endpoint
	Duration time.Duration // until the answer or the error
	Excerpt  []byte        // the beginning of the answer's body, at most sinks.MaxExcerpt, secrets blotted out
}

// Ping sends one event as any other is sent, but with the header Regcast-Test, whatever
// the endpoint's state is, and without a trace in metrics and history. An endpoint that
// is held and accepts it is probed at once.
//
// Errors: those of Write. The result says how long it took, and what was answered, with
// an error, too.
func (e *Endpoint) Ping(ctx context.Context, event *notifications.Event) (PingResult, error) {
	started := time.Now()
	ans, err := e.sender.send(context.WithValue(ctx, pingKey{}, true), []*notifications.Event{event})
	if err == nil {
		e.policy.answered()
	}
	return PingResult{Status: ans.status, Duration: time.Since(started), Excerpt: ans.excerpt}, err
}

type pingKey struct{}

func isPing(ctx context.Context) bool { return ctx.Value(pingKey{}) != nil }
