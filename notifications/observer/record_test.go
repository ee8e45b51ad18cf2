package observer_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
)

// status answers every request with a status.
func status(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(code)
	})
}

func TestRecordsOfARequest(t *testing.T) {
	var rec notificationstest.Recorder
	o := observer.New(status(202), &rec, notifications.SourceRecord{Addr: "registry.example:5000", InstanceID: "i1"}, &observer.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Prefix: "/x",
	})
	push := func() {
		r := httptest.NewRequest("PUT", "/x/v2/a/b/manifests/"+manifest.String()+"?tag=v1&tag=v2", strings.NewReader(image))
		r.Header.Set("User-Agent", "client/1")
		r.Header.Set("X-Forwarded-For", "198.51.100.7")
		r.Header.Set("X-Forwarded-Proto", "https")
		o.ServeHTTP(httptest.NewRecorder(), r)
	}
	push()
	push()
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := rec.Events()
	if len(events) != 2 {
		t.Fatalf("%d events", len(events))
	}
	d, err := events[0].Details()
	if err != nil {
		t.Fatal(err)
	}
	again, err := events[1].Details()
	if err != nil {
		t.Fatal(err)
	}
	if d.Request.ID == "" || d.Request.ID == again.Request.ID {
		t.Errorf("two requests called %q and %q", d.Request.ID, again.Request.ID)
	}
	d.Request.ID = ""
	want := notifications.RequestRecord{Addr: "198.51.100.7", Host: "example.com", Method: "PUT", UserAgent: "client/1"}
	if diff := cmp.Diff(want, d.Request); diff != "" {
		t.Errorf("request, -want +got:\n%s", diff)
	}
	if want := "https://example.com/x/v2/a/b/manifests/" + manifest.String(); d.Target.URL != want {
		t.Errorf("url %q, want %q", d.Target.URL, want)
	}
	if d.Source.Addr != "registry.example:5000" || d.Source.InstanceID != "i1" {
		t.Errorf("source %+v", d.Source)
	}
}

// Clients come by addresses with a path that is taken off before the Observer.
func TestURLsUnderAPublicPath(t *testing.T) {
	for prefix, want := range map[string]string{"": "https://example.com/public/v2/", "/x": "https://example.com/public/x/v2/"} {
		var rec notificationstest.Recorder
		o := observer.New(status(202), &rec, notifications.SourceRecord{}, &observer.Options{
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Prefix: prefix, PublicPath: "/public/",
		})
		r := httptest.NewRequest("PUT", prefix+"/v2/a/b/manifests/v1", strings.NewReader(image))
		r.Header.Set("X-Forwarded-Proto", "https")
		o.ServeHTTP(httptest.NewRecorder(), r)
		if err := o.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		d, err := rec.Events()[0].Details()
		if err != nil {
			t.Fatal(err)
		}
		if want += "a/b/manifests/" + manifest.String(); d.Target.URL != want {
			t.Errorf("url %q, want %q", d.Target.URL, want)
		}
	}
}

// Several events of one request have one request record.
func TestRequestOfSeveralEvents(t *testing.T) {
	var rec notificationstest.Recorder
	base, err := notifications.ParseBaseURL("https://public.example")
	if err != nil {
		t.Fatal(err)
	}
	o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("OCI-Tag", "v1,v2")
	}), &rec, notifications.SourceRecord{}, &observer.Options{URLs: func(*http.Request) notifications.URLBuilder { return base }})
	o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("PUT", "/v2/a/manifests/"+manifest.String(), strings.NewReader(image)))
	o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("DELETE", "/v2/a/manifests/"+manifest.String(), nil))
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := rec.Events()
	if len(events) != 5 {
		t.Fatalf("events: %q", briefs(t, events))
	}
	var ids []string
	for _, e := range events {
		d, err := e.Details()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d.Request.ID)
		if e.Action == "push" && d.Target.URL != "https://public.example/v2/a/manifests/"+manifest.String() {
			t.Errorf("url %q", d.Target.URL)
		}
	}
	if ids[0] != ids[1] || ids[1] == ids[2] || ids[2] != ids[3] || ids[3] != ids[4] {
		t.Errorf("requests %q", ids)
	}
}

