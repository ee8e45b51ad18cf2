package sinks_test

import (
	"context"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/sinktest"
)

// quick is a backoff for tests in real time.
var quick = sinks.Backoff{Initial: time.Millisecond, Max: time.Millisecond}

// putAway is an OnReject that forgets.
func putAway(context.Context, []*notifications.Event, error) error { return nil }

func TestBroadcasterIsASink(t *testing.T) {
	sinktest.TestSink(t, func(_ *testing.T, far notifications.Sink) sinktest.Subject {
		return sinktest.Subject{Sink: sinks.NewBroadcaster(far, sinks.NewBroadcaster())}
	})
}

func TestFilterIsASink(t *testing.T) {
	sinktest.TestSink(t, func(t *testing.T, far notifications.Sink) sinktest.Subject {
		return sinktest.Subject{Sink: sinks.NewFilter(far, matcher(t, sinks.Rules{Repositories: []string{"team/**"}}, sinks.Rules{}))}
	})
}

func TestRetrierIsASink(t *testing.T) {
	sinktest.TestSink(t, func(_ *testing.T, far notifications.Sink) sinktest.Subject {
		return sinktest.Subject{Sink: sinks.NewRetrier(far, &sinks.RetrierOptions{Backoff: quick})}
	})
}

func TestRetrierThatPutsAwayIsASink(t *testing.T) {
	sinktest.TestSink(t, func(_ *testing.T, far notifications.Sink) sinktest.Subject {
		return sinktest.Subject{Sink: sinks.NewRetrier(far, &sinks.RetrierOptions{Backoff: quick, OnReject: putAway})}
	})
}

func TestQueueIsASink(t *testing.T) {
	for name, opts := range map[string]*sinks.QueueOptions{
		"default":     nil,
		"small":       {Capacity: 20, MaxBatch: 3},
		"large":       {Capacity: 20, MaxBatch: 100},
		"reject":      {Capacity: 20, OnFull: sinks.Reject},
		"drop oldest": {OnFull: sinks.DropOldest},
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.TestSink(t, func(_ *testing.T, far notifications.Sink) sinktest.Subject {
				q := sinks.NewQueue(sinks.NewRetrier(far, &sinks.RetrierOptions{Backoff: quick, OnReject: putAway}), opts)
				return sinktest.Subject{Sink: q, Shutdown: q.Shutdown}
			})
		})
	}
}

func TestCompositionIsASink(t *testing.T) {
	sinktest.TestSink(t, func(t *testing.T, far notifications.Sink) sinktest.Subject {
		q := sinks.NewQueue(sinks.NewRetrier(far, &sinks.RetrierOptions{Backoff: quick, OnReject: putAway}), nil)
		f := sinks.NewFilter(q, matcher(t, sinks.Rules{Actions: []string{"push"}}, sinks.Rules{}))
		return sinktest.Subject{Sink: sinks.NewBroadcaster(f), Shutdown: q.Shutdown}
	})
}
