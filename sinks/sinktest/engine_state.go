package sinktest

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

var stateTests = []engineTest{
	{name: "quarantine", run: testQuarantine},
	{name: "state", run: testState},
}

func testQuarantine(tr *trial) {
	ctx := tr.Context()
	received := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 5 {
		_, err := tr.engine.Record(ctx, nil, []notifications.Quarantined{{
			Reason: notifications.ReasonSyntax, Body: []byte{byte(i)}, Size: -1, Received: received,
		}})
		tr.must(err)
	}
	list := func(after uint64, limit int) (ids []uint64) {
		tr.Helper()
		bad, err := tr.engine.Quarantined(ctx, after, limit)
		tr.must(err)
		for _, q := range bad {
			if !q.Received.Equal(received) || q.Size != -1 {
				tr.Errorf("body came back as %+v", q)
			}
			ids = append(ids, q.ID)
		}
		return ids
	}
	all := list(0, 0)
	if len(all) != 5 || !slices.IsSorted(all) {
		tr.Fatalf("quarantined %v, want 5 in order", all)
	}
	if got := list(all[1], 2); !slices.Equal(got, all[2:4]) {
		tr.Errorf("listed %v, want %v", got, all[2:4])
	}
	n, err := tr.engine.DropQuarantined(ctx, all[0], all[3], 1<<40)
	if err != nil || n != 2 {
		tr.Errorf("dropped %d, %v; want 2", n, err)
	}
	if got, want := list(0, 0), []uint64{all[1], all[2], all[4]}; !slices.Equal(got, want) {
		tr.Errorf("left %v, want %v", got, want)
	}
	if got := list(all[3], 0); !slices.Equal(got, all[4:]) {
		tr.Errorf("after a dropped one: %v, want %v", got, all[4:])
	}
}

func testState(tr *trial) {
	ctx := tr.Context()
	_, err := tr.engine.State(ctx, "k")
	tr.mustBe(err, sinks.ErrNotFound, "state of an unknown key")
	value := []byte("one")
	tr.must(tr.engine.SetState(ctx, "endpoint/a", value))
	value[0] = 'X'
	tr.must(tr.engine.SetState(ctx, "endpoint/b", []byte{}))
	tr.must(tr.engine.SetState(ctx, "job/1", bytes.Repeat([]byte{0}, sinks.MaxStateValue)))
	tr.must(tr.engine.SetState(ctx, strings.Repeat("k", sinks.MaxStateKey), []byte("v")))
	if got, err := tr.engine.State(ctx, "endpoint/a"); err != nil || string(got) != "one" {
		tr.Errorf("%q, %v; want one", got, err)
	}
	if got, err := tr.engine.State(ctx, "endpoint/b"); err != nil || len(got) != 0 {
		tr.Errorf("%q, %v; want an empty value", got, err)
	}
	keys, err := tr.engine.StateKeys(ctx, "endpoint/")
	if err != nil || !slices.Equal(keys, []string{"endpoint/a", "endpoint/b"}) {
		tr.Errorf("keys %v, %v", keys, err)
	}
	tr.must(tr.engine.SetState(ctx, "endpoint/a", []byte("two")))
	if got, err := tr.engine.State(ctx, "endpoint/a"); err != nil || string(got) != "two" {
		tr.Errorf("%q, %v; want two", got, err)
	}
	tr.must(tr.engine.SetState(ctx, "endpoint/a", nil))
	tr.must(tr.engine.SetState(ctx, "endpoint/a", nil))
	_, err = tr.engine.State(ctx, "endpoint/a")
	tr.mustBe(err, sinks.ErrNotFound, "state of a deleted key")
	if keys, err = tr.engine.StateKeys(ctx, ""); err != nil || len(keys) != 3 {
		tr.Errorf("%d keys, %v; want 3", len(keys), err)
	}
	if tr.engine.SetState(ctx, "k", make([]byte, sinks.MaxStateValue+1)) == nil {
		tr.Error("a value beyond the bound was stored")
	}
	if tr.engine.SetState(ctx, strings.Repeat("k", sinks.MaxStateKey+1), []byte("v")) == nil {
		tr.Error("a key beyond the bound was stored")
	}
}