func TestActor(t *testing.T) {
	token := func(payload string) string {
		return "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
	}
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tc := range []struct {
		name   string
		header []string
		want   string
	}{
		{"nobody", nil, ""},
		{"Basic", []string{"Authorization", basic("alice:secret")}, "alice"},
		{"Basic in small letters", []string{"Authorization", strings.Replace(basic("alice:se:cret"), "B", "b", 1)}, "alice"},
		{"Basic without password", []string{"Authorization", basic("alice")}, ""},
		{"Basic that is none", []string{"Authorization", "Basic alice:secret"}, ""},
		{"Basic of a long user", []string{"Authorization", basic(strings.Repeat("x", 256) + ":secret")}, ""},
		{"Basic behind two spaces", []string{"Authorization", strings.Replace(basic("alice:secret"), " ", "  ", 1)}, ""},
		{"Basic behind a tab", []string{"Authorization", strings.Replace(basic("alice:secret"), " ", "\t", 1)}, ""},
		{"Basic with control bytes", []string{"Authorization", basic("al\x1b[2Kice:secret")}, ""},
		{"Basic with a line", []string{"Authorization", basic("alice\nbob:secret")}, ""},
		{"Basic of no UTF-8", []string{"Authorization", basic("\xff:secret")}, ""},
		{"token", []string{"Authorization", token(`{"sub":"alice","aud":"registry"}`)}, "alice"},
		{"token behind two spaces", []string{"Authorization", strings.Replace(token(`{"sub":"alice"}`), " ", "  ", 1)}, ""},
		{"token with control bytes", []string{"Authorization", token(`{"sub":"al\u0000ice"}`)}, ""},
		{"token without subject", []string{"Authorization", token(`{"iss":"x"}`)}, ""},
		{"token with a subject that is none", []string{"Authorization", token(`{"sub":7}`)}, ""},
		{"token that is not JSON", []string{"Authorization", token(`alice`)}, ""},
		{"token of four parts", []string{"Authorization", token(`{"sub":"alice"}`) + ".x"}, ""},
		{"token of any length", []string{"Authorization", token(`{"sub":"alice","x":"` + strings.Repeat("x", 20_000) + `"}`)}, ""},
		{"opaque token", []string{"Authorization", "Bearer ghp_abcdef"}, ""},
		{"two", []string{"Authorization", basic("alice:secret"), "Authorization", basic("bob:secret")}, ""},
		{"removed on the way", []string{"Authorization", basic("alice:secret"), "Connection", "close, authorization"}, ""},
		{"another scheme", []string{"Authorization", "Digest username=alice"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var rec notificationstest.Recorder
			o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Authorization", basic("service:secret")) // of a registry behind this one
			}), &rec, notifications.SourceRecord{}, nil)
			r := httptest.NewRequest("DELETE", "/v2/a/manifests/v1", nil)
			for i := 0; i < len(tc.header); i += 2 {
				r.Header.Add(tc.header[i], tc.header[i+1])
			}
			o.ServeHTTP(httptest.NewRecorder(), r)
			if err := o.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if events := rec.Events(); len(events) != 1 || events[0].Actor != tc.want {
				t.Errorf("events %q, want one by %q", briefs(t, events), tc.want)
			}
		})
	}
	t.Run("as the embedder says", func(t *testing.T) {
		var rec notificationstest.Recorder
		o := observer.New(status(202), &rec, notifications.SourceRecord{}, &observer.Options{Actor: func(r *http.Request) (string, bool) {
			return r.Header.Get("X-User"), r.Header.Get("X-Verified") != ""
		}})
		for _, header := range []string{"X-User: carol", "X-User: carol; X-Verified: 1", "X-Verified: 1", "X-User: ca\x00rol; X-Verified: 1"} {
			r := httptest.NewRequest("DELETE", "/v2/a/manifests/v1", nil)
			for member := range strings.SplitSeq(header, "; ") {
				name, value, _ := strings.Cut(member, ": ")
				r.Header.Set(name, value)
			}
			o.ServeHTTP(httptest.NewRecorder(), r)
		}
		if err := o.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{"delete DELETE a:v1 by carol", "delete DELETE a:v1 by carol verified", "delete DELETE a:v1", "delete DELETE a:v1"}
		if diff := cmp.Diff(want, briefs(t, rec.Events())); diff != "" {
			t.Errorf("events, -want +got:\n%s", diff)
		}
	})
	t.Run("as the embedder says of a token", func(t *testing.T) {
		var rec notificationstest.Recorder
		asked := 0
		o := observer.New(status(202), &rec, notifications.SourceRecord{}, &observer.Options{Bearer: func(r *http.Request, token string) (string, bool) {
			asked++
			return r.Method + " " + token, true
		}})
		for _, credential := range []string{"Bearer x.y.z", "bearer opaque", "Bearer", "Bearer ", "Bearer  two", "Bearer " + strings.Repeat("x", 20_000), basic("alice:secret")} {
			r := httptest.NewRequest("PUT", "/v2/a/manifests/v1", strings.NewReader(image))
			r.Header.Set("Authorization", credential)
			o.ServeHTTP(httptest.NewRecorder(), r)
		}
		r := httptest.NewRequest("DELETE", "/v2/a/manifests/"+manifest.String(), nil) // with its tag
		r.Header.Set("Authorization", "Bearer once")
		o.ServeHTTP(httptest.NewRecorder(), r)
		if err := o.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range rec.Events() {
			d, err := e.Details()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(e.Actor, " ", d.Remark.ActorVerified))
		}
		want := []string{"PUT x.y.z true", "PUT opaque true", " false", " false", " false", " false", "alice false", "DELETE once true", "DELETE once true"}
		if diff := cmp.Diff(want, got); diff != "" || asked != 3 {
			t.Errorf("asked %d times, actors, -want +got:\n%s", asked, diff)
		}
	})
}

