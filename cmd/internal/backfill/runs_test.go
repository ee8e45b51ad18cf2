package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/backfill"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/registry/registrytest"
	"github.com/regcast/regcast/sinks"
)

// found is n manifests and their tags.
func found(first, n int) (list []admin.Found) {
	for i := first; i < first+n; i++ {
		f := admin.Found{
			Repository: "team/app", MediaType: "application/vnd.oci.image.manifest.v1+json",
			Digest: string(notificationstest.Digest("team/app", i)), Size: 500,
		}
		list = append(list, f)
		f.Tag = fmt.Sprintf("v%d", i)
		list = append(list, f)
	}
	return list
}

func details(t *testing.T, e *notifications.Event) notifications.Details {
	t.Helper()
	d, err := e.Details()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// step does a step for endpoints.
func (d *dispatcher) step(t *testing.T, step admin.BackfillStep, r admin.BackfillRequest, endpoints ...string) admin.Backfilled {
	t.Helper()
	if r.From == "" {
		r.From = "https://registry.example"
	}
	r.Step, r.Endpoints = step, endpoints
	out, err := d.client.Backfill(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// give backfills what was found for endpoints, from the begin to the end.
func (d *dispatcher) give(t *testing.T, list []admin.Found, endpoints ...string) admin.Backfilled {
	t.Helper()
	d.step(t, admin.BackfillBegin, admin.BackfillRequest{}, endpoints...)
	out := d.step(t, admin.BackfillStore, admin.BackfillRequest{Found: list}, endpoints...)
	end := d.step(t, admin.BackfillEnd, admin.BackfillRequest{}, endpoints...)
	if end.Accepted != out.Accepted {
		t.Errorf("%d events at the end, %d stored", end.Accepted, out.Accepted)
	}
	return out
}

// Only who is named gets the events, by its filter, and once.
func TestOnlyTheAudienceGetsEvents(t *testing.T) {
	m := openMuseum(t, registrytest.Options{})
	m.fill()
	got, err := walk(t, m.connect(4), "")
	if err != nil {
		t.Fatal(err)
	}
	audit, deploy, images := newConsumer(t), newConsumer(t), newConsumer(t)
	dir := t.TempDir()
	config := audit.endpoint("audit", "") + deploy.endpoint("deploy", "") + images.endpoint("images", `filter = { kinds = ["image"], repositories = ["team/**"] }`)
	d := start(t, dir, config)
	from := admin.BackfillRequest{From: m.URL(), Found: got.found}
	begin := admin.BackfillRequest{From: m.URL()}
	d.step(t, admin.BackfillBegin, begin, "audit", "images")
	if out := d.step(t, admin.BackfillStore, from, "images", "audit"); out.Accepted != 28 || out.Duplicates != 0 {
		t.Errorf("%+v, want 14 events for each of two", out)
	}
	audit.wait(t, 14)
	images.wait(t, 5)
	if diff := cmp.Diff(m.shown(got.found), audit.pushed(m)); diff != "" {
		t.Errorf("audit (-found +delivered):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"team/app:latest app1", "team/app:v1 app1", "team/app:v2 app2", "team/multi:v1 outer", "team/nested/app:v1 nested"}, images.pushed(m)); diff != "" {
		t.Errorf("images (-want +delivered):\n%s", diff)
	}
	host, _ := url.Parse(m.URL())
	for _, e := range audit.events() {
		details := details(t, e)
		f := admin.Found{Repository: e.Repository, Tag: e.Tag, Digest: string(e.Digest)}
		switch id, err := uuid.Parse(e.ID); {
		case err != nil || id.Version() != 8 || id.Variant() != uuid.RFC4122 || e.ID != backfill.ID(host.Host, "audit", &f):
			t.Errorf("id %s of %+v", e.ID, f)
		case e.Action != "push" || e.Origin != notifications.OriginBackfill || details.Remark.Audience != "audit" || e.Actor != "" || e.Method != "":
			t.Errorf("%s", e.AppendJSON(nil))
		case details.Source.Addr != host.Host || details.Target.URL != m.URL()+"/v2/"+e.Repository+"/manifests/"+string(e.Digest):
			t.Errorf("%s", e.AppendJSON(nil))
		case e.MediaType == "" || details.Target.Size == 0 || time.Since(e.Timestamp) > time.Minute:
			t.Errorf("%s", e.AppendJSON(nil))
		}
	}
	first := details(t, audit.events()[0]).Target
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, first.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", first.MediaType)
	resp, err := m.Client().Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the URL of an event: %v, %v", resp, err)
	}
	resp.Body.Close()

	// The same again adds nothing, after a restart neither.
	if out := d.step(t, admin.BackfillStore, from, "audit", "images"); out.Accepted != 0 || out.Duplicates != 28 {
		t.Errorf("again: %+v", out)
	}
	d.stop(t)
	d = start(t, dir, config)
	if out := d.step(t, admin.BackfillStore, from, "audit", "images"); out.Accepted != 0 || out.Duplicates != 28 {
		t.Errorf("after a restart: %+v", out)
	}
	if out := d.step(t, admin.BackfillEnd, begin, "audit", "images"); out.Accepted != 28 {
		t.Errorf("the end: %+v", out)
	}
	// One more endpoint gets what it lacks, and the others nothing.
	d.step(t, admin.BackfillBegin, begin, "audit", "images", "deploy")
	if out := d.step(t, admin.BackfillStore, from, "audit", "images", "deploy"); out.Accepted != 14 || out.Duplicates != 28 {
		t.Errorf("for one more: %+v", out)
	}
	deploy.wait(t, 14)
	d.settled(t)
	if len(audit.events()) != 14 || len(images.events()) != 5 || len(deploy.events()) != 14 {
		t.Errorf("%d, %d and %d events were delivered", len(audit.events()), len(images.events()), len(deploy.events()))
	}
	var log []string
	list, err := d.client.Log(t.Context(), admin.LogQuery{})
	for _, o := range list {
		log = append(log, fmt.Sprint(o.Action, " ", o.Count))
	}
	if diff := cmp.Diff([]string{"backfill begin 0", "backfill end 28", "backfill begin 0"}, log); diff != "" || err != nil {
		t.Errorf("the log (-want +got), %v:\n%s", err, diff)
	}
}

// A replay to somebody else, or to a repository that comes back, changes nothing of who an
// event is for.
func TestTheAudienceStays(t *testing.T) {
	audit, deploy := newConsumer(t), newConsumer(t)
	dir := t.TempDir()
	config := audit.endpoint("audit", "disabled = true") + deploy.endpoint("deploy", "")
	d := start(t, dir, config)
	d.give(t, found(1, 2), "audit")
	d.reload(t, dir, deploy.endpoint("deploy", "")) // audit is removed
	d.stop(t)
	d = start(t, dir, config)
	out, err := d.client.Replay(t.Context(), admin.ReplayRequest{Endpoint: "deploy", All: true})
	if err != nil {
		t.Fatal(err)
	}
	poll(t, "the job has ended", func() bool {
		job, err := d.client.Job(t.Context(), out.Job.ID)
		if err == nil && job.State == admin.JobDone && (job.Done != 4 || job.Delivered != 0) {
			t.Errorf("%+v, want nothing delivered", job)
		}
		return err != nil || job.State == admin.JobDone
	})
	events, err := d.client.Events(t.Context(), admin.EventQuery{})
	if err != nil || len(events) != 4 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	story, err := d.client.Event(t.Context(), events[0].ID)
	if err != nil || story.Format != "backfill" {
		t.Errorf("%+v, %v", story, err)
	}
	want := []admin.Place{{Endpoint: "audit", State: "pending"}, {Endpoint: "deploy", State: "filtered"}}
	if diff := cmp.Diff(want, story.Places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
	d.reload(t, dir, audit.endpoint("audit", "")+deploy.endpoint("deploy", ""))
	audit.wait(t, 4)
	d.settled(t)
	if n := len(deploy.events()); n != 0 {
		t.Errorf("%d events were delivered to deploy", n)
	}
}

// What comes by intake is for everybody, whatever it says, and cannot take the place of
// what a backfill stores.
func TestForgedAudience(t *testing.T) {
	audit, deploy := newConsumer(t), newConsumer(t)
	d := start(t, t.TempDir(), audit.endpoint("audit", "")+deploy.endpoint("deploy", ""))
	list := found(1, 1)
	made := details(t, notificationstest.Push("team/app", "v1", 1))
	made.Remark = notifications.Remark{Origin: notifications.OriginBackfill, Audience: "audit"}
	forged := notifications.NewEvent("push", made)
	forged.ID = backfill.ID("registry.example", "audit", &list[0])
	d.send(t, forged)
	deploy.wait(t, 1)
	audit.wait(t, 1)
	if out := d.give(t, list, "audit"); out.Accepted != 2 {
		t.Errorf("%+v: a forged event keeps another out", out)
	}
	audit.wait(t, 3)
	d.settled(t)
	if n := len(deploy.events()); n != 1 {
		t.Errorf("%d events were delivered to deploy, want the forged one", n)
	}
}

// What comes by intake under the id of a backfilled event, later than it, does not have it
// stored again, in any engine.
func TestForgedRepeat(t *testing.T) {
	for _, engine := range []string{"journal", "memory"} {
		t.Run(engine, func(t *testing.T) {
			audit := newConsumer(t)
			d := start(t, t.TempDir(), audit.endpoint("audit", "")+fmt.Sprintf("[engine]\nkind = %q\n", engine))
			list := found(1, 2)
			forge := func(f *admin.Found, repository string) {
				forged := notificationstest.Push(repository, "v1", 1)
				forged.ID = backfill.ID("registry.example", "audit", f)
				d.send(t, forged)
			}
			forge(&list[0], "team/app")
			if out := d.give(t, list, "audit"); out.Accepted != 4 {
				t.Errorf("%+v, want 4 events", out)
			}
			for i := range list {
				forge(&list[i], "team/app")
				forge(&list[i], "team/other")
			}
			for range 2 {
				if out := d.give(t, list, "audit"); out.Accepted != 0 || out.Duplicates != 4 {
					t.Errorf("%+v: forged events have backfilled ones stored again", out)
				}
			}
		})
	}
}

// What was interrupted goes on behind what was finished, for the same registry, selection
// and endpoints alone, also after a restart.
func TestGoingOn(t *testing.T) {
	audit := newConsumer(t)
	dir := t.TempDir()
	config := audit.endpoint("audit", "") + audit.endpoint("scan", "")
	d := start(t, dir, config)
	after := func(r admin.BackfillRequest, endpoints ...string) string {
		return d.step(t, admin.BackfillBegin, r, endpoints...).After
	}
	var none admin.BackfillRequest
	if got := after(none, "audit"); got != "" {
		t.Errorf("the first one goes on behind %q", got)
	}
	d.step(t, admin.BackfillStore, admin.BackfillRequest{Found: found(1, 1)}, "audit")
	d.step(t, admin.BackfillStore, admin.BackfillRequest{Finished: "team/app"}, "audit")
	d.step(t, admin.BackfillStore, admin.BackfillRequest{Found: found(2, 1)}, "audit") // of the next
	d.step(t, admin.BackfillStore, admin.BackfillRequest{Found: found(3, 1), Finished: "team/zoo", DryRun: true}, "audit")
	d.stop(t)
	d = start(t, dir, config)
	for name, got := range map[string]string{
		"the same":            after(admin.BackfillRequest{From: "HTTPS://Registry.Example:443/"}, "audit", "audit"),
		"another registry":    after(admin.BackfillRequest{From: "https://registry.example:5000"}, "audit"),
		"another selection":   after(admin.BackfillRequest{Repositories: []string{"team/*"}}, "audit"),
		"one endpoint more":   after(none, "audit", "scan"),
		"the same, a dry run": after(admin.BackfillRequest{DryRun: true}, "audit"),
	} {
		if want := map[string]string{"the same": "team/app"}[name]; got != want {
			t.Errorf("%s: goes on behind %q, want %q", name, got, want)
		}
	}
	if end := d.step(t, admin.BackfillEnd, admin.BackfillRequest{DryRun: true}, "audit"); end.Accepted != 0 || after(none, "audit") != "team/app" {
		t.Error("a dry run ends what goes on")
	}
	if got := after(admin.BackfillRequest{Restart: true}, "audit") + after(none, "audit"); got != "" {
		t.Errorf("a restart goes on behind %q", got)
	}
	d.step(t, admin.BackfillStore, admin.BackfillRequest{Found: found(1, 1), Finished: "team/app"}, "audit")
	for range 2 { // the answer to the first may not have arrived
		d.step(t, admin.BackfillEnd, none, "audit")
	}
	if got := after(none, "audit"); got != "" {
		t.Errorf("after the end it goes on behind %q", got)
	}
}

func TestRefusedBackfills(t *testing.T) {
	audit := newConsumer(t)
	dir := t.TempDir()
	d := start(t, dir, audit.endpoint("audit", "")+audit.endpoint("gone", ""))
	d.reload(t, dir, audit.endpoint("audit", ""))
	d.step(t, admin.BackfillBegin, admin.BackfillRequest{}, "audit")
	store := func(change func(*admin.Found)) admin.BackfillRequest {
		list := found(1, 2)
		change(&list[2])
		return admin.BackfillRequest{From: "https://registry.example", Endpoints: []string{"audit"}, Step: admin.BackfillStore, Found: list}
	}
	begin := func(from string, endpoints ...string) admin.BackfillRequest {
		return admin.BackfillRequest{From: from, Endpoints: endpoints, Step: admin.BackfillBegin}
	}
	other := store(func(*admin.Found) {})
	other.From = "https://other.example"
	for _, test := range []struct {
		name string
		r    admin.BackfillRequest
		want error
		says string
	}{
		{"an unknown endpoint", begin("https://r", "audit", "nobody"), admin.ErrNotFound, "endpoint nobody: not found: there are audit"},
		{"a removed endpoint", begin("https://r", "gone"), admin.ErrConflict, "removed"},
		{"no registry", begin("registry.example", "audit"), admin.ErrInvalid, "https://"},
		{"a registry with a path", begin("https://registry.example/team", "audit"), admin.ErrInvalid, "ends with its host"},
		{"a registry with a password", begin("https://a:b@registry.example", "audit"), admin.ErrInvalid, "no user"},
		{"not begun", other, admin.ErrConflict, "not begun"},
		{"a name", store(func(f *admin.Found) { f.Repository = "Team" }), admin.ErrInvalid, "repository"},
		{"a tag", store(func(f *admin.Found) { f.Tag = "a b" }), admin.ErrInvalid, "tag"},
		{"a digest", store(func(f *admin.Found) { f.Digest = "sha256:ab" }), admin.ErrInvalid, "digest"},
		{"no digest", store(func(f *admin.Found) { f.Digest = "" }), admin.ErrInvalid, "digest"},
		{"a size", store(func(f *admin.Found) { f.Size = -1 }), admin.ErrInvalid, "no manifest"},
		{"a media type", store(func(f *admin.Found) { f.MediaType = strings.Repeat("a", 256) }), admin.ErrInvalid, "no manifest"},
	} {
		if _, err := d.client.Backfill(t.Context(), test.r); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %v and %q", test.name, err, test.want, test.says)
		}
	}
	if events, err := d.client.Events(t.Context(), admin.EventQuery{}); err != nil || len(events) != 0 {
		t.Errorf("%d events were stored, %v", len(events), err)
	}
}

// Those who tell of the same at the same time store it once.
func TestBackfillsAtTheSameTime(t *testing.T) {
	audit := newConsumer(t)
	d := start(t, t.TempDir(), audit.endpoint("audit", ""))
	d.step(t, admin.BackfillBegin, admin.BackfillRequest{}, "audit")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n := range 20 {
				_, err := d.client.Backfill(t.Context(), admin.BackfillRequest{
					From: "https://registry.example", Endpoints: []string{"audit"}, Step: admin.BackfillStore, Found: found(n, 5),
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	d.settled(t)
	var ids []string
	for _, e := range audit.events() {
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 48 || len(audit.events()) != 48 {
		t.Errorf("%d events with %d ids were delivered, want 48", len(audit.events()), n)
	}
}

// A blind engine cannot be searched.
type blind struct{ sinks.Engine }

func TestABlindEngine(t *testing.T) {
	r := &backfill.Runs{Store: blind{}}
	_, err := r.Backfill(context.Background(), "ops", admin.BackfillRequest{From: "https://r", Endpoints: []string{"audit"}, Step: admin.BackfillBegin})
	if !errors.Is(err, admin.ErrUnsupported) || !strings.Contains(err.Error(), "by their ids") {
		t.Errorf("%v, want ErrUnsupported", err)
	}
}

// What is remembered of backfills that were never ended is bounded.
func TestForgottenBackfills(t *testing.T) {
	audit := newConsumer(t)
	d := start(t, t.TempDir(), audit.endpoint("audit", "")+"[engine]\nkind = \"memory\"\n")
	for n := range 101 {
		r := admin.BackfillRequest{From: fmt.Sprintf("https://r%d", n)}
		d.step(t, admin.BackfillBegin, r, "audit")
		r.Finished = "team/app"
		d.step(t, admin.BackfillStore, r, "audit")
	}
	for n, want := range map[int]string{1: "team/app", 100: "team/app"} {
		if got := d.step(t, admin.BackfillBegin, admin.BackfillRequest{From: fmt.Sprintf("https://r%d", n)}, "audit").After; got != want {
			t.Errorf("backfill %d goes on behind %q, want %q", n, got, want)
		}
	}
	if got := d.step(t, admin.BackfillBegin, admin.BackfillRequest{From: "https://r0"}, "audit").After; got != "" {
		t.Errorf("the oldest goes on behind %q", got)
	}
}

func TestID(t *testing.T) {
	f := admin.Found{Repository: "team/app", Tag: "v1", Digest: "sha256:ab"}
	seen := map[string]string{backfill.ID("r", "audit", &f): "itself"}
	for name, id := range map[string]string{
		"another host":       backfill.ID("s", "audit", &f),
		"another endpoint":   backfill.ID("r", "scan", &f),
		"another repository": backfill.ID("r", "audit", &admin.Found{Repository: "team/ap", Tag: "v1", Digest: "sha256:ab"}),
		"another split":      backfill.ID("r", "audit", &admin.Found{Repository: "team/appv", Tag: "1", Digest: "sha256:ab"}),
		"no tag":             backfill.ID("r", "audit", &admin.Found{Repository: "team/app", Digest: "sha256:ab"}),
		"another digest":     backfill.ID("r", "audit", &admin.Found{Repository: "team/app", Tag: "v1", Digest: "sha256:ac"}),
	} {
		if seen[id] != "" {
			t.Errorf("%s has the id of %s", name, seen[id])
		}
		seen[id] = name
	}
	// Ids are in people's journals: they stay.
	if got, want := backfill.ID("r", "audit", &f), "40833ceb-9270-82f2-a41b-238b2c8be660"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What could not be read is kept with the place, however often it is told.
func TestWhatWasPassedByIsRemembered(t *testing.T) {
	audit := newConsumer(t)
	d := start(t, t.TempDir(), audit.endpoint("audit", ""))
	d.step(t, admin.BackfillBegin, admin.BackfillRequest{}, "audit")
	for range 2 {
		d.step(t, admin.BackfillStore, admin.BackfillRequest{Finished: "a", Unreadable: 2}, "audit")
	}
	d.step(t, admin.BackfillStore, admin.BackfillRequest{Found: found(0, 1)}, "audit") // of a repository that is not finished
	if out := d.step(t, admin.BackfillBegin, admin.BackfillRequest{}, "audit"); out.After != "a" || out.Unreadable != 2 {
		t.Errorf("going on: %+v", out)
	}
	if out := d.step(t, admin.BackfillBegin, admin.BackfillRequest{Restart: true}, "audit"); out.After != "" || out.Unreadable != 0 {
		t.Errorf("anew: %+v", out)
	}
	for _, r := range []admin.BackfillRequest{{Unreadable: 1}, {Finished: "a", Unreadable: -1}} {
		r.From, r.Step, r.Endpoints = "https://registry.example", admin.BackfillStore, []string{"audit"}
		if _, err := d.client.Backfill(t.Context(), r); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
}
