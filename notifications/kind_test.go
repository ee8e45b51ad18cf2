package notifications_test

import (
	"testing"

	"github.com/regcast/regcast/notifications"
)

func TestKind(t *testing.T) {
	const (
		manifest   = notifications.KindManifest
		blob       = notifications.KindBlob
		tag        = notifications.KindTag
		repository = notifications.KindRepository
		image      = notifications.KindImage
		oci        = "application/vnd.oci.image.manifest.v1+json"
		octets     = "application/octet-stream"
	)
	tests := []struct {
		name string
		e    notifications.Event
		want notifications.Kind
	}{
		{"manifest push by tag", notifications.Event{Action: "push", MediaType: oci, Tag: "t", Digest: dgst}, manifest | image},
		{"manifest push by digest", notifications.Event{Action: "push", MediaType: oci, Digest: dgst}, manifest},
		{"manifest of an unknown type by tag", notifications.Event{Action: "push", MediaType: "application/x", Tag: "t", Digest: dgst}, manifest | image},
		{"manifest with a parameter", notifications.Event{Action: "push", MediaType: oci + " ; charset=utf-8", Digest: dgst}, manifest},
		{"index pull", notifications.Event{Action: "pull", MediaType: "application/vnd.oci.image.index.v1+json", Digest: dgst}, manifest},
		{"list pull", notifications.Event{Action: "pull", MediaType: "application/vnd.docker.distribution.manifest.list.v2+json", Digest: dgst}, manifest},
		{"pull without a type", notifications.Event{Action: "pull", Digest: dgst}, manifest | blob},
		{"pull without anything", notifications.Event{Action: "pull"}, manifest | blob},
		{"blob push", notifications.Event{Action: "push", MediaType: octets, Digest: dgst}, blob},
		{"mount", notifications.Event{Action: "mount", MediaType: octets, Digest: dgst}, blob},
		{"delete by digest", notifications.Event{Action: "delete", Digest: dgst}, manifest | blob},
		{"delete of a manifest by digest", notifications.Event{Action: "delete", MediaType: oci, Digest: dgst}, manifest},
		{"delete of a blob", notifications.Event{Action: "delete", MediaType: octets, Digest: dgst}, blob},
		{"tag delete", notifications.Event{Action: "delete", Tag: "t"}, tag | image},
		{"delete of tag and manifest", notifications.Event{Action: "delete", Tag: "t", Digest: dgst}, tag | manifest | image},
		{"repository delete", notifications.Event{Action: "delete"}, repository},
		{"rename", notifications.Event{Action: "rename"}, repository},
		{"unknown action on a blob", notifications.Event{Action: "scan", MediaType: octets, Digest: dgst}, blob},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.e.Kind(); got != tc.want {
				t.Errorf("Kind() = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestParseKind(t *testing.T) {
	for _, k := range []notifications.Kind{
		notifications.KindManifest, notifications.KindBlob, notifications.KindTag,
		notifications.KindRepository, notifications.KindImage,
	} {
		if got, err := notifications.ParseKind(k.String()); err != nil || got != k {
			t.Errorf("ParseKind(%q) = %v, %v", k, got, err)
		}
	}
	for _, name := range []string{"", "images", "Image", "manifest|blob"} {
		if got, err := notifications.ParseKind(name); err == nil {
			t.Errorf("ParseKind(%q) = %v, want an error", name, got)
		}
	}
}
