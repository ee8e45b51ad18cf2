package notifications_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
)

const indented = `{
   "events": [
      {
         "id": "0198f2a4-7c11-7e5b-9a10-5d2f0b7a9c02",
         "timestamp": "2026-08-18T09:30:00.123456789Z",
         "action": "push",
         "target": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": "sha256:2de4cd7597d68ce0f781fa52123b9a4f29c72dca91da5d5f40215258ca9bbcdb",
            "size": 1234,
            "length": 1234,
            "repository": "team/app",
            "url": "https://registry.local:5000/v2/team/app/manifests/sha256:2de4cd7597d68ce0f781fa52123b9a4f29c72dca91da5d5f40215258ca9bbcdb",
            "tag": "1.4"
         },
         "request": {
            "id": "0198f2a4-7c0f-7d20-8d0e-0c5a3b1e77aa",
            "addr": "10.0.0.7:51234",
            "host": "registry.local:5000",
            "method": "PUT",
            "useragent": "skopeo/1.16"
         },
         "actor": {
            "name": "alice"
         },
         "source": {
            "addr": "node-3:5000",
            "instanceID": "0198f29f-0000-7aaa-8bbb-000000000001"
         }
      }
   ]
}`

// gitlabRename is what GitLab's registry sends for a repository that was renamed.
const gitlabRename = `{"events":[{"id":"0b9f4e0e-3d60-4f2b-8f0e-6b1a0f6f0a11","timestamp":"2026-09-01T10:15:30.123456789Z","action":"rename",
 "target":{"repository":"acme/team-a/api","rename":{"type":"name","from":"acme/team-a/api","to":"acme/team-a/api-v2"}},
 "request":{"id":"7d7a4a7e-9f6d-4d0b-8b9c-0d5a2c1e4f33","addr":"10.0.0.7:51234","host":"registry.example.com","method":"PATCH","useragent":"GitLab/17.4.0"},
 "actor":{"name":"alice","user_type":"gitlab_or_ldap","user":"eyJhbGciOiJSUzI1NiJ9.eyJ1c2VyIjoiYWxpY2UifQ.c2ln"},
 "source":{"addr":"registry-0:5000","instanceID":"3c0a5f1e-5d0f-4b0a-93d1-5e3f9c2b7a10"}}]}`

type hostileBody struct {
	name   string
	body   string
	events int                    // that are accepted
	bad    []notifications.Reason // of what is not
}