func TestVendorRoutes(t *testing.T) {
	extra := observer.Options{Extra: []func(*http.Request) (observer.Deletion, bool){observer.GitLabRoutes, observer.HarborRoutes}}
	del := func(path string, status int) []exchange {
		return []exchange{{"DELETE", path, "", nil, status, nil, ""}}
	}
	harbor := "/api/v2.0/projects/team/repositories/"
	artifacts := harbor + "a%252Fb/artifacts/"
	dgst := manifest.String()
	push := func(tag string) exchange {
		return exchange{"PUT", "/v2/team/a/b/manifests/" + tag, image, []string{"Content-Type", ociManifest}, 201, nil, ""}
	}
	pushed := fmt.Sprintf("@image manifest.v1+json %d refs=config,blob", len(image))
	for _, tc := range []struct {
		row
		unclassified float64
	}{
		{row{"GitLab, tag", extra, del("/v2/a/b/tags/reference/v1", 202), []string{"delete DELETE a/b:v1"}}, 0},
		{row{"GitLab, escaped tag", extra, del("/v2/a/b/tags/reference/%761", 202), []string{"delete DELETE a/b:v1"}}, 0},
		{row{"GitLab, refused", extra, del("/v2/a/b/tags/reference/v1", 404), nil}, 0},
		{row{"GitLab, no tag", extra, del("/v2/a/b/tags/reference/-v1", 202), nil}, 1},
		{row{"GitLab, unasked", observer.Options{}, del("/v2/a/b/tags/reference/v1", 202), nil}, 1},
		{row{"GitLab, another method", extra, []exchange{{"PUT", "/v2/a/b/tags/reference/v1", "", nil, 202, nil, ""}}, nil}, 1},

		{row{"Harbor, repository", extra, del(harbor+"app", 200), []string{"delete DELETE team/app"}}, 0},
		{row{"Harbor, repository with a tag", extra, append(append([]exchange{push("v1")}, del(harbor+"a%252Fb", 200)...), del("/v2/team/a/b/manifests/"+dgst, 202)...), []string{
			"push PUT team/a/b:v1" + pushed, "delete DELETE team/a/b", "delete DELETE team/a/b@image kind=manifest",
		}}, 0},
		{row{"Harbor, nested repository", extra, del(harbor+"a%252Fb", 200), []string{"delete DELETE team/a/b"}}, 0},
		{row{"Harbor, nested repository, escaped once", extra, del(harbor+"a%2Fb", 200), []string{"delete DELETE team/a/b"}}, 0},
		{row{"Harbor, tag", extra, del(artifacts+dgst+"/tags/v1", 200), []string{"delete DELETE team/a/b:v1"}}, 0},
		{row{"Harbor, tag of a tag", extra, del(artifacts+"v1/tags/v2", 200), []string{"delete DELETE team/a/b:v2"}}, 0},
		{row{"Harbor, artifact by digest", extra, del(artifacts+dgst, 200), []string{"delete DELETE team/a/b@image kind=manifest"}}, 0},
		{row{"Harbor, artifact by escaped digest", extra, del(artifacts+strings.Replace(dgst, ":", "%3A", 1), 200), []string{"delete DELETE team/a/b@image kind=manifest"}}, 0},
		{row{"Harbor, artifact by digest, with its tags", extra, append([]exchange{push("v1"), push("v2")}, del(artifacts+dgst, 200)...), []string{
			"push PUT team/a/b:v1" + pushed, "push PUT team/a/b:v2" + pushed,
			"delete DELETE team/a/b@image kind=manifest", "delete DELETE team/a/b:v1 inferred", "delete DELETE team/a/b:v2 inferred",
		}}, 0},
		{row{"Harbor, artifact by tag", extra, append([]exchange{push("v1"), push("v2")}, del(artifacts+"v2", 200)...), []string{
			"push PUT team/a/b:v1" + pushed, "push PUT team/a/b:v2" + pushed,
			"delete DELETE team/a/b:v2", "delete DELETE team/a/b@image inferred kind=manifest", "delete DELETE team/a/b:v1 inferred",
		}}, 0},
		{row{"Harbor, artifact by a tag that was not seen", extra, del(artifacts+"v1", 200), []string{"delete DELETE team/a/b:v1"}}, 1},
		{row{"Harbor, artifact, refused", extra, append([]exchange{push("v1")}, append(del(artifacts+"v1", 404), del(artifacts+dgst, 412)...)...),
			[]string{"push PUT team/a/b:v1" + pushed}}, 0},
		{row{"Harbor, refused", extra, del(harbor+"app", 403), nil}, 0},
		{row{"Harbor, project", extra, del("/api/v2.0/projects/team", 200), nil}, 1},
		{row{"Harbor, name that is none", extra, del(harbor+"App", 200), nil}, 1},
		{row{"Harbor, escaped three times", extra, del(harbor+"a%25252Fb", 200), nil}, 1},
		{row{"Harbor, reference that is none", extra, del(artifacts+"-v1", 200), nil}, 1},
		{row{"Harbor, tag that is none", extra, del(artifacts+dgst+"/tags/-v1", 200), nil}, 1},
		{row{"Harbor, label of an artifact", extra, del(artifacts+dgst+"/labels/1", 200), nil}, 0},
		{row{"Harbor, something of a project", extra, del("/api/v2.0/projects/team/webhook/policies/1", 200), nil}, 0},
		{row{"Harbor, unasked", observer.Options{}, del(artifacts+dgst, 200), nil}, 0},
		{row{"Harbor, read", extra, []exchange{{"GET", artifacts + dgst, "", nil, 200, nil, ""}}, nil}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if w := tc.run(t); metric(t, w.metrics, "regcast_observer_unclassified_total") != tc.unclassified {
				t.Errorf("%v unclassified, want %v", metric(t, w.metrics, "regcast_observer_unclassified_total"), tc.unclassified)
			}
		})
	}
}

