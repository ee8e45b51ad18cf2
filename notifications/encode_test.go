package notifications_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	dist "github.com/distribution/distribution/v3/notifications"
	events "github.com/docker/go-events"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
)

const dgst = digest.Digest("sha256:2de4cd7597d68ce0f781fa52123b9a4f29c72dca91da5d5f40215258ca9bbcdb")

// targets has every shape of a target that a registry sends, and some that it could.
func targets() map[string]notifications.Target {
	manifest := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: dgst, Size: 1234}
	blob := v1.Descriptor{MediaType: "application/octet-stream", Digest: dgst, Size: 5}
	references := []v1.Descriptor{
		{MediaType: v1.MediaTypeImageConfig, Digest: dgst, Size: 7},
		{MediaType: v1.MediaTypeImageLayer, Digest: dgst, Size: 0, URLs: []string{"https://a.example/?x=1&y=2"}},
		{
			MediaType: v1.MediaTypeImageManifest, Digest: dgst, Size: 9, ArtifactType: "application/x", Data: []byte("{}"),
			Annotations: map[string]string{"b": "<2>", "a": "1"},
			Platform:    &v1.Platform{Architecture: "arm", OS: "linux", Variant: "v7", OSVersion: "1", OSFeatures: []string{"f"}},
		},
	}
	url := "https://registry.local:5000/v2/team/app/manifests/" + dgst.String()
	full := references[2]
	return map[string]notifications.Target{
		"manifest by tag":    {Descriptor: manifest, Length: 1234, Repository: "team/app", URL: url, Tag: "1.4"},
		"manifest by digest": {Descriptor: manifest, Length: 1234, Repository: "team/app", URL: url},
		"references":         {Descriptor: manifest, Length: 1234, Repository: "team/app", URL: url, References: references},
		"manifest delete":    {Descriptor: v1.Descriptor{Digest: dgst}, Repository: "team/app"},
		"blob":               {Descriptor: blob, Length: 5, Repository: "team/app", URL: url},
		"blob of no bytes":   {Descriptor: v1.Descriptor{MediaType: "application/octet-stream", Digest: dgst}, Repository: "team/app", URL: url},
		"mount":              {Descriptor: blob, Length: 5, Repository: "team/app", FromRepository: "base/os", URL: url},
		"tag delete":         {Repository: "team/app", Tag: "1.4"},
		"repository delete":  {Repository: "team/app"},
		"everything":         {Descriptor: full, Length: 9, Repository: "a", FromRepository: "b", URL: url, Tag: "t", References: references},
		"nothing":            {},
	}
}

func records() map[string]notifications.Details {
	return map[string]notifications.Details{
		"full": {
			Request: notifications.RequestRecord{ID: "r-1", Addr: "10.0.0.7:51234", Host: "registry.local:5000", Method: "PUT", UserAgent: "skopeo/1.16"},
			Actor:   notifications.ActorRecord{Name: "alice"},
			Source:  notifications.SourceRecord{Addr: "node-3:5000", InstanceID: "i-1"},
		},
		"empty": {},
		"to be escaped": {
			Request: notifications.RequestRecord{UserAgent: "a \"b\" \\ <c> & \u2028 \u2029 \x00\x1f\x7f\b\f\n\r\t é \xff 日本 😀"},
			Actor:   notifications.ActorRecord{Name: "ünal"},
			Source:  notifications.SourceRecord{Addr: "</script>"},
		},
	}
}