func hostile() []hostileBody {
	const good = `{"id":"1","action":"push","target":{"repository":"a"}}`
	one := func(reasons ...notifications.Reason) []notifications.Reason { return reasons }
	nested := func(n int) string {
		return `{"id":"1","action":"push","target":{"repository":"a"},"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	with := func(member string) string {
		return `{"id":"1","action":"push","target":{"repository":"a",` + member + `}}`
	}
	return []hostileBody{
		{"empty", "", 0, one(notifications.ReasonSyntax)},
		{"space", " \n", 0, one(notifications.ReasonSyntax)},
		{"garbage", "\x00\x01garbage", 0, one(notifications.ReasonSyntax)},
		{"byte order mark", "\ufeff{}", 0, one(notifications.ReasonSyntax)},
		{"NUL behind", good + "\x00", 0, one(notifications.ReasonSyntax)},
		{"trailing data", good + good, 0, one(notifications.ReasonSyntax)},
		{"trailing comma", `{"events":[` + good + `,]}`, 0, one(notifications.ReasonSyntax)},
		{"number", "1", 0, one(notifications.ReasonSyntax)},
		{"array", "[" + good + "]", 0, one(notifications.ReasonSyntax)},
		{"empty object", "{}", 0, one(notifications.ReasonNoEvents)},
		{"another object", `{"a":1}`, 0, one(notifications.ReasonNoEvents)},
		{"no events", `{"events":[]}`, 0, one(notifications.ReasonNoEvents)},
		{"null events", `{"events":null}`, 0, one(notifications.ReasonNoEvents)},
		{"object for events", `{"events":{}}`, 0, one(notifications.ReasonNoEvents)},
		{"repeated events", `{"events":[{}],"events":[` + good + `]}`, 1, nil},
		{"events by escape", `{"\u0065vents":[` + good + `],"x":{}}`, 1, nil},
		{"bare", good, 1, nil},
		{"bare in space", "\n " + good + "\t", 1, nil},
		{"neighbours", `{"events":[` + good + `,5,{},` + good + `]}`, 2, one(notifications.ReasonSyntax, notifications.ReasonIncomplete)},
		{"not UTF-8 in one", `{"events":[` + good + `,{"id":"` + "\xff" + `"}]}`, 1, one(notifications.ReasonSyntax)},
		{"overlong UTF-8", with("\"tag\":\"\xc0\x80\""), 0, one(notifications.ReasonSyntax)},
		{"encoded surrogate", with("\"x\":\"\xed\xa0\x80\""), 0, one(notifications.ReasonSyntax)},
		{"deep enough", nested(99), 1, nil},
		{"too deep", nested(100), 0, one(notifications.ReasonSyntax)},
		{"too deep beside", `{"events":[` + nested(5000) + `,` + good + `]}`, 1, one(notifications.ReasonSyntax)},
		{"hostile depth", strings.Repeat(`{"a":`, 1_000_000), 0, one(notifications.ReasonSyntax)},
		{"open arrays", strings.Repeat(`[`, 1_000_000), 0, one(notifications.ReasonSyntax)},
		{"huge number", with(`"size":` + strings.Repeat("9", 100_000)), 1, nil},
		{"huge exponent", with(`"size":1e999999999`), 1, nil},
		{"leading zero", with(`"size":01`), 0, one(notifications.ReasonSyntax)},
		{"plus", with(`"size":+1`), 0, one(notifications.ReasonSyntax)},
		{"bare point", with(`"size":1.`), 0, one(notifications.ReasonSyntax)},
		{"infinite", with(`"size":Infinity`), 0, one(notifications.ReasonSyntax)},
		{"bad escape", with(`"tag":"\x41"`), 0, one(notifications.ReasonSyntax)},
		{"short escape", with(`"tag":"\u12"`), 0, one(notifications.ReasonSyntax)},
		{"control character", with("\"tag\":\"a\nb\""), 0, one(notifications.ReasonSyntax)},
		{"single quotes", `{'events':[]}`, 0, one(notifications.ReasonSyntax)},
		{"comment", good + "// no", 0, one(notifications.ReasonSyntax)},
		{"form feed", "\f" + good, 0, one(notifications.ReasonSyntax)},
		{"number for a tag", with(`"tag":5`), 0, one(notifications.ReasonSyntax)},
		{"string for a target", `{"id":"1","action":"push","target":"a"}`, 0, one(notifications.ReasonSyntax)},
		{"null for a target", `{"id":"1","action":"push","target":null}`, 0, one(notifications.ReasonIncomplete)},
		{"repeated target", `{"id":"1","action":"push","target":{"repository":"a"},"target":{"tag":"b"}}`, 0, one(notifications.ReasonIncomplete)},
		{"no action", `{"id":"1","target":{"repository":"a"}}`, 0, one(notifications.ReasonIncomplete)},
		{"another case", `{"id":"1","Action":"push","target":{"repository":"a"}}`, 0, one(notifications.ReasonIncomplete)},
		{"bad repository", `{"id":"1","action":"push","target":{"repository":"A b"}}`, 0, one(notifications.ReasonName)},
		{"path upwards", `{"id":"1","action":"push","target":{"repository":"../etc"}}`, 0, one(notifications.ReasonName)},
		{"long repository", `{"id":"1","action":"push","target":{"repository":"` + strings.Repeat("a", 256) + `"}}`, 0, one(notifications.ReasonName)},
		{"bad tag", with(`"tag":"-x"`), 0, one(notifications.ReasonName)},
		{"longest tag", with(`"tag":"` + strings.Repeat("t", 128) + `"`), 1, nil},
		{"long tag", with(`"tag":"` + strings.Repeat("t", 129) + `"`), 0, one(notifications.ReasonName)},
		{"unprintable tag", with(`"tag":"` + strings.Repeat("\U000e0001", 100) + `"`), 0, one(notifications.ReasonName)},
		{"bad digest", with(`"digest":"sha256:abc"`), 0, one(notifications.ReasonDigest)},
		{"upper-case digest", with(`"digest":"sha256:` + strings.Repeat("A", 64) + `"`), 0, one(notifications.ReasonDigest)},
		{"unknown algorithm", with(`"digest":"blake3:` + strings.Repeat("a", 64) + `"`), 1, nil},
		{"bad time", `{"id":"1","timestamp":"yesterday","action":"push","target":{"repository":"a"}}`, 0, one(notifications.ReasonTimestamp)},
		{"number for a time", `{"id":"1","timestamp":1,"action":"push","target":{"repository":"a"}}`, 0, one(notifications.ReasonSyntax)},
	}
}

func TestDecodeHostile(t *testing.T) {
	for _, tc := range hostile() {
		t.Run(tc.name, func(t *testing.T) {
			from := notifications.Provenance{Format: "distribution", Sender: "test"}
			got := notifications.Decode([]byte(tc.body), &notifications.DecodeOptions{Provenance: from})
			if len(got.Events) != tc.events {
				t.Errorf("%d events, want %d", len(got.Events), tc.events)
			}
			var reasons []notifications.Reason
			for _, bad := range got.Bad {
				reasons = append(reasons, bad.Reason)
				if bad.Detail == "" || len(bad.Detail) > 512 {
					t.Errorf("detail of %d bytes: %q", len(bad.Detail), bad.Detail)
				}
				if len(bad.Body) > notifications.MaxQuarantinedBody || bad.Size < len(bad.Body) {
					t.Errorf("%d bytes kept of %d", len(bad.Body), bad.Size)
				}
				if bad.Provenance != from {
					t.Errorf("provenance %+v", bad.Provenance)
				}
			}
			if diff := cmp.Diff(tc.bad, reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s\n%+v", diff, got.Bad)
			}
			for _, e := range got.Events {
				if e.Provenance != from {
					t.Errorf("provenance %+v", e.Provenance)
				}
			}
		})
	}
}

// soundNames is what the vocabulary's own packages think of names.
func soundNames(repository, tag, dgst string) bool {
	named, err := reference.WithName(repository)
	if err != nil || len(repository) > 255 {
		return false
	}
	if tag != "" {
		if _, err := reference.WithTag(named, tag); err != nil {
			return false
		}
	}
	if dgst == "" {
		return true
	}
	err = digest.Digest(dgst).Validate()
	return err == nil || errors.Is(err, digest.ErrDigestUnsupported)
}
