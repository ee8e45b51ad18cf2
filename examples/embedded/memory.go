package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A target is a webhook and what it wants; nil is everything.
type target struct {
	name, url string
	match     sinks.Matcher
}

// A dispatcher takes events and delivers them until it is shut down.
type dispatcher interface {
	notifications.Sink
	Shutdown(context.Context) error
}

// open returns what keeps events in the folder journal and delivers them, or in memory if
// that is "".
func open(journal string, targets []target) (dispatcher, error) {
	if journal == "" {
		return inMemory(targets)
	}
	return onDisk(journal, targets)
}

// A broadcast is a broadcaster and the pipelines that it writes to: filter, queue, retrier
// and webhook, all in memory.
type broadcast struct {
	*sinks.Broadcaster
	pipelines []*endpoints.Pipeline
}

// inMemory composes sinks without an engine: what is queued is lost with the process.
func inMemory(targets []target) (dispatcher, error) {
	var b broadcast
	var members []notifications.Sink
	for _, t := range targets {
		p, err := endpoints.New(t.name, t.url, &endpoints.Options{Match: t.match})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the webhook %s: %w", t.name, err), finish(&b))
		}
		b.pipelines, members = append(b.pipelines, p), append(members, p)
	}
	b.Broadcaster = sinks.NewBroadcaster(members...)
	return &b, nil
}

// Shutdown delivers what is queued, until ctx ends.
func (b *broadcast) Shutdown(ctx context.Context) error {
	var errs []error
	for _, p := range b.pipelines {
		errs = append(errs, p.Shutdown(ctx))
	}
	return errors.Join(errs...)
}