// TestEncodeAsDistribution compares the wire form of what is made here with what
// distribution v3 sends of the same records.
func TestEncodeAsDistribution(t *testing.T) {
	times := map[string]time.Time{
		"nanoseconds":     time.Date(2026, 8, 18, 9, 30, 0, 123456789, time.UTC),
		"a trailing zero": time.Date(2026, 8, 18, 9, 30, 0, 120000000, time.UTC),
		"whole":           time.Date(2026, 8, 18, 9, 30, 0, 0, time.UTC),
		"a zone":          time.Date(2026, 8, 18, 9, 30, 0, 1, time.FixedZone("", 2*3600+1800)),
		"zero":            {},
	}
	for name, target := range targets() {
		for recordName, d := range records() {
			for timeName, at := range times {
				t.Run(name+"/"+recordName+"/"+timeName, func(t *testing.T) {
					d.Target = target
					e := notifications.NewEvent(notifications.ActionPush, d)
					e.Timestamp = at

					var peer dist.Event
					peer.ID, peer.Timestamp, peer.Action = e.ID, at, e.Action
					peer.Target.Descriptor = target.Descriptor
					peer.Target.Length = max(target.Length, target.Size)
					peer.Target.Repository, peer.Target.FromRepository = target.Repository, target.FromRepository
					peer.Target.URL, peer.Target.Tag, peer.Target.References = target.URL, target.Tag, target.References
					peer.Request = dist.RequestRecord(d.Request)
					peer.Actor, peer.Source = dist.ActorRecord(d.Actor), dist.SourceRecord(d.Source)

					want, err := json.Marshal(peer)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(string(want), string(e.AppendJSON(nil))); diff != "" {
						t.Errorf("event (-distribution +AppendJSON):\n%s", diff)
					}
					if e.Size() != len(want) {
						t.Errorf("Size() = %d, want %d", e.Size(), len(want))
					}
					want, err = json.MarshalIndent(dist.Envelope{Events: []events.Event{peer, peer}}, "", "   ")
					if err != nil {
						t.Fatal(err)
					}
					got := notifications.IndentEnvelope(nil, notifications.AppendEnvelope(nil, []*notifications.Event{e, e}))
					if diff := cmp.Diff(string(want), string(got)); diff != "" {
						t.Errorf("envelope (-distribution +IndentEnvelope):\n%s", diff)
					}
				})
			}
		}
	}
}

// TestEncodeStrings compares every byte and some runes with encoding/json.
func TestEncodeStrings(t *testing.T) {
	var values []string
	for c := range 256 {
		values = append(values, "x"+string([]byte{byte(c)})+"y")
	}
	values = append(values, "é", "\u2028", "\u2029", "😀", "\ufffd", "\xed\xa0\x80")
	for _, value := range values {
		want, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		e := tagDelete()
		e.ID = value
		if got := e.AppendJSON(nil); !strings.HasPrefix(string(got), `{"id":`+string(want)+`,`) {
			t.Errorf("%q as %s, want %s", value, got[:30], want)
		}
	}
}

