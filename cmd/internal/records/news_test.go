package records

import (
	"slices"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// Whoever waits is woken by what is stored, whichever way it comes in, and by nothing else.
func TestNews(t *testing.T) {
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(t.Context())
	var heard []string
	n := &News{Door: engine, Heard: func(events []*notifications.Event) {
		for _, e := range events {
			heard = append(heard, e.ID)
		}
	}}
	events := notificationstest.Pushes(1, 2, "team/a")
	for _, c := range []struct {
		what  string
		do    func() error
		wakes bool
	}{
		{"Write", func() error { return n.Write(t.Context(), events[:1]) }, true},
		{"Record", func() error { _, err := n.Record(t.Context(), events[1:], nil); return err }, true},
		{"Record of a repeat", func() error { _, err := n.Record(t.Context(), events[1:], nil); return err }, false},
		{"Record of what cannot be read", func() error {
			_, err := n.Record(t.Context(), nil, []notifications.Quarantined{{Body: []byte("?"), Size: 1, Reason: notifications.ReasonSyntax}})
			return err
		}, false},
	} {
		more := n.wait()
		if err := c.do(); err != nil {
			t.Fatal(c.what, err)
		}
		woken := false
		select {
		case <-more:
			woken = true
		default:
		}
		if woken != c.wakes {
			t.Errorf("%s: woken is %t, want %t", c.what, woken, c.wakes)
		}
	}
	if err := engine.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Write(t.Context(), events[:1]); err == nil {
		t.Error("an engine that is shut down stores events")
	}
	one, two := events[0].ID, events[1].ID
	if want := []string{one, two, two, one}; !slices.Equal(heard, want) {
		t.Errorf("heard of %v, want %v: what is stored, what was before, and what is not", heard, want)
	}
}
