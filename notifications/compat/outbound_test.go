package compat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	theirs "github.com/distribution/distribution/v3/notifications"
	events "github.com/docker/go-events"
	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/compat"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// goEvents is a sink of go-events that asks a function.
type goEvents func(events.Event) error

func (f goEvents) Write(e events.Event) error { return f(e) }
func (f goEvents) Close() error               { return nil }

// toTheirs converts an event for the sinks of distribution.
func toTheirs(e *notifications.Event) (events.Event, error) {
	var event theirs.Event
	err := json.Unmarshal(e.AppendJSON(nil), &event)
	return event, err
}

func TestOutboundWritesEventsInOrder(t *testing.T) {
	var got []int
	out := compat.NewOutbound(goEvents(func(e events.Event) error {
		got = append(got, notificationstest.Number(e.(*notifications.Event)))
		return nil
	}), nil)
	bounded, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, ctx := range []context.Context{context.Background(), bounded} {
		if err := out.Write(ctx, notificationstest.Pushes(3*i, 3, "team/app")); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 5}, got); diff != "" {
		t.Error(diff)
	}
}

func TestOutboundConverts(t *testing.T) {
	want := theirEvent()
	e, err := notifications.ParseEvent(wire(t, want))
	if err != nil {
		t.Fatal(err)
	}
	var got theirs.Event
	out := compat.NewOutbound(goEvents(func(e events.Event) error {
		got = e.(theirs.Event)
		return nil
	}), &compat.OutboundOptions{Convert: toTheirs})
	if err := out.Write(t.Context(), []*notifications.Event{e}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOutboundErrors(t *testing.T) {
	convertFails := func(*notifications.Event) (events.Event, error) { return nil, errTest }
	tests := map[string]struct {
		opts      compat.OutboundOptions
		answer    error
		want      error
		permanent bool
	}{
		"of the sink":                     {compat.OutboundOptions{}, errTest, errTest, false},
		"closed":                          {compat.OutboundOptions{}, events.ErrSinkClosed, notifications.ErrClosed, false},
		"closed, distribution says":       {compat.OutboundOptions{Closed: theirs.ErrSinkClosed}, theirs.ErrSinkClosed, notifications.ErrClosed, false},
		"closed, nobody knows it as such": {compat.OutboundOptions{}, theirs.ErrSinkClosed, theirs.ErrSinkClosed, false},
		"conversion":                      {compat.OutboundOptions{Convert: convertFails}, nil, errTest, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			written := 0
			out := compat.NewOutbound(goEvents(func(events.Event) error {
				if written++; written == 2 {
					return tt.answer
				}
				return nil
			}), &tt.opts)
			err := out.Write(t.Context(), notificationstest.Pushes(0, 3, "team/app"))
			if !errors.Is(err, tt.want) || notifications.IsPermanent(err) != tt.permanent {
				t.Errorf("got %v, permanent %t; want %v", err, notifications.IsPermanent(err), tt.want)
			}
			if !tt.permanent && written != 2 {
				t.Errorf("%d events written, want none after the second was refused", written)
			}
		})
	}
}

func TestOutboundReturnsWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			answer  = make(chan error)
			written []int
		)
		out := compat.NewOutbound(goEvents(func(e events.Event) error {
			written = append(written, notificationstest.Number(e.(*notifications.Event)))
			return <-answer
		}), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		batch := notificationstest.Pushes(1, 2, "team/app")
		if err := out.Write(ctx, batch); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write to a sink that does not answer: %v", err)
		}
		clear(batch) // no longer ours to look at
		if err := out.Write(ctx, notificationstest.Pushes(3, 1, "team/app")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write with an ended context: %v", err)
		}
		later, cancelLater := context.WithTimeout(t.Context(), time.Second)
		defer cancelLater()
		if err := out.Write(later, notificationstest.Pushes(4, 1, "team/app")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write behind one that is not answered: %v", err)
		}
		if err := out.Shutdown(later); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown behind one that is not answered: %v", err)
		}
		if err := out.Write(t.Context(), nil); err != notifications.ErrClosed {
			t.Errorf("Write after Shutdown: %v", err)
		}
		answer <- nil
		for range 2 {
			if err := out.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		}
		for range 20 { // whether it finds the turn or the end first
			if err := out.Write(t.Context(), notificationstest.Pushes(5, 1, "team/app")); err != notifications.ErrClosed {
				t.Errorf("Write after Shutdown: %v", err)
			}
		}
		if diff := cmp.Diff([]int{1}, written); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOutboundBatchesDoNotMix(t *testing.T) {
	var got []int // no lock: batches wait for each other, as the race detector knows
	out := compat.NewOutbound(goEvents(func(e events.Event) error {
		got = append(got, notificationstest.Number(e.(*notifications.Event)))
		return nil
	}), nil)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := out.Write(t.Context(), notificationstest.Pushes(3*i, 3, "team/app")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(got) != 60 {
		t.Fatalf("%d events, want 60", len(got))
	}
	for i := 0; i < 60; i += 3 {
		if got[i+1] != got[i]+1 || got[i+2] != got[i]+2 {
			t.Errorf("batches are mixed: %v", got)
			break
		}
	}
}

// Our event goes to a real receiver through an endpoint of distribution.
func TestOutboundToDistributionsEndpoint(t *testing.T) {
	bodies := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- body
	}))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	endpoint := theirs.NewEndpoint("test", server.URL, theirs.EndpointConfig{Timeout: 10 * time.Second, Transport: transport})
	out := compat.NewOutbound(endpoint, &compat.OutboundOptions{Convert: toTheirs, Closed: theirs.ErrSinkClosed})

	e := notificationstest.Push("team/app", "v1", 1)
	if err := out.Write(t.Context(), []*notifications.Event{e}); err != nil {
		t.Fatal(err)
	}
	decoded := notifications.Decode(<-bodies, nil)
	if len(decoded.Events) != 1 {
		t.Fatalf("received %+v", decoded)
	}
	if diff := cmp.Diff(string(e.AppendJSON(nil)), string(decoded.Events[0].AppendJSON(nil))); diff != "" {
		t.Error(diff)
	}

	if err := endpoint.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Write(t.Context(), []*notifications.Event{e}); err != notifications.ErrClosed {
		t.Errorf("Write to a closed endpoint: %v, want ErrClosed", err)
	}
}

func ExampleNewOutbound() {
	printer := goEvents(func(e events.Event) error {
		event := e.(*notifications.Event)
		fmt.Println(event.Action, event.Repository, event.Tag)
		return nil
	})
	out := compat.NewOutbound(printer, nil)
	defer out.Shutdown(context.Background())

	if err := out.Write(context.Background(), notificationstest.Pushes(0, 2, "team/app")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// push team/app v0
	// push team/app v1
}

func ExampleOutboundOptions() {
	endpoint := theirs.NewEndpoint("audit", "https://audit.example/hook", theirs.EndpointConfig{})
	defer endpoint.Close()

	out := compat.NewOutbound(endpoint, &compat.OutboundOptions{
		Convert: func(e *notifications.Event) (events.Event, error) {
			var event theirs.Event
			err := json.Unmarshal(e.AppendJSON(nil), &event)
			return event, err // a value: distribution's filters panic at a pointer
		},
		Closed: theirs.ErrSinkClosed,
	})
	defer out.Shutdown(context.Background())

	fmt.Println(out.Write(context.Background(), nil))
	// Output: <nil>
}