func TestEmptyEnvelope(t *testing.T) {
	want, err := json.Marshal(dist.Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	if got := notifications.AppendEnvelope(nil, nil); string(got) != string(want) {
		t.Errorf("AppendEnvelope of nothing = %s, distribution sends %s", got, want)
	}
}

// fixed is an event with nothing left to chance.
func fixed(action string, d notifications.Details) *notifications.Event {
	e := notifications.NewEvent(action, d)
	e.ID = "0198f2a4-7c11-7e5b-9a10-5d2f0b7a9c01"
	e.Timestamp = time.Date(2026, 8, 18, 9, 30, 0, 123456789, time.UTC)
	return e
}

func tagDelete() *notifications.Event {
	return fixed(notifications.ActionDelete, notifications.Details{
		Target: notifications.Target{Repository: "team/app", Tag: "1.4"},
		Request: notifications.RequestRecord{
			ID: "0198f2a4-7c0f-7d20-8d0e-0c5a3b1e77aa", Addr: "10.0.0.7:51234", Host: "registry.local:5000",
			Method: "DELETE", UserAgent: "skopeo/1.16",
		},
		Source: notifications.SourceRecord{Addr: "node-3:5000", InstanceID: "0198f29f-0000-7aaa-8bbb-000000000001"},
	})
}

const tagDeleteV2 = `{
   "events": [
      {
         "id": "0198f2a4-7c11-7e5b-9a10-5d2f0b7a9c01",
         "timestamp": "2026-08-18T09:30:00.123456789Z",
         "action": "delete",
         "target": {
            "mediaType": "",
            "digest": "",
            "size": 0,
            "repository": "team/app",
            "tag": "1.4"
         },
         "request": {
            "id": "0198f2a4-7c0f-7d20-8d0e-0c5a3b1e77aa",
            "addr": "10.0.0.7:51234",
            "host": "registry.local:5000",
            "method": "DELETE",
            "useragent": "skopeo/1.16"
         },
         "actor": {},
         "source": {
            "addr": "node-3:5000",
            "instanceID": "0198f29f-0000-7aaa-8bbb-000000000001"
         }
      }
   ]
}`

func TestGoldenEnvelope(t *testing.T) {
	batch := []*notifications.Event{tagDelete()}
	v2 := notifications.IndentEnvelope(nil, notifications.AppendEnvelope(nil, batch))
	if diff := cmp.Diff(tagDeleteV2, string(v2)); diff != "" {
		t.Errorf("v3 (-want +got):\n%s", diff)
	}
	want := strings.NewReplacer(
		"            \"mediaType\": \"\",\n", "", "            \"digest\": \"\",\n", "", "            \"size\": 0,\n", "",
	).Replace(tagDeleteV2)
	v1 := notifications.IndentEnvelope(nil, notifications.AppendEnvelopeV1(nil, batch))
	if diff := cmp.Diff(want, string(v1)); diff != "" {
		t.Errorf("v2.8 (-want +got):\n%s", diff)
	}
}

// TestEncodeV1 compares the older flavour with golden bytes: of events that were made
// here, in the order of v2.8, and of received ones, in their own.
func TestEncodeV1(t *testing.T) {
	const (
		head = `{"id":"0198f2a4-7c11-7e5b-9a10-5d2f0b7a9c01","timestamp":"2026-08-18T09:30:00.123456789Z","action":"push","target":{`
		tail = `},"request":{"id":"","method":"","useragent":""},"actor":{},"source":{}}`
		hash = string(dgst)
		url  = `"url":"https://registry.local:5000/v2/team/app/manifests/` + hash + `"`
	)
	want := map[string]string{
		"manifest by tag":    `"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1234,"digest":"` + hash + `","length":1234,"repository":"team/app",` + url + `,"tag":"1.4"`,
		"manifest by digest": `"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1234,"digest":"` + hash + `","length":1234,"repository":"team/app",` + url,
		"manifest delete":    `"digest":"` + hash + `","repository":"team/app"`,
		"blob of no bytes":   `"mediaType":"application/octet-stream","digest":"` + hash + `","repository":"team/app",` + url,
		"mount":              `"mediaType":"application/octet-stream","size":5,"digest":"` + hash + `","length":5,"repository":"team/app","fromRepository":"base/os",` + url,
		"repository delete":  `"repository":"team/app"`,
		"nothing":            ``,
		"everything": `"mediaType":"application/vnd.oci.image.manifest.v1+json","size":9,"digest":"` + hash + `",` +
			`"annotations":{"a":"1","b":"\u003c2\u003e"},` +
			`"platform":{"architecture":"arm","os":"linux","os.version":"1","os.features":["f"],"variant":"v7"},` +
			`"length":9,"repository":"a","fromRepository":"b",` + url + `,"tag":"t","references":[` +
			`{"mediaType":"application/vnd.oci.image.config.v1+json","size":7,"digest":"` + hash + `"},` +
			`{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + hash + `","urls":["https://a.example/?x=1\u0026y=2"]},` +
			`{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":9,"digest":"` + hash + `","annotations":{"a":"1","b":"\u003c2\u003e"},` +
			`"platform":{"architecture":"arm","os":"linux","os.version":"1","os.features":["f"],"variant":"v7"}}]`,
	}
	all := targets()
	for name, members := range want {
		t.Run("made/"+name, func(t *testing.T) {
			e := fixed(notifications.ActionPush, notifications.Details{Target: all[name]})
			if diff := cmp.Diff(head+members+tail, string(e.AppendJSONv1(nil))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	received := []struct{ name, in, want string }{
		{"empty members first", `"mediaType":"","digest":"","size":0,"repository":"a"`, `"repository":"a"`},
		{"empty members last", `"repository":"a","mediaType":"","size":0,"digest":""`, `"repository":"a"`},
		{"empty members between", `"x":1e3,"mediaType":"","repository":"a","size":0,"tag":"t"`, `"x":1e3,"repository":"a","tag":"t"`},
		{"blob of no bytes", `"mediaType":"a/b","digest":"` + hash + `","size":0,"repository":"a"`, `"mediaType":"a/b","digest":"` + hash + `","repository":"a"`},
		{"nothing empty", `"mediaType":"a/b","digest":"` + hash + `","size":10,"repository":"a"`, `"mediaType":"a/b","digest":"` + hash + `","size":10,"repository":"a"`},
		{"elsewhere", `"repository":"a","references":[{"mediaType":"","size":0}]`, `"repository":"a","references":[{"mediaType":"","size":0}]`},
		{"null stays", `"repository":"a","digest":null`, `"repository":"a","digest":null`},
	}
	for _, tc := range received {
		t.Run("received/"+tc.name, func(t *testing.T) {
			e, err := notifications.ParseEvent(head + tc.in + tail)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(head+tc.want+tail, string(e.AppendJSONv1(nil))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewEvent(t *testing.T) {
	before := time.Now()
	d := records()["full"]
	d.Target = targets()["manifest by tag"]
	d.Target.Length = 0
	e := notifications.NewEvent(notifications.ActionPush, d)
	if id, err := uuid.Parse(e.ID); err != nil || id.Version() != 7 {
		t.Errorf("id %q is not a UUIDv7 (%v)", e.ID, err)
	}
	if e.Timestamp.Before(before.Truncate(0)) || e.Timestamp.After(time.Now()) || e.Timestamp.Location() != time.UTC {
		t.Errorf("timestamp %v, want now in UTC", e.Timestamp)
	}
	if got, err := e.Details(); err != nil || got.Target.Length != 1234 {
		t.Errorf("length %d (%v), want the size", got.Target.Length, err)
	}
	again, err := notifications.ParseEvent(string(e.AppendJSON(nil)))
	if err != nil {
		t.Fatal(err)
	}
	type fields struct{ ID, Action, Repository, Tag, Digest, MediaType, Actor, Method string }
	of := func(e *notifications.Event) fields {
		return fields{e.ID, e.Action, e.Repository, e.Tag, e.Digest.String(), e.MediaType, e.Actor, e.Method}
	}
	if diff := cmp.Diff(of(e), of(again)); diff != "" || !e.Timestamp.Equal(again.Timestamp) {
		t.Errorf("fields (-made +read):\n%s", diff)
	}
	made, _ := e.Details()
	read, err := again.Details()
	if diff := cmp.Diff(made, read); diff != "" || err != nil {
		t.Errorf("details (-made +read): %v\n%s", err, diff)
	}
}

// TestEventFromFields encodes an event that was written down as its exported fields alone.
func TestEventFromFields(t *testing.T) {
	e := &notifications.Event{ID: "1", Action: notifications.ActionPull, Repository: "a", Tag: "t", Digest: dgst, Actor: "alice", Method: "GET"}
	again, err := notifications.ParseEvent(string(e.AppendJSON(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if again.Repository != "a" || again.Tag != "t" || again.Digest != dgst || again.Actor != "alice" || again.Method != "GET" {
		t.Errorf("got %+v", again)
	}
}
