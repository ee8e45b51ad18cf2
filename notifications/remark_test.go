package notifications_test

import (
	"context"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

func TestRemarkSurvivesTheWire(t *testing.T) {
	for name, made := range map[string]func() *notifications.Event{
		"manifest deleted": func() *notifications.Event {
			d := notifications.Details{Target: notifications.Target{Repository: "team/app"}}
			d.Target.Digest = digest.FromString("m")
			d.Remark.Kind = "manifest"
			return notifications.NewEvent(notifications.ActionDelete, d)
		},
		"inferred": func() *notifications.Event {
			d := notifications.Details{Target: notifications.Target{Repository: "team/app", Tag: "v1"}}
			d.Remark.Origin = notifications.OriginInferred
			return notifications.NewEvent(notifications.ActionDelete, d)
		},
		"backfilled": func() *notifications.Event {
			d := notifications.Details{Target: notifications.Target{Repository: "team/app", Tag: "v1"}}
			d.Remark.Origin, d.Remark.Audience = notifications.OriginBackfill, "audit"
			return notifications.NewEvent(notifications.ActionPush, d)
		},
		"all that can be said": func() *notifications.Event {
			d := notifications.Details{Target: notifications.Target{Repository: "team/app"}}
			d.Target.Digest = digest.FromString("m")
			d.Remark = everyRemark()
			return notifications.NewEvent(notifications.ActionPull, d)
		},
		"no remark": func() *notifications.Event {
			return notifications.NewEvent(notifications.ActionDelete, notifications.Details{Target: notifications.Target{Repository: "team/app"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := made()
			wire := string(e.AppendJSON(nil))
			back, err := notifications.ParseEvent(wire)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := e.Details()
			got, err := back.Details()
			if err != nil || got.Remark != want.Remark || back.Origin != e.Origin || back.Kind() != e.Kind() {
				t.Errorf("%s came back as %+v, origin %q, kind %v (%v)", wire, got.Remark, back.Origin, back.Kind(), err)
			}
		})
	}
}

// everyRemark has all members.
func everyRemark() notifications.Remark {
	return notifications.Remark{
		Kind: "manifest", Origin: notifications.OriginInferred, Audience: "audit", Subject: digest.FromString("s"),
		SizeUnknown: true, Redirected: true, Aborted: true, Sent: 7, ActorVerified: true,
	}
}

// The names and the order of a remark's members are part of the wire form, and what is not
// said is left out.
func TestRemarkOnTheWire(t *testing.T) {
	every := everyRemark()
	for want, r := range map[string]notifications.Remark{
		"": {},
		`,"regcast":{"kind":"manifest","origin":"inferred","audience":"audit","subject":"` + every.Subject.String() +
			`","sizeUnknown":true,"redirected":true,"aborted":true,"sent":7,"actorVerified":true}`: every,
		`,"regcast":{"sizeUnknown":true}`:             {SizeUnknown: true},
		`,"regcast":{"redirected":true}`:              {Redirected: true},
		`,"regcast":{"aborted":true}`:                 {Aborted: true},
		`,"regcast":{"aborted":true,"sent":1}`:        {Aborted: true, Sent: 1},
		`,"regcast":{"actorVerified":true}`:           {ActorVerified: true},
		`,"regcast":{"subject":"` + "sha256:x" + `"}`: {Subject: "sha256:x"},
	} {
		e := notifications.NewEvent(notifications.ActionPull, notifications.Details{Remark: r})
		for _, wire := range []string{string(e.AppendJSON(nil)), string(e.AppendJSONv1(nil))} {
			if _, got, _ := strings.Cut(wire, `"source":{}`); got != want+"}" {
				t.Errorf("%+v is sent as %s, want %s", r, got, want)
			}
		}
	}
}

// What a bridge is told beside an operation, and what it finds itself.
func TestRemarksOfABridge(t *testing.T) {
	subject, another := digest.FromString("s"), digest.FromString("t")
	belonging := func(payload string) notifications.Manifest {
		return &manifest{mediaType: v1.MediaTypeImageManifest, payload: payload}
	}
	sound := belonging(`{"schemaVersion":2,"subject":{"mediaType":"a/b","size":1,"digest":"` + subject.String() + `"}}`)
	blob := v1.Descriptor{Digest: digest.FromString("b")}
	unknown := blob
	unknown.Size = -1
	repo := named(t, "team/app")
	for name, tc := range map[string]struct {
		remark notifications.Remark
		do     operation
		want   notifications.Remark
	}{
		"nothing": {notifications.Remark{}, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobPulled(ctx, repo, blob)
		}, notifications.Remark{}},
		"a blob of unknown size": {notifications.Remark{}, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobPushed(ctx, repo, unknown)
		}, notifications.Remark{SizeUnknown: true}},
		"a mount of unknown size": {notifications.Remark{}, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobMounted(ctx, repo, unknown, repo)
		}, notifications.Remark{SizeUnknown: true}},
		"a described manifest of unknown size": {notifications.Remark{Redirected: true}, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPulled(ctx, repo, described{desc: v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: blob.Digest, Size: -1}}, "v1")
		}, notifications.Remark{SizeUnknown: true, Redirected: true}},
		"what the bridge knows better": {notifications.Remark{Kind: "manifest", SizeUnknown: true, Aborted: true}, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobPulled(ctx, repo, blob)
		}, notifications.Remark{Aborted: true}},
		"a kind beside it": {notifications.Remark{ActorVerified: true, Origin: notifications.OriginInferred}, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobDeleted(ctx, repo, blob.Digest)
		}, notifications.Remark{Kind: "blob", ActorVerified: true, Origin: notifications.OriginInferred}},
		"the push of a manifest with a subject": {notifications.Remark{}, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPushed(ctx, repo, sound, "v1")
		}, notifications.Remark{Subject: subject}},
		"its pull": {notifications.Remark{}, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPulled(ctx, repo, sound, "v1")
		}, notifications.Remark{}},
		"a subject of which the registry has another": {notifications.Remark{Subject: another}, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPushed(ctx, repo, sound, "v1")
		}, notifications.Remark{Subject: another}},
		"a subject that is none": {notifications.Remark{}, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPushed(ctx, repo, belonging(`{"subject":{"digest":"sha256:short"}}`), "v1")
		}, notifications.Remark{}},
		"a subject that is no descriptor": {notifications.Remark{}, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPushed(ctx, repo, belonging(`{"subject":"`+subject.String()+`"}`), "v1")
		}, notifications.Remark{}},
	} {
		t.Run(name, func(t *testing.T) {
			var rec notificationstest.Recorder
			b := notifications.NewBridge(&rec, testSource, nil).WithRemark(tc.remark)
			if err := tc.do(t.Context(), b.For(testActor, testRequest)); err != nil {
				t.Fatal(err)
			}
			d, err := rec.Events()[0].Details()
			if err != nil || d.Remark != tc.want {
				t.Errorf("remark %+v, want %+v (%v)", d.Remark, tc.want, err)
			}
			if d.Remark.SizeUnknown && (d.Target.Size != 0 || d.Target.Length != 0) {
				t.Errorf("size %d, length %d", d.Target.Size, d.Target.Length)
			}
		})
	}
}

