package journal

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications"
)

func sampleChunk(first uint64, events ...*notifications.Event) *chunk {
	c := &chunk{first: first}
	for i, e := range events {
		json := e.AppendJSON(nil)
		c.add(e, json, printOf(e.ID, json), 1_700_000_000_000_000+int64(i)*1500)
	}
	return c
}

func sampleEvents() []*notifications.Event {
	from := func(format, sender string) notifications.Provenance {
		return notifications.Provenance{Format: format, Sender: sender}
	}
	return []*notifications.Event{
		{ID: "1", Action: "push", Repository: "team/app", Provenance: from("distribution", "192.0.2.1")},
		{ID: "2", Action: "pull", Repository: "team/app", Provenance: from("distribution", "192.0.2.1")},
		{ID: "3", Action: "delete", Repository: "team/app", Provenance: from("harbor", "")},
		{ID: "4", Action: "push", Repository: "team/app"},
		{ID: "5", Action: "push", Repository: "team/app", Timestamp: time.Unix(1, 0).UTC(), Provenance: from("", "ops")},
	}
}

func TestChunkRoundTrip(t *testing.T) {
	events := sampleEvents()
	c := sampleChunk(7, events...)
	s, err := decodeChunk(7, 11, c.stored, c.body)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range s.events {
		want := c.events[i]
		if got.at != want.at || got.size != want.size || got.event.Provenance != want.event.Provenance ||
			!bytes.Equal(got.event.AppendJSON(nil), want.event.AppendJSON(nil)) {
			t.Errorf("event %d: %+v, want %+v", i, got, want)
		}
	}
	list, err := prints(c.prints)
	if err != nil || len(list) != len(events) || list[2] != printOf("3", events[2].AppendJSON(nil)) {
		t.Errorf("prints %v, %v", list, err)
	}
	for end := range c.body {
		if _, err := decodeChunk(7, 11, c.stored, c.body[:end]); err == nil {
			t.Errorf("%d of %d bytes are taken for the whole", end, len(c.body))
		}
	}
	if _, err := decodeChunk(7, 12, c.stored, c.body); err == nil {
		t.Error("a missing event is not missed")
	}
}

// FuzzChunk checks that no bytes make the decoder fail in another way than by an error,
// and that what it takes for events it would write in the same way.
func FuzzChunk(f *testing.F) {
	c := sampleChunk(1, sampleEvents()...)
	f.Add(uint64(1), uint64(5), c.stored, c.body)
	f.Add(uint64(1), uint64(1), int64(0), []byte{chunkVersion, flagProvenance, 0, 1, 'f', 1, 's', 2, '{', '}'})
	f.Add(uint64(1), uint64(1), int64(1)<<62, []byte{chunkVersion, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 2, '{', '}'})
	f.Add(uint64(0), ^uint64(0), int64(1), []byte{chunkVersion, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, first, last uint64, at int64, body []byte) {
		s, err := decodeChunk(first, last, at, body)
		if err != nil {
			return
		}
		if n := uint64(len(s.events)); n != last-first+1 {
			t.Fatalf("%d events from %d to %d", n, first, last)
		}
		again := &chunk{first: first}
		for i, e := range s.events {
			if e.at < at {
				t.Fatalf("event %d was stored at %d, before its chunk at %d", i, e.at, at)
			}
			json := e.event.AppendJSON(nil)
			again.add(e.event, json, printOf(e.event.ID, json), e.at)
		}
		if len(s.events) == 0 {
			return
		}
		s2, err := decodeChunk(first, last, again.stored, again.body)
		if err != nil {
			t.Fatalf("what was written again: %v", err)
		}
		if !slices.EqualFunc(s.events, s2.events, func(a, b stored) bool {
			return a.at == b.at && a.event.Provenance == b.event.Provenance && bytes.Equal(a.event.AppendJSON(nil), b.event.AppendJSON(nil))
		}) {
			t.Fatal("what was written again is not the same")
		}
	})
}
