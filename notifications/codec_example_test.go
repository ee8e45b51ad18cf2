package notifications_test

import (
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
)

func ExampleNewEvent() {
	e := notifications.NewEvent(notifications.ActionPush, notifications.Details{
		Target: notifications.Target{
			Descriptor: v1.Descriptor{
				MediaType: v1.MediaTypeImageManifest,
				Digest:    "sha256:2de4cd7597d68ce0f781fa52123b9a4f29c72dca91da5d5f40215258ca9bbcdb",
				Size:      1234,
			},
			Repository: "team/app",
			Tag:        "1.4",
		},
		Actor: notifications.ActorRecord{Name: "alice"},
	})
	fmt.Println(e.Action, e.Repository, e.Tag, e.Kind(), e.Kind().Has(notifications.KindImage))
	// Output: push team/app 1.4 manifest|image true
}

func ExampleDecode() {
	body := []byte(`{
   "events": [
      {"id": "1", "action": "push", "target": {"repository": "team/app", "tag": "1.4", "stars": 1e3}},
      {"id": "2", "action": "push", "target": {"repository": "no such name"}}
   ]
}`)
	decoded := notifications.Decode(body, nil)
	for _, e := range decoded.Events {
		fmt.Printf("%s\n", e.AppendJSON(nil))
	}
	for _, bad := range decoded.Bad {
		fmt.Println(bad.Reason, bad.Detail)
	}
	// Output:
	// {"id":"1","action":"push","target":{"repository":"team/app","tag":"1.4","stars":1e3}}
	// name not a repository name: "no such name"
}

func ExampleParseEvent() {
	e, err := notifications.ParseEvent(`{"id":"1","action":"pull","target":{"repository":"team/app"},"source":{"addr":"node-3:5000"}}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := e.Details()
	fmt.Println(e.Action, e.Repository, d.Source.Addr, err)
	// Output: pull team/app node-3:5000 <nil>
}

func ExampleRestoreEvent() {
	stored := notifications.NewEvent(notifications.ActionPush, notifications.Details{
		Target: notifications.Target{Repository: "team/app", Tag: "not a tag"},
	}).AppendJSON(nil)

	_, err := notifications.ParseEvent(string(stored))
	fmt.Println(err)
	e, err := notifications.RestoreEvent(string(stored))
	fmt.Println(e.Repository, e.Tag, err)
	// Output:
	// parse event: not a tag: "not a tag"
	// team/app not a tag <nil>
}

func ExampleIndentEnvelope() {
	e := &notifications.Event{ID: "1", Action: notifications.ActionDelete, Repository: "team/app", Tag: "1.4"}
	envelope := notifications.AppendEnvelopeV1(nil, []*notifications.Event{e})
	fmt.Printf("%s\n", notifications.IndentEnvelope(nil, envelope))
	// Output:
	// {
	//    "events": [
	//       {
	//          "id": "1",
	//          "timestamp": "0001-01-01T00:00:00Z",
	//          "action": "delete",
	//          "target": {
	//             "repository": "team/app",
	//             "tag": "1.4"
	//          },
	//          "request": {
	//             "id": "",
	//             "method": "",
	//             "useragent": ""
	//          },
	//          "actor": {},
	//          "source": {}
	//       }
	//    ]
	// }
}
