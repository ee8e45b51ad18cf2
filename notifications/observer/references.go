package observer

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/internal/names"
)

// maxListed bounds the references that are read of one manifest. One with more of them is
// passed on unread: what it takes to keep them grows with their number, however few bytes
// each has.
const maxListed = 4096

// errTooMany says that a manifest has more references than are read.
var errTooMany = errors.New("more references than are read")

// fields are the members of a manifest's JSON that matter here.
type fields struct {
	MediaType string         `json:"mediaType"`
	Config    *v1.Descriptor `json:"config"`
	Layers    list           `json:"layers"`
	Blobs     list           `json:"blobs"` // of an artifact manifest
	Manifests list           `json:"manifests"`
	Subject   subjectDigest  `json:"subject"`
}

// A subjectDigest is that of a descriptor, "" of what is none.
type subjectDigest digest.Digest

// UnmarshalJSON implements [json.Unmarshaler]. A subject that cannot be read leaves the
// rest of the manifest what it is: the error is nil.
func (s *subjectDigest) UnmarshalJSON(value []byte) error {
	var descriptor struct {
		Digest string `json:"digest"`
	}
	*s = ""
	if json.Unmarshal(value, &descriptor) == nil && names.IsDigest(descriptor.Digest) {
		*s = subjectDigest(descriptor.Digest)
	}
	return nil
}

// readFields reads a manifest's JSON: the whole of its descriptors, or only what they
// describe. The error is errTooMany, with the media type in the fields, or that the JSON
// is none of a manifest.
func readFields(payload []byte, whole bool) (*fields, error) {
	left := maxListed
	l := list{left: &left, whole: whole}
	f := &fields{Layers: l, Blobs: l, Manifests: l}
	err := json.Unmarshal(payload, f)
	return f, err
}

// A list reads an array of descriptors one by one.
type list struct {
	descriptors []v1.Descriptor
	whole       bool
	left        *int // that may still be read of the manifest, given back by nobody
}

// UnmarshalJSON implements [json.Unmarshaler].
func (l *list) UnmarshalJSON(array []byte) error {
	d := json.NewDecoder(bytes.NewReader(array))
	l.descriptors = nil // of a member that is there twice, the last one counts
	switch t, err := d.Token(); {
	case err != nil:
		return err
	case t == nil:
		return nil
	case t != json.Delim('['):
		return errors.New("not an array")
	}
	for d.More() {
		if *l.left--; *l.left < 0 {
			l.descriptors = nil
			return errTooMany
		}
		desc, err := l.next(d)
		if err != nil {
			return err
		}
		l.descriptors = append(l.descriptors, desc)
	}
	return nil
}

// next reads a descriptor.
func (l *list) next(d *json.Decoder) (desc v1.Descriptor, err error) {
	if l.whole {
		err = d.Decode(&desc)
		return desc, err
	}
	var short struct { // the rest of it is skipped
		MediaType string        `json:"mediaType"`
		Digest    digest.Digest `json:"digest"`
		Size      int64         `json:"size"`
	}
	err = d.Decode(&short)
	return v1.Descriptor{MediaType: short.MediaType, Digest: short.Digest, Size: short.Size}, err
}

// references returns what a manifest of a media type refers to, nothing if one of them is
// no descriptor.
func (f *fields) references(mediaType string) []v1.Descriptor {
	var all []v1.Descriptor
	switch mediaType {
	case v1.MediaTypeImageIndex, mediaTypeDockerList:
		all = f.Manifests.descriptors
	default:
		var config []v1.Descriptor
		if f.Config != nil {
			config = []v1.Descriptor{*f.Config}
		}
		all = slices.Concat(config, f.Layers.descriptors, f.Blobs.descriptors)
	}
	for _, d := range all {
		if !names.IsDigest(d.Digest.String()) || d.Size < 0 {
			return nil
		}
	}
	return all
}
