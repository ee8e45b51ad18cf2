package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/regcast/regcast/examples/internal/harness"
)

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"push", "pull", "mount", "delete", "Nothing was lost."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo did not say %q:\n%s", want, &out)
		}
	}
}

// As many events are not the same events.
func TestCompare(t *testing.T) {
	events := func(ids ...string) (list []harness.Received) {
		for _, id := range ids {
			list = append(list, harness.Received{ID: id, Action: "push", Repository: "team/app"})
		}
		return list
	}
	for name, c := range map[string]struct {
		sent, received []harness.Received
		want           string // part of the error; "": none
	}{
		"all":            {events("a", "b"), events("b", "a"), ""},
		"with a repeat":  {events("a", "b"), events("a", "b", "b"), ""},
		"one lost":       {events("a", "b"), events("a", "a"), "the event b (push of team/app) was lost"},
		"one too many":   {events("a"), events("a", "c"), "the event c (push of team/app) was never sent"},
		"none was there": {nil, nil, "sent nothing"},
	} {
		err := compare(c.sent, c.received)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
