package notifications_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	dist "github.com/distribution/distribution/v3/notifications"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
)

func BenchmarkDecode(b *testing.B) {
	body := []byte(indented)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if got := notifications.Decode(body, nil); len(got.Events) != 1 {
			b.Fatal(got.Bad)
		}
	}
}

// BenchmarkDecodePeer decodes the same with encoding/json into distribution's own type.
func BenchmarkDecodePeer(b *testing.B) {
	body := []byte(indented)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var envelope struct{ Events []dist.Event }
		if err := json.Unmarshal(body, &envelope); err != nil || len(envelope.Events) != 1 {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeHundred reads events that differ in their digests, as real ones do: over the
// same bytes again and again a processor guesses every branch.
func BenchmarkDecodeHundred(b *testing.B) {
	one := compact(indented)
	one = one[len(`{"events":[`) : len(one)-len(`]}`)]
	was := string(notifications.Decode([]byte(indented), nil).Events[0].Digest)
	var bodies [64][]byte
	for i := range bodies {
		var all [100]string
		for j := range all {
			all[j] = strings.ReplaceAll(one, was, digest.FromString(fmt.Sprint(i, j)).String())
		}
		bodies[i] = []byte(`{"events":[` + strings.Join(all[:], ",") + `]}`)
	}
	b.SetBytes(int64(len(bodies[0])))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if got := notifications.Decode(bodies[i%len(bodies)], nil); len(got.Events) != 100 {
			b.Fatal(got.Bad)
		}
	}
}

func BenchmarkParseEvent(b *testing.B) {
	raw := string(notifications.Decode([]byte(indented), nil).Events[0].AppendJSON(nil))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := notifications.ParseEvent(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e := made(b)
	buf := e.AppendJSON(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}

// BenchmarkAppendJSONPeer encodes the same with encoding/json from distribution's own type.
func BenchmarkAppendJSONPeer(b *testing.B) {
	var e dist.Event
	if err := json.Unmarshal(made(b).AppendJSON(nil), &e); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSize(b *testing.B) {
	e := made(b)
	b.ReportAllocs()
	for b.Loop() {
		if e.Size() == 0 {
			b.Fatal("empty")
		}
	}
}

func BenchmarkNewEvent(b *testing.B) {
	d, err := made(b).Details()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		notifications.NewEvent(notifications.ActionPush, d)
	}
}

// made is an event as if it had been made here, with the content of the sample.
func made(tb testing.TB) *notifications.Event {
	tb.Helper()
	received := notifications.Decode([]byte(indented), nil).Events[0]
	d, err := received.Details()
	if err != nil {
		tb.Fatal(err)
	}
	e := notifications.NewEvent(received.Action, d)
	e.ID, e.Timestamp = received.ID, received.Timestamp
	return e
}

func compact(s string) string {
	var v json.RawMessage
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		panic(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprint(err))
	}
	return string(b)
}
