package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	dnotifications "github.com/distribution/distribution/v3/notifications"
	devents "github.com/docker/go-events"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// deliveryRows compare the way from a stored event to a webhook with distribution's.
func deliveryRows() []row {
	return []row{
		{name: "one event per POST, memory", against: "distribution's Endpoint", unit: "events/s", reach: 6,
			ours: deliver(memoryEngine, 60_000, 1, 1), peer: distributionEndpoint},
		{name: "one event per POST, journal", against: "distribution's Endpoint", unit: "events/s", reach: 4,
			ours: deliver(journalEngine, 60_000, 1, 1), peer: distributionEndpoint},
		{name: "100 events per POST, journal", against: "distribution's Endpoint", unit: "events/s", reach: 20,
			ours: deliver(journalEngine, 300_000, 100, 1), peer: distributionEndpoint},
	}
}

// deliver writes n events to an engine and measures until fan endpoints have received
// them all, in posts of perPost, ordered per repository.
func deliver(open engineMaker, n, perPost, fan int) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		engine, discard, err := open()
		if err != nil {
			return result{}, err
		}
		defer discard()
		to, err := receive(perPost, n*fan)
		if err != nil {
			return result{}, err
		}
		defer to.stop()

		ctx, cancel := context.WithCancel(ctx)
		var delivering []<-chan error
		defer func() {
			cancel()
			for _, done := range delivering {
				<-done
			}
		}()
		for i := range fan {
			done, err := startEndpoint(ctx, engine, fmt.Sprint("bench-", i), to.url, perPost)
			if err != nil {
				return result{}, err
			}
			delivering = append(delivering, done)
		}

		batch := events(n)
		watch := startWatch()
		if err := write(ctx, engine, batch); err != nil {
			return result{}, err
		}
		if err := to.wait(ctx); err != nil {
			return result{}, err
		}
		return watch.per(n * fan), nil
	}
}

// writers is how many write at once, as busy registries do.
const writers = 16

// write stores events, 100 at a time, from several writers.
func write(ctx context.Context, engine sinks.Engine, all []*notifications.Event) error {
	return inParallel(writers, slices.Collect(slices.Chunk(all, 100)), func(batch []*notifications.Event) error {
		return engine.Write(ctx, batch)
	})
}

// startEndpoint delivers from engine to url until ctx ends; what it returns is ready then.
func startEndpoint(ctx context.Context, engine sinks.Engine, name, url string, perPost int) (<-chan error, error) {
	cursor, err := engine.Cursor(ctx, name, nil)
	if err != nil {
		return nil, err
	}
	endpoint, err := endpoints.NewEndpoint(name, url, &endpoints.Options{
		Batch: sinks.BatchOptions{MaxEvents: perPost, Linger: linger(perPost)},
	})
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() {
		err := sinks.Deliver(ctx, cursor, endpoint, endpoint.DeliverOptions())
		_ = cursor.Close()
		done <- err
	}()
	return done, nil
}

// linger fills batches, so that every request holds as many events as it may.
func linger(perPost int) time.Duration {
	if perPost == 1 {
		return 0
	}
	return 50 * time.Millisecond
}

// distributionEndpoint measures distribution's own endpoint, from its bridge's event to
// the same receiver.
func distributionEndpoint(ctx context.Context) (result, error) {
	const n = 6_000
	to, err := receive(1, n)
	if err != nil {
		return result{}, err
	}
	defer to.stop()
	endpoint := dnotifications.NewEndpoint(fmt.Sprint("bench-", time.Now().UnixNano()), to.url,
		dnotifications.EndpointConfig{Timeout: 10 * time.Second})
	broadcaster := devents.NewBroadcaster(endpoint)
	batch, err := distributionEvents(n)
	if err != nil {
		return result{}, err
	}
	watch := startWatch()
	for _, e := range batch {
		if err := broadcaster.Write(e); err != nil {
			return result{}, err
		}
	}
	if err := to.wait(ctx); err != nil {
		return result{}, err
	}
	return watch.per(n), broadcaster.Close()
}

// distributionEvents are the same events as distribution's own type.
func distributionEvents(n int) ([]dnotifications.Event, error) {
	out := make([]dnotifications.Event, n)
	for i := range out {
		e := event(i)
		d, err := e.Details()
		if err != nil {
			return nil, err
		}
		out[i] = dnotifications.Event{
			ID: e.ID, Timestamp: e.Timestamp, Action: e.Action,
			Request: dnotifications.RequestRecord(d.Request), Actor: dnotifications.ActorRecord(d.Actor),
			Source: dnotifications.SourceRecord(d.Source),
		}
		out[i].Target.Descriptor = d.Target.Descriptor
		out[i].Target.Length, out[i].Target.Repository = d.Target.Length, d.Target.Repository
		out[i].Target.URL, out[i].Target.Tag = d.Target.URL, d.Target.Tag
	}
	return out, nil
}
