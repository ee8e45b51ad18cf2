package trial

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
)

// sampleRepositories is over how many repositories samples are spread.
const sampleRepositories = 10

// Samples makes n events: pushes of images, each with its own id, tag and digest.
func Samples(n int) iter.Seq2[*notifications.Event, error] {
	return func(yield func(*notifications.Event, error) bool) {
		for i := range n {
			if !yield(sample(i), nil) {
				return
			}
		}
	}
}

func sample(i int) *notifications.Event {
	const host = "registry.example:5000"
	repository := fmt.Sprintf("sample/app-%d", i%sampleRepositories)
	dgst := digest.FromString(fmt.Sprintf("sample manifest %d", i))
	return notifications.NewEvent(notifications.ActionPush, notifications.Details{
		Target: notifications.Target{
			Descriptor: v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: dgst, Size: 1234},
			Length:     1234,
			Repository: repository,
			URL:        "https://" + host + "/v2/" + repository + "/manifests/" + dgst.String(),
			Tag:        fmt.Sprintf("v%d", i),
		},
		Request: notifications.RequestRecord{
			ID: fmt.Sprintf("sample-request-%d", i), Addr: "192.0.2.7:51234", Host: host,
			Method: http.MethodPut, UserAgent: "regcast send",
		},
		Actor:  notifications.ActorRecord{Name: "sample"},
		Source: notifications.SourceRecord{Addr: host, InstanceID: "sample"},
	})
}

// Read reads events from r: envelopes and single event objects, one after the other,
// laid out as they like, so that a file of JSON lines will do and an envelope as a
// registry sends it. The first thing that is no event ends it with an error that says
// at which byte.
func Read(r io.Reader) iter.Seq2[*notifications.Event, error] {
	return func(yield func(*notifications.Event, error) bool) {
		values := json.NewDecoder(r)
		for {
			start := values.InputOffset()
			var value json.RawMessage
			if err := values.Decode(&value); err == io.EOF {
				return
			} else if err != nil {
				yield(nil, fmt.Errorf("reading events after byte %d: %w", start, err))
				return
			}
			found := notifications.Decode(value, &notifications.DecodeOptions{MaxEvents: len(value), MaxEventBytes: len(value)})
			for _, e := range found.Events {
				if !yield(e, nil) {
					return
				}
			}
			if len(found.Bad) > 0 {
				bad := found.Bad[0]
				yield(nil, fmt.Errorf("no event after byte %d: %s: %s", start, bad.Reason, bad.Detail))
				return
			}
		}
	}
}
