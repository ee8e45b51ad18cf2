package notifications_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/regcast/regcast/notifications"
)

// decodeOne decodes a body that holds one sound event.
func decodeOne(t *testing.T, body string) *notifications.Event {
	t.Helper()
	got := notifications.Decode([]byte(body), nil)
	if len(got.Events) != 1 || len(got.Bad) != 0 {
		t.Fatalf("Decode = %d events, bad: %+v", len(got.Events), got.Bad)
	}
	return got.Events[0]
}

func TestDecodeFields(t *testing.T) {
	e := decodeOne(t, indented)
	want := []string{
		"0198f2a4-7c11-7e5b-9a10-5d2f0b7a9c02", "push", "team/app", "1.4", dgst.String(),
		"application/vnd.oci.image.manifest.v1+json", "alice", "PUT",
	}
	got := []string{e.ID, e.Action, e.Repository, e.Tag, e.Digest.String(), e.MediaType, e.Actor, e.Method}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if at := time.Date(2026, 8, 18, 9, 30, 0, 123456789, time.UTC); e.Timestamp != at {
		t.Errorf("timestamp %v, want %v", e.Timestamp, at)
	}
	d, err := e.Details()
	if err != nil {
		t.Fatal(err)
	}
	if d.Target.Size != 1234 || d.Request.UserAgent != "skopeo/1.16" || d.Source.Addr != "node-3:5000" {
		t.Errorf("details %+v", d)
	}
}

func TestDecodeTimestamp(t *testing.T) {
	e := decodeOne(t, `{"id":"1","timestamp":"2026-08-18T11:30:00.5+02:00","action":"push","target":{"repository":"a"}}`)
	if want := time.Date(2026, 8, 18, 9, 30, 0, 5e8, time.UTC); e.Timestamp != want {
		t.Errorf("timestamp %v, want %v", e.Timestamp, want)
	}
	if e := decodeOne(t, `{"id":"1","action":"push","target":{"repository":"a"}}`); !e.Timestamp.IsZero() {
		t.Errorf("timestamp %v of an event without one", e.Timestamp)
	}
}

// TestDecodeStrings puts every byte at every place of strings of several lengths.
func TestDecodeStrings(t *testing.T) {
	for length := 1; length <= 20; length++ {
		for at := range length {
			for c := range 256 {
				value := []byte(strings.Repeat("x", length))
				value[at] = byte(c)
				body := fmt.Appendf(nil, `{"id":"1","action":"push","target":{"repository":"a"},"x":"%s"}`, value)
				got := notifications.Decode(body, nil)
				if want := json.Valid(body) && c < 0x80; want != (len(got.Events) == 1) {
					t.Fatalf("byte %#x at %d of %d: %d events, bad: %+v", c, at, length, len(got.Events), got.Bad)
				}
			}
		}
	}
}

