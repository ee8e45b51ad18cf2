package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// A durable is an engine on disk, and one Deliver for each webhook that moves events from
// its place in the engine to it.
type durable struct {
	*journal.Journal
	stop       context.CancelFunc
	delivering sync.WaitGroup
	endpoints  []*endpoints.Endpoint
	cursors    []sinks.Cursor
}

// onDisk opens a journal and begins delivering what is in it.
func onDisk(dir string, targets []target) (dispatcher, error) {
	j, err := journal.Open(dir, nil)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &durable{Journal: j, stop: stop}
	for _, t := range targets {
		endpoint, err := endpoints.NewEndpoint(t.name, t.url, &endpoints.Options{Match: t.match})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the webhook %s: %w", t.name, err), finish(d))
		}
		d.endpoints = append(d.endpoints, endpoint)
		cursor, err := j.Cursor(ctx, t.name, nil)
		if err != nil {
			return nil, errors.Join(err, finish(d))
		}
		d.cursors = append(d.cursors, cursor)
		d.delivering.Go(func() {
			if err := sinks.Deliver(ctx, cursor, endpoint, endpoint.DeliverOptions()); err != nil {
				log.Printf("delivering to %s: %v", t.name, err)
			}
		})
	}
	return d, nil
}

// Shutdown ends delivering; what is not delivered is in the journal for the next time.
func (d *durable) Shutdown(ctx context.Context) error {
	d.stop()
	d.delivering.Wait()
	var errs []error
	for _, c := range d.cursors {
		errs = append(errs, c.Close())
	}
	for _, e := range d.endpoints {
		errs = append(errs, e.Shutdown(ctx))
	}
	return errors.Join(append(errs, d.Journal.Shutdown(ctx))...)
}