// What others put under our name is no reason to refuse their event.
func TestStrangeRemarks(t *testing.T) {
	for _, remark := range []string{`null`, `7`, `"x"`, `[]`, `{"kind":7,"origin":{}}`, `{"kind":"weird"}`} {
		e, err := notifications.ParseEvent(`{"id":"1","action":"delete","target":{"repository":"a","digest":"` +
			digest.FromString("m").String() + `"},"regcast":` + remark + `}`)
		if err != nil {
			t.Errorf("%s: %v", remark, err)
			continue
		}
		if e.Origin != "" || e.Kind() != notifications.KindManifest|notifications.KindBlob {
			t.Errorf("%s: origin %q, kind %v", remark, e.Origin, e.Kind())
		}
	}
}

// A described manifest is believed, and its payload not asked for.
func TestDescribedManifest(t *testing.T) {
	rec := new(notificationstest.Recorder)
	l := notifications.NewBridge(rec, notifications.SourceRecord{}, nil).For(notifications.ActorRecord{}, notifications.RequestRecord{})
	desc := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("m"), Size: 7}
	if err := l.ManifestPulled(t.Context(), named(t, "team/app"), described{desc: desc}, ""); err != nil {
		t.Fatal(err)
	}
	d, err := rec.Events()[0].Details()
	if err != nil || d.Target.Digest != desc.Digest || d.Target.Size != 7 || d.Target.MediaType != desc.MediaType {
		t.Errorf("got %+v, %v", d.Target, err)
	}
	if err := l.ManifestPulled(t.Context(), named(t, "team/app"), described{}, ""); err == nil || rec.Len() != 1 {
		t.Errorf("a manifest without a digest: %v, %d events", err, rec.Len())
	}
}

type described struct {
	notifications.Manifest
	desc v1.Descriptor
}

func (d described) Descriptor() v1.Descriptor { return d.desc }

// A client may call the manifest that it pushes anything; the event is a manifest's all the
// same, here and where it is read again.
func TestManifestsOfAnyMediaTypeAreManifests(t *testing.T) {
	for _, tc := range []struct {
		mediaType, tag string
		remarked       bool
	}{
		{v1.MediaTypeImageManifest, "", false},
		{v1.MediaTypeImageIndex, "", false},
		{"application/vnd.docker.distribution.manifest.v1+prettyjws", "", false},
		{"text/html", "", true},
		{"application/octet-stream", "", true},
		{"", "", true},
		{"text/html", "v1", false},
	} {
		t.Run(tc.mediaType+":"+tc.tag, func(t *testing.T) {
			var rec notificationstest.Recorder
			l := notifications.NewBridge(picky{&rec, func(e *notifications.Event) bool {
				return e.Kind().Has(notifications.KindManifest) && !e.Kind().Has(notifications.KindBlob)
			}},
				notifications.SourceRecord{}, nil).For(notifications.ActorRecord{}, notifications.RequestRecord{})
			m := described{desc: v1.Descriptor{MediaType: tc.mediaType, Digest: digest.FromString("m"), Size: 7}}
			if err := l.ManifestPushed(t.Context(), named(t, "team/app"), m, tc.tag); err != nil {
				t.Fatal(err)
			}
			if err := l.ManifestPulled(t.Context(), named(t, "team/app"), m, tc.tag); err != nil {
				t.Fatal(err)
			}
			if rec.Len() != 2 {
				t.Fatalf("%d events", rec.Len())
			}
			for _, e := range rec.Events() {
				wire := string(e.AppendJSON(nil))
				if strings.Contains(wire, `"regcast"`) != tc.remarked {
					t.Errorf("the event is %s", wire)
				}
				parsed, err := notifications.ParseEvent(wire)
				if err != nil {
					t.Fatal(err)
				}
				restored, err := notifications.RestoreEvent(wire)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range []*notifications.Event{e, parsed, restored} {
					if k := e.Kind(); !k.Has(notifications.KindManifest) || k.Has(notifications.KindBlob) {
						t.Errorf("%s %s is of kind %v", e.Action, wire, k)
					}
				}
			}
		})
	}
}
