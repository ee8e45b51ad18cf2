package notifications_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/notifications"
)

// FuzzDecode compares Decode with encoding/json: what is JSON, what the fields are, and
// that the wire form is the input without white space.
func FuzzDecode(f *testing.F) {
	for _, sample := range hostile() {
		if len(sample.body) < 20_000 { // larger ones only slow the fuzzer down
			f.Add([]byte(sample.body))
		}
	}
	f.Add([]byte(indented))
	f.Add([]byte(gitlabRename))
	f.Add([]byte(`{"events":[{"id":"1","action":"push","target":{"repository":"a","tag":"\u0074","digest":null}}]}`))
	f.Add([]byte(`{"id":"1","action":"push","target":{"repository":"a/b","x":[1e3,1.0,12345678901234567890,-0]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got := notifications.Decode(body, nil)
		if len(got.Events)+len(got.Bad) == 0 {
			t.Fatalf("Decode(%.200q) found nothing at all", body)
		}
		if !utf8.Valid(body) || depth(body) > 100 {
			return
		}
		elements, valid := oracle(body)
		if !valid || elements == nil {
			if len(got.Events) > 0 {
				t.Fatalf("Decode(%.200q) = %d events; encoding/json finds none", body, len(got.Events))
			}
			if !valid && (len(got.Bad) != 1 || got.Bad[0].Reason != notifications.ReasonSyntax) {
				t.Fatalf("Decode(%.200q) = %+v; encoding/json finds it invalid", body, got.Bad)
			}
			return
		}
		if len(got.Events)+len(got.Bad) != len(elements) {
			t.Fatalf("Decode(%.200q) = %d events and %d bad; encoding/json finds %d", body, len(got.Events), len(got.Bad), len(elements))
		}
		next := 0
		for _, raw := range elements {
			want, ok := hotFields(raw)
			if !ok {
				continue
			}
			if next == len(got.Events) {
				t.Fatalf("Decode(%.200q) = %+v; want an event of %s", body, got.Bad, raw)
			}
			e := got.Events[next]
			next++
			if want["id"] == "" {
				want["id"] = e.ID
			}
			have := map[string]string{
				"id": e.ID, "action": e.Action, "repository": e.Repository, "tag": e.Tag, "digest": string(e.Digest),
				"mediaType": e.MediaType, "name": e.Actor, "method": e.Method, "timestamp": "",
			}
			if !e.Timestamp.IsZero() {
				have["timestamp"] = e.Timestamp.Format(time.RFC3339Nano)
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Fatalf("fields of %s (-encoding/json +Decode):\n%s", raw, diff)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, raw); err != nil {
				t.Fatal(err)
			}
			wire := e.AppendJSON(nil)
			if got.Redacted == 0 && bytes.Contains(raw, []byte(e.ID)) && !bytes.Equal(wire, compact.Bytes()) {
				t.Fatalf("wire form of %s\n got %s\nwant %s", raw, wire, compact.Bytes())
			}
			again, err := notifications.ParseEvent(string(wire))
			if err != nil {
				t.Fatalf("ParseEvent(%s): %v", wire, err)
			}
			restored, err := notifications.RestoreEvent(string(wire))
			if err != nil {
				t.Fatalf("RestoreEvent(%s): %v", wire, err)
			}
			restored.Provenance = again.Provenance
			if diff := cmp.Diff(again, restored, cmp.AllowUnexported(notifications.Event{})); diff != "" {
				t.Fatalf("RestoreEvent (-ParseEvent +RestoreEvent):\n%s", diff)
			}
			if !bytes.Equal(again.AppendJSON(nil), wire) || again.ID != e.ID {
				t.Fatalf("ParseEvent changed %s", wire)
			}
			if v1 := e.AppendJSONv1(nil); !json.Valid(v1) {
				t.Fatalf("v2.8 flavour of %s is %s", wire, v1)
			}
		}
		if next != len(got.Events) {
			t.Fatalf("Decode(%.200q) = %d events; want %d", body, len(got.Events), next)
		}
	})
}

// oracle finds the events of a body with encoding/json: nil without any.
func oracle(body []byte) (elements []json.RawMessage, valid bool) {
	if !json.Valid(body) {
		return nil, false
	}
	var envelope map[string]json.RawMessage
	if json.Unmarshal(body, &envelope) != nil || envelope == nil {
		return nil, true
	}
	raw, ok := envelope["events"]
	if !ok {
		_, action := envelope["action"]
		_, target := envelope["target"]
		if !action && !target {
			return nil, true
		}
		return []json.RawMessage{body}, true
	}
	if json.Unmarshal(raw, &elements) != nil || len(elements) == 0 {
		return nil, true
	}
	return elements, true
}

// hotFields finds the exported fields of an event with encoding/json, and whether the
// event is sound, names and digests included as the vocabulary's own packages see them.
func hotFields(raw []byte) (map[string]string, bool) {
	var event map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // a number may be larger than any float64
	if dec.Decode(&event) != nil || event == nil {
		return nil, false
	}
	fields := map[string]string{}
	sound := true
	str := func(in map[string]any, name string) {
		switch v := in[name].(type) {
		case nil:
			fields[name] = ""
		case string:
			fields[name] = v
		default:
			sound = false
		}
	}
	sub := func(name string) map[string]any {
		v, ok := event[name].(map[string]any)
		if !ok && event[name] != nil {
			sound = false
		}
		return v
	}
	str(event, "id")
	str(event, "timestamp")
	str(event, "action")
	target := sub("target")
	for _, name := range []string{"repository", "tag", "digest", "mediaType"} {
		str(target, name)
	}
	str(sub("actor"), "name")
	str(sub("request"), "method")
	if !sound || fields["action"] == "" || !soundNames(fields["repository"], fields["tag"], fields["digest"]) {
		return nil, false
	}
	if stamp := fields["timestamp"]; stamp != "" {
		var at time.Time
		if at.UnmarshalText([]byte(stamp)) != nil {
			return nil, false
		}
		fields["timestamp"] = at.UTC().Format(time.RFC3339Nano)
		if at.IsZero() {
			fields["timestamp"] = ""
		}
	}
	return fields, true
}

// depth is how deep the brackets of valid JSON nest.
func depth(body []byte) int {
	deepest, now := 0, 0
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	for {
		tok, err := dec.Token()
		if err != nil {
			return deepest
		}
		if d, ok := tok.(json.Delim); ok && strings.ContainsRune("[{", rune(d)) {
			now++
			deepest = max(deepest, now)
		} else if ok {
			now--
		}
	}
}