func TestRefuse(t *testing.T) {
	down := errors.New("disk full")
	var rec notificationstest.Recorder
	reached := 0
	o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached++ }), &rec, notifications.SourceRecord{}, &observer.Options{
		Refuse: true, Accepting: func() error { return down },
	})
	for _, tc := range []struct{ method, path string }{
		{"PUT", "/v2/a/manifests/v1"}, {"DELETE", "/v2/a/manifests/v1"}, {"DELETE", "/v2/a/blobs/" + blob.String()},
		{"POST", "/v2/a/blobs/uploads/"}, {"PUT", "/v2/a/blobs/uploads/1"}, {"DELETE", "/v2/A/x"},
		{"PUT", "/x/a/manifests/v1"}, {"POST", "/x/a/blobs/uploads/"}, {"DELETE", "/x/a/blobs/" + blob.String()},
		{"PUT", "/artifacts-uploads/1?digest=" + blob.String()},
	} {
		w := httptest.NewRecorder()
		o.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, nil))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"errors":[{"code":"UNAVAILABLE"`) || reached != 0 {
			t.Errorf("%s %s: %d %v %s", tc.method, tc.path, w.Code, w.Header(), w.Body)
		}
	}
	for _, tc := range []struct{ method, path string }{
		{"GET", "/v2/a/manifests/v1"}, {"HEAD", "/v2/a/blobs/" + blob.String()}, {"PATCH", "/v2/a/blobs/uploads/1"},
		{"GET", "/v2/a/blobs/uploads/1"}, {"DELETE", "/v2/a/blobs/uploads/1"}, {"GET", "/v2/"}, {"POST", "/login"},
	} {
		before := reached
		w := httptest.NewRecorder()
		o.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, nil))
		if w.Code != 200 || reached != before+1 {
			t.Errorf("%s %s: %d", tc.method, tc.path, w.Code)
		}
	}
	down = nil
	w := httptest.NewRecorder()
	o.ServeHTTP(w, httptest.NewRequest("DELETE", "/v2/a/manifests/v1", nil))
	if w.Code != 200 {
		t.Errorf("status %d though events are taken", w.Code)
	}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A change is in the sink when its client gets to know of it.
func TestChangesAreWrittenFirst(t *testing.T) {
	var rec notificationstest.Recorder
	o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	}), &rec, notifications.SourceRecord{}, &observer.Options{Wait: time.Minute})
	o.ServeHTTP(answered(func() {
		if rec.Len() != 1 {
			t.Error("the status went out before the event was written")
		}
	}), httptest.NewRequest("DELETE", "/v2/a/manifests/v1", nil))
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// answered is a writer that tells when the status is written.
func answered(f func()) http.ResponseWriter { return &answeredWriter{httptest.NewRecorder(), f} }

type answeredWriter struct {
	*httptest.ResponseRecorder
	f func()
}

func (w *answeredWriter) WriteHeader(status int) {
	w.f()
	w.ResponseRecorder.WriteHeader(status)
}

// What has happened is recorded before the answer although its client has gone.
func TestChangesOfClientsThatAreGone(t *testing.T) {
	var rec notificationstest.Recorder
	o := observer.New(status(202), sinkFunc(func(ctx context.Context, batch []*notifications.Event) error {
		<-time.After(50 * time.Millisecond)
		return rec.Write(ctx, batch)
	}), notifications.SourceRecord{}, &observer.Options{Wait: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "DELETE", "/v2/a/manifests/v1", nil))
	if rec.Len() != 1 {
		t.Errorf("%d events", rec.Len())
	}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A sink that does not answer holds a request back for Wait, however many events it makes.
func TestWaitIsOfARequest(t *testing.T) {
	synctest.Test(t, testWaitIsOfARequest)
}

func testWaitIsOfARequest(t *testing.T) {
	blocked := make(chan struct{})
	reg := prometheus.NewRegistry()
	var rec notificationstest.Recorder
	o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Content-Digest", manifest.String())
	}), sinkFunc(func(ctx context.Context, batch []*notifications.Event) error {
		<-blocked
		return rec.Write(ctx, batch)
	}), notifications.SourceRecord{}, &observer.Options{Wait: 200 * time.Millisecond, Registerer: reg})
	for _, tag := range []string{"v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"} {
		o.ServeHTTP(httptest.NewRecorder(), pull(tag))
	}
	began := time.Now()
	o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("DELETE", "/v2/a/manifests/"+manifest.String(), nil))
	if took := time.Since(began); took != 200*time.Millisecond {
		t.Errorf("the delete took %v", took)
	}
	close(blocked)
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if rec.Len() != 17 {
		t.Errorf("events %q", briefs(t, rec.Events()))
	}
	if n := metric(t, reg, "regcast_observer_events_total"); n != 17 {
		t.Errorf("%v events counted", n)
	}
}

func pull(tag string) *http.Request {
	r := httptest.NewRequest("HEAD", "/v2/a/manifests/"+tag, nil)
	r.Header.Set("Accept", "application/vnd.docker.distribution.manifest.list.v2+json")
	return r
}

type sinkFunc func(context.Context, []*notifications.Event) error

func (f sinkFunc) Write(ctx context.Context, batch []*notifications.Event) error {
	return f(ctx, batch)
}
