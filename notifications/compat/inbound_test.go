package compat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	theirs "github.com/distribution/distribution/v3/notifications"
	"github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/distribution/reference"
	events "github.com/docker/go-events"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/compat"
	"github.com/regcast/regcast/notifications/notificationstest"
)

var errTest = errors.New("test fault")

// theirEvent is one that distribution's bridge might have made.
func theirEvent() theirs.Event {
	e := theirs.Event{
		ID:        "0198f2a4-7c11-7e5b-9a10-5d2f0b7a9c01",
		Timestamp: time.Date(2026, 8, 18, 9, 30, 0, 123456789, time.FixedZone("", 7200)),
		Action:    theirs.EventActionPush,
		Request:   theirs.RequestRecord{ID: "r1", Addr: "192.0.2.7:1", Host: "registry.example", Method: "PUT", UserAgent: "a <b>"},
		Actor:     theirs.ActorRecord{Name: "alice"},
		Source:    theirs.SourceRecord{Addr: "node-1:5000", InstanceID: "i1"},
	}
	e.Target.Descriptor = v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("m"), Size: 7}
	e.Target.Length = 7
	e.Target.Repository = "team/app"
	e.Target.Tag = "v1"
	e.Target.URL = "https://registry.example/v2/team/app/manifests/" + digest.FromString("m").String()
	return e
}

func wire(t testing.TB, event any) string {
	t.Helper()
	b, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestInboundTakesEvents(t *testing.T) {
	byValue := theirEvent()
	ours := notificationstest.Push("team/app", "v1", 1)
	tests := map[string]struct {
		event events.Event
		want  string
	}{
		"distribution's, by value":   {byValue, wire(t, byValue)},
		"distribution's, by pointer": {&byValue, wire(t, byValue)},
		"ours":                       {ours, wire(t, ours)},
		"ours, by value":             {*ours, wire(t, ours)},
		"JSON as it is":              {json.RawMessage(wire(t, byValue)), wire(t, byValue)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var rec notificationstest.Recorder
			if err := compat.NewInbound(&rec, nil).Write(tt.event); err != nil {
				t.Fatal(err)
			}
			e := rec.Events()[0]
			if diff := cmp.Diff(tt.want, string(e.AppendJSON(nil))); diff != "" {
				t.Error(diff)
			}
			if e.Repository != "team/app" || e.Tag != "v1" || e.Actor != "alice" || e.Method != "PUT" {
				t.Errorf("fields that filters need are not set: %+v", e)
			}
		})
	}
}

func TestInboundRefusesWhatIsNoEvent(t *testing.T) {
	var rec notificationstest.Recorder
	in := compat.NewInbound(&rec, nil)
	for name, event := range map[string]events.Event{
		"nothing": nil, "no pointer": (*notifications.Event)(nil), "a word": "push", "an empty one": theirs.Event{}, "a function": func() {},
	} {
		if err := in.Write(event); !notifications.IsPermanent(err) || rec.Len() != 0 {
			t.Errorf("%s: error %v, %d events; want a permanent error and none", name, err, rec.Len())
		}
	}
}

func TestInboundErrors(t *testing.T) {
	closed := fmt.Errorf("behind: %w", notifications.ErrClosed)
	tests := map[string]struct{ from, want error }{
		"of the sink": {errTest, errTest},
		"closed":      {closed, events.ErrSinkClosed},
		"none":        {nil, nil},
	}
	for name, tt := range tests {
		sink := notificationstest.NewFaulty(nil, notificationstest.Script(tt.from))
		if err := compat.NewInbound(sink, nil).Write(theirEvent()); err != tt.want {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
}

func TestInboundClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		in := compat.NewInbound(notificationstest.NewSlow(&rec, time.Second), nil)
		go func() {
			if err := in.Write(theirEvent()); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		for range 2 {
			if err := in.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if rec.Len() != 1 {
			t.Error("Close did not wait for the write that was going on")
		}
		if err := in.Write(theirEvent()); err != events.ErrSinkClosed || rec.Len() != 1 {
			t.Errorf("Write after Close: %v", err)
		}
		if err := rec.Write(t.Context(), nil); err != nil {
			t.Errorf("Close closed the sink behind: %v", err)
		}
	})
}

func TestInboundTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := notificationstest.NewGate(nil)
		for _, tt := range []struct {
			opts *compat.InboundOptions
			want time.Duration
		}{{nil, compat.DefaultTimeout}, {&compat.InboundOptions{Timeout: time.Minute}, time.Minute}} {
			start := time.Now()
			if err := compat.NewInbound(stuck, tt.opts).Write(theirEvent()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != tt.want {
				t.Errorf("a stuck sink: %v after %v, want %v", err, time.Since(start), tt.want)
			}
		}
	})
}

// A Broadcaster of go-events drops a sink only for its own ErrSinkClosed.
func TestInboundIsForgottenByABroadcasterOnceClosed(t *testing.T) {
	var dead, rec notificationstest.Recorder
	dead.Close()
	closed := notificationstest.NewFaulty(&dead, notificationstest.Script())
	broadcaster := events.NewBroadcaster(compat.NewInbound(&rec, nil), compat.NewInbound(closed, nil))
	for range 3 {
		if err := broadcaster.Write(theirEvent()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := rec.Wait(ctx, 3); err != nil {
		t.Error(err)
	}
	if err := broadcaster.Close(); err != nil {
		t.Error(err)
	}
	if closed.Writes() != 1 {
		t.Errorf("the closed sink was offered %d events, want 1 and then none", closed.Writes())
	}
}

func ExampleNewInbound() {
	sink := &notificationstest.Recorder{}
	in := compat.NewInbound(sink, nil)
	defer in.Close()

	// distribution's own bridge writes to our sink.
	urls, _ := v2.NewURLBuilderFromString("https://registry.example", false)
	bridge := theirs.NewBridge(urls, theirs.SourceRecord{Addr: "node-1:5000"}, theirs.ActorRecord{Name: "alice"},
		theirs.RequestRecord{Method: "DELETE"}, in, false)
	repo, _ := reference.WithName("team/app")
	if err := bridge.TagDeleted(repo, "v1"); err != nil {
		fmt.Println(err)
	}

	for _, e := range sink.Events() {
		fmt.Println(e.Actor, e.Action, e.Repository, e.Tag)
	}
	// Output: alice delete team/app v1
}
