package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// A printer is a sink that prints.
type printer string

func (p printer) Write(_ context.Context, batch []*notifications.Event) error {
	for _, e := range batch {
		fmt.Printf("%s: %s %s:%s\n", p, e.Action, e.Repository, e.Tag)
	}
	return nil
}

// A dispatcher without an engine: every branch of the broadcaster filters, queues and
// retries for itself. Things are built inside-out and shut down last-built-first.
func Example() {
	ctx := context.Background()
	images, err := sinks.NewMatcher(sinks.Rules{Kinds: []string{"image"}, Repositories: []string{"team/**"}}, sinks.Rules{})
	if err != nil {
		log.Fatal(err)
	}

	// In place of the printer there would be a webhook. This one is down at first.
	webhook := notificationstest.NewFaulty(printer("audit"), notificationstest.Script(errors.New("down")))
	retrier := sinks.NewRetrier(webhook, &sinks.RetrierOptions{Backoff: sinks.Backoff{Initial: time.Millisecond}})
	queue := sinks.NewQueue(retrier, &sinks.QueueOptions{OnFull: sinks.DropOldest})
	dispatcher := sinks.NewBroadcaster(sinks.NewFilter(queue, images))

	err = dispatcher.Write(ctx, []*notifications.Event{
		notificationstest.Push("team/app", "v1", 1),
		notificationstest.BlobPush("team/app", 2),
		notificationstest.Push("library/alpine", "3", 3),
		notificationstest.Pull("team/app", "v1", 4),
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := queue.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// audit: push team/app:v1
	// audit: pull team/app:v1
}

func ExampleNewBroadcaster() {
	b := sinks.NewBroadcaster(printer("first"), printer("second"))
	third := printer("third")
	b.Add(third)
	fmt.Println(b.Write(context.Background(), []*notifications.Event{notificationstest.Push("team/app", "v1", 1)}))
	b.Remove(third)
	fmt.Println(b.Write(context.Background(), []*notifications.Event{notificationstest.Push("team/app", "v2", 2)}))
	// Output:
	// first: push team/app:v1
	// second: push team/app:v1
	// third: push team/app:v1
	// <nil>
	// first: push team/app:v2
	// second: push team/app:v2
	// <nil>
}

func ExampleNewFilter() {
	pulls := sinks.MatcherFunc(func(e *notifications.Event) bool { return e.Action == notifications.ActionPull })
	f := sinks.NewFilter(printer("pulls"), pulls)
	err := f.Write(context.Background(), []*notifications.Event{
		notificationstest.Push("team/app", "v1", 1),
		notificationstest.Pull("team/app", "v1", 2),
	})
	fmt.Println(err)
	// Output:
	// pulls: pull team/app:v1
	// <nil>
}

func ExampleNewQueue() {
	q := sinks.NewQueue(printer("audit"), &sinks.QueueOptions{Capacity: 1000, MaxBatch: 100})
	for n := range 3 {
		if err := q.Write(context.Background(), []*notifications.Event{notificationstest.Push("team/app", "v1", n)}); err != nil {
			fmt.Println(err) // the operation itself goes on
		}
	}
	if err := q.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(q.Stats().Delivered, "delivered")
	fmt.Println(q.Write(context.Background(), nil))
	// Output:
	// audit: push team/app:v1
	// audit: push team/app:v1
	// audit: push team/app:v1
	// 3 delivered
	// sink closed
}

func ExampleNewRetrier() {
	refuses := notificationstest.NewFaulty(printer("audit"), notificationstest.Script(
		errors.New("connection refused"),
		notifications.Permanent(errors.New("400 Bad Request")),
	))
	r := sinks.NewRetrier(refuses, &sinks.RetrierOptions{
		Backoff: sinks.Backoff{Initial: time.Millisecond, Max: time.Minute},
		OnReject: func(_ context.Context, batch []*notifications.Event, err error) error {
			fmt.Println("put away:", len(batch), "event,", err)
			return nil
		},
	})
	fmt.Println(r.Write(context.Background(), []*notifications.Event{notificationstest.Push("team/app", "v1", 1)}))
	fmt.Println(r.Write(context.Background(), []*notifications.Event{notificationstest.Push("team/app", "v2", 2)}))
	// Output:
	// put away: 1 event, 400 Bad Request
	// <nil>
	// audit: push team/app:v2
	// <nil>
}

func ExampleNewMatcher() {
	m, err := sinks.NewMatcher(
		sinks.Rules{Actions: []string{"push", "pull"}, Repositories: []string{"team/**"}},
		sinks.Rules{Methods: []string{"HEAD"}, Tags: []string{"cache-*"}},
	)
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range []*notifications.Event{
		notificationstest.Push("team/app", "v1", 1),
		notificationstest.Push("team", "v1", 2),
		notificationstest.Push("team/app", "cache-linux", 3),
		notificationstest.TagDelete("team/app", "v1", 4),
	} {
		fmt.Printf("%s %s:%s: %t %q\n", e.Action, e.Repository, e.Tag, m.Match(e), m.Explain(e))
	}

	_, err = sinks.NewMatcher(sinks.Rules{Kinds: []string{"layer"}}, sinks.Rules{Tags: []string{"v?"}})
	fmt.Println(err)
	// Output:
	// push team/app:v1: true ""
	// push team:v1: false "filter.repositories"
	// push team/app:cache-linux: false "ignore.tags"
	// delete team/app:v1: false "filter.actions"
	// filter.kinds: "layer": unknown kind "layer": want one of manifest, blob, tag, repository, image
	// ignore.tags: "v?": '?' has no meaning here: only "*" and "**" are wildcards
}

func ExampleParseGlob() {
	g, err := sinks.ParseGlob("team/*")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(g.Match("team/app"), g.Match("team"), g.Match("team/group/app"))
	// Output: true false false
}

func ExampleBackoff() {
	b := sinks.Backoff{Initial: time.Second, Max: time.Minute}
	d := b.Delay(3)
	fmt.Println(d >= 2*time.Second, d <= 4*time.Second)
	// Output: true true
}