// TestDecodeIndented takes back what distribution's indentation added, nothing else.
func TestDecodeIndented(t *testing.T) {
	e := decodeOne(t, indented)
	if diff := cmp.Diff(compact(indented), string(notifications.AppendEnvelope(nil, []*notifications.Event{e}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDecodeKeepsEverything passes on what it does not know as it was spelled.
func TestDecodeKeepsEverything(t *testing.T) {
	for _, members := range []string{
		`"x":1e3,"y":1.0,"z":12345678901234567890,"w":-0.0E+10`,
		`"x":"a\/b \u0041 \ud83d\ude00 \ud800 \" \\ \b\f\n\r\t"`,
		`"x":"< > & é 😀 ` + "\u2028\x7f" + `"`,
		`"x":{"deep":[[],{},[{"a":[1,[2,[3]]]}]],"":null,"t":true,"f":false}`,
		`"x":1,"x":2`,
		`"\u0069d":"2"`,
	} {
		raw := `{"id":"1","action":"push","target":{"repository":"a","tag":"t"},` + members + `}`
		spaced := "\r\n\t " + strings.NewReplacer(`:{`, " :\n { ", `,"`, " ,\t\"", `]`, "\n]").Replace(raw) + " \n"
		for _, body := range []string{raw, spaced, `{"events":[` + raw + `]}`, `{"n":[1,{"e":"\u00e9"}],"events":[` + spaced + `],"z":0}`} {
			e := decodeOne(t, body)
			if diff := cmp.Diff(raw, string(e.AppendJSON(nil))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", body, diff)
			}
			if e.Size() != len(raw) {
				t.Errorf("Size() = %d, want %d", e.Size(), len(raw))
			}
			if e.Repository != "a" || e.Tag != "t" {
				t.Errorf("fields of %s: %+v", body, e)
			}
		}
	}
}

func TestDecodeEscapedFields(t *testing.T) {
	e := decodeOne(t, `{"\u0069d":"\ud83d\ude00\ud800","action":"pu\u0073h","tar\u0067et":{"repository":"a\/b","tag":"\u0074"},"actor":{"name":"\"q\" é"}}`)
	want := []string{"😀\ufffd", "push", "a/b", "t", `"q" é`}
	if diff := cmp.Diff(want, []string{e.ID, e.Action, e.Repository, e.Tag, e.Actor}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeRepeatedMembers(t *testing.T) {
	e := decodeOne(t, `{"id":"1","id":"2","action":"push","target":5,"target":{"repository":"a","repository":"b","tag":"x"},`+
		`"actor":{"name":"alice"},"actor":null,"request":{"method":"PUT"},"request":{}}`)
	if e.ID != "2" || e.Repository != "b" || e.Tag != "x" || e.Actor != "" || e.Method != "" {
		t.Errorf("got %+v, want the last of each", e)
	}
}

func TestDecodeGitLab(t *testing.T) {
	got := notifications.Decode([]byte(gitlabRename), nil)
	if len(got.Events) != 1 || got.Redacted != 1 {
		t.Fatalf("%d events, %d redacted, bad: %+v", len(got.Events), got.Redacted, got.Bad)
	}
	e := got.Events[0]
	if e.Action != "rename" || e.Repository != "acme/team-a/api" || e.Actor != "alice" {
		t.Errorf("fields %+v", e)
	}
	want := strings.Replace(compact(gitlabRename), `,"user":"eyJhbGciOiJSUzI1NiJ9.eyJ1c2VyIjoiYWxpY2UifQ.c2ln"`, "", 1)
	if diff := cmp.Diff(want, string(notifications.AppendEnvelope(nil, got.Events))); diff != "" {
		t.Errorf("wire form (-want +got):\n%s", diff)
	}
}

func TestDecodeRedacts(t *testing.T) {
	const secret = "eyJ0b2tlbiJ9"
	event := func(rest string) string { return `{"id":"1","action":"push","target":{"repository":"a"},` + rest + `}` }
	tests := []struct {
		name, in, want string
		redacted       int
	}{
		{"alone", event(`"actor":{"user":"` + secret + `"}`), event(`"actor":{}`), 1},
		{"first", event(`"actor": { "user" : "` + secret + `" , "name":"x"}`), event(`"actor":{"name":"x"}`), 1},
		{"between", event(`"actor":{"name":"x" ,"user":"` + secret + `", "n":1}`), event(`"actor":{"name":"x","n":1}`), 1},
		{"last", event(`"actor":{"name":"x", "user":"` + secret + `" }`), event(`"actor":{"name":"x"}`), 1},
		{"twice", event(`"actor":{"user":"` + secret + `","user":"` + secret + `"}`), event(`"actor":{}`), 2},
		{"around", event(`"actor":{"user":"` + secret + `","name":"x","user":"` + secret + `"}`), event(`"actor":{"name":"x"}`), 2},
		{"by escape", event(`"\u0061ctor":{"us\u0065r":"` + secret + `"}`), event(`"\u0061ctor":{}`), 1},
		{"in a repeated actor", event(`"actor":{"user":"` + secret + `"},"actor":{"user":"` + secret + `","name":"x"}`), event(`"actor":{},"actor":{"name":"x"}`), 2},
		{"of another shape", event(`"actor":{"user":{"jwt":["` + secret + `"]}}`), event(`"actor":{}`), 1},
		{"elsewhere", event(`"user":"u","meta":{"actor":{"user":"v"}}`), event(`"user":"u","meta":{"actor":{"user":"v"}}`), 0},
		{"not an object", event(`"actor":null`), event(`"actor":null`), 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got := notifications.Decode([]byte(tc.in), nil)
			if len(got.Events) != 1 {
				t.Fatalf("bad: %+v", got.Bad)
			}
			if diff := cmp.Diff(tc.want, string(got.Events[0].AppendJSON(nil))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Redacted != tc.redacted {
				t.Errorf("redacted %d, want %d", got.Redacted, tc.redacted)
			}
		})
	}
}

// TestDecodeRedactsQuarantined looks for a token in whatever of a body is kept: cut at
// every byte, and cut by the bound on what is kept.
func TestDecodeRedactsQuarantined(t *testing.T) {
	const secret = `eyJhbGciOiJSUzI1NiJ9.eyJ1c2VyIjoiYWxpY2UifQ.c2ln`
	for n := range len(gitlabRename) {
		for _, bad := range notifications.Decode([]byte(gitlabRename[:n]), nil).Bad {
			if bytes.Contains(bad.Body, []byte("eyJ")) {
				t.Fatalf("cut at %d: %s", n, bad.Body)
			}
		}
	}
	body := `{"actor":{"x":"` + strings.Repeat("x", notifications.MaxQuarantinedBody-40) + `", "user" : "` + secret + `"}}`
	got := notifications.Decode([]byte(body), nil)
	if len(got.Bad) != 1 || got.Redacted != 1 || bytes.Contains(got.Bad[0].Body, []byte("eyJ")) {
		t.Errorf("%d bad, %d redacted, body ends in %s", len(got.Bad), got.Redacted, got.Bad[0].Body[len(got.Bad[0].Body)-60:])
	}
	if got.Bad[0].Size != len(body) {
		t.Errorf("size %d, want %d", got.Bad[0].Size, len(body))
	}
	const incomplete = `{"events":[{"actor":{"user":"a\"b","useragent":"c"}},{"user":""}]}`
	got = notifications.Decode([]byte(incomplete), nil)
	if len(got.Bad) != 2 || got.Redacted != 1 || string(got.Bad[0].Body) != `{"actor":{"useragent":"c"}}` {
		t.Errorf("%d redacted of %+v", got.Redacted, got.Bad)
	}
}

// TestDecodeTruncated accepts nothing of a body that ends early.
func TestDecodeTruncated(t *testing.T) {
	for n := range len(indented) {
		got := notifications.Decode([]byte(indented[:n]), nil)
		if len(got.Events) != 0 || len(got.Bad) != 1 || got.Bad[0].Reason != notifications.ReasonSyntax {
			t.Fatalf("cut at %d: %d events, bad: %+v", n, len(got.Events), got.Bad)
		}
		if _, err := notifications.ParseEvent(indented[:n]); err == nil {
			t.Fatalf("ParseEvent took what was cut at %d", n)
		}
	}
}

func TestDecodeLimits(t *testing.T) {
	event := func(i int) string {
		return fmt.Sprintf(`{"id":"%d","action":"push","target":{"repository":"a"}}`, i)
	}
	var events []string
	for i := range 5 {
		events = append(events, event(i))
	}
	body := []byte(`{"events":[` + strings.Join(events, ",") + `]}`)

	if got := notifications.Decode(body, &notifications.DecodeOptions{MaxEvents: 5}); len(got.Events) != 5 {
		t.Errorf("at the limit: %d events", len(got.Events))
	}
	got := notifications.Decode(body, &notifications.DecodeOptions{MaxEvents: 4})
	if len(got.Events) != 0 || len(got.Bad) != 1 || got.Bad[0].Reason != notifications.ReasonTooMany || !bytes.Equal(got.Bad[0].Body, body) {
		t.Errorf("over the limit: %d events, bad: %+v", len(got.Events), got.Bad)
	}
	size := len(event(0))
	if got := notifications.Decode(body, &notifications.DecodeOptions{MaxEventBytes: size}); len(got.Events) != 5 {
		t.Errorf("at the limit of size: %+v", got.Bad)
	}
	got = notifications.Decode(body, &notifications.DecodeOptions{MaxEventBytes: size - 1})
	if len(got.Events) != 0 || len(got.Bad) != 5 || got.Bad[4].Reason != notifications.ReasonTooLarge || string(got.Bad[4].Body) != event(4) {
		t.Errorf("over the limit of size: %d events, bad: %+v", len(got.Events), got.Bad)
	}
	million := []byte(`{"events":[` + strings.Repeat(`{},`, 1_000_000) + `{}]}`)
	got = notifications.Decode(million, nil)
	if len(got.Bad) != 1 || got.Bad[0].Reason != notifications.ReasonTooMany || len(got.Bad[0].Body) != notifications.MaxQuarantinedBody {
		t.Errorf("a million events: %d bad", len(got.Bad))
	}
}

// TestDecodeKeepsNothing changes the body afterwards.
func TestDecodeKeepsNothing(t *testing.T) {
	body := []byte(`{"events":[` + compact(indented)[len(`{"events":[`):len(compact(indented))-2] + `,{"id":"2"}]}`)
	got := notifications.Decode(body, nil)
	event, bad := string(got.Events[0].AppendJSON(nil)), string(got.Bad[0].Body)
	for i := range body {
		body[i] = 'X'
	}
	if now := string(got.Events[0].AppendJSON(nil)); now != event || got.Events[0].Repository != "team/app" {
		t.Errorf("the event changed with the body: %s", now)
	}
	if now := string(got.Bad[0].Body); now != bad {
		t.Errorf("what is quarantined changed with the body: %s", now)
	}
}

func TestDecodeMakesID(t *testing.T) {
	const rest = `"action":"push","target":{"repository":"a"}}`
	absent := decodeOne(t, `{`+rest)
	again := decodeOne(t, `{"events":[ { `+rest+` ]}`)
	id, err := uuid.Parse(absent.ID)
	if err != nil || id.Version() != 8 || id.Variant() != uuid.RFC4122 {
		t.Errorf("id %q is not a UUIDv8 (%v)", absent.ID, err)
	}
	if again.ID != absent.ID {
		t.Errorf("the same content has ids %q and %q", absent.ID, again.ID)
	}
	if want := `{"id":"` + absent.ID + `",` + rest; string(absent.AppendJSON(nil)) != want {
		t.Errorf("wire form %s, want %s", absent.AppendJSON(nil), want)
	}
	if other := decodeOne(t, `{"x":1,`+rest); other.ID == absent.ID {
		t.Error("other content has the same id")
	}
	for _, spelled := range []string{`null`, `""`} {
		e := decodeOne(t, `{"x":1,"id": `+spelled+`,`+rest)
		if want := `{"x":1,"id":"` + e.ID + `",` + rest; e.ID == "" || string(e.AppendJSON(nil)) != want {
			t.Errorf("id %s: wire form %s, want %s", spelled, e.AppendJSON(nil), want)
		}
	}
}

func TestDetailsOfOddEvents(t *testing.T) {
	e := decodeOne(t, `{"id":"1","action":"push","target":{"repository":"a","Repository":"b","size":"five"},"source":{"addr":"n:1"}}`)
	d, err := e.Details()
	if err == nil || !strings.Contains(err.Error(), `event "1"`) {
		t.Errorf("error %v, want one that names the event", err)
	}
	if d.Target.Repository != "a" || d.Source.Addr != "n:1" {
		t.Errorf("details %+v, want what could be decoded", d)
	}
}

func TestParseEvent(t *testing.T) {
	for _, raw := range []string{``, `{}`, `[]`, `{"events":[]}`, `{"action":"push","target":{"repository":"a"}} x`} {
		if e, err := notifications.ParseEvent(raw); err == nil {
			t.Errorf("ParseEvent(%s) = %+v, want an error", raw, e)
		} else if !strings.HasPrefix(err.Error(), "parse event: ") {
			t.Errorf("error %q", err)
		}
	}
	raw := string(decodeOne(t, indented).AppendJSON(nil))
	if n := testing.AllocsPerRun(100, func() { _, _ = notifications.ParseEvent(raw) }); n > 1 {
		t.Errorf("%v allocations, want one", n)
	}
}

func TestEventInJSON(t *testing.T) {
	in := `[` + string(decodeOne(t, indented).AppendJSON(nil)) + `]`
	var list []*notifications.Event
	if err := json.Unmarshal([]byte(in), &list); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != in {
		t.Errorf("got %s, want %s", out, in)
	}
	if err := json.Unmarshal([]byte(`[{}]`), &list); err == nil {
		t.Error("an event without anything was taken")
	}
}

// A token must not survive because its key is spelled with escapes, whatever is wrong
// with what it came in.
func TestDecodeRedactsEscapedKeys(t *testing.T) {
	const token = "glpat-secret"
	for _, key := range []string{`user`, `\u0075ser`, `u\u0073\u0065r`, `\u0075\u0073\u0065\u0072`} {
		actor := `"actor":{"name":"a","` + key + `" : "` + token + `"}`
		for name, body := range map[string]string{
			"incomplete":        `{"events":[{` + actor + `}]}`,
			"a bad name":        `{"events":[{"action":"push","target":{"repository":"/"},` + actor + `}]}`,
			"an object of it":   `{"events":[{"actor":{"` + key + `":{"token":"` + token + `"}}}]}`,
			"not an object":     `{"events":[[{` + actor + `}]]}`,
			"not at its place":  `{"events":[{"x":{` + actor + `}}]}`,
			"not JSON":          `{"events":[{` + actor + `,}]}`,
			"cut in the middle": `{"events":[{` + actor[:len(actor)-4],
			"neither":           `{` + actor + `}`,
		} {
			got := notifications.Decode([]byte(body), nil)
			if len(got.Bad) != 1 || got.Redacted != 1 {
				t.Fatalf("%s of %s: %d bad, %d redacted", name, key, len(got.Bad), got.Redacted)
			}
			if strings.Contains(string(got.Bad[0].Body), token[:8]) {
				t.Errorf("%s of %s: kept %s", name, key, got.Bad[0].Body)
			}
		}
	}
}

// What has no credential is kept as it came, so that it can be tried again.
func TestDecodeKeepsQuarantinedAsItCame(t *testing.T) {
	const text = `{ "action" : "push", "u" : "us\u0065", "users" : ["user"] }`
	got := notifications.Decode([]byte(`{"events":[`+text+`]}`), nil)
	if len(got.Bad) != 1 || string(got.Bad[0].Body) != text || got.Bad[0].Size != len(text) {
		t.Errorf("got %+v", got.Bad)
	}
}
