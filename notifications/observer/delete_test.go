package observer_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
)

func TestDeletes(t *testing.T) {
	tag, dgst := "/v2/a/b/manifests/v1", "/v2/a/b/manifests/"+manifest.String()
	dockerImage := "application/vnd.docker.distribution.manifest.v2+json"
	typed := []string{"Content-Type", ociManifest, "Docker-Content-Digest", manifest.String()}
	lists := []string{"Accept", ociManifest + ", application/vnd.docker.distribution.manifest.list.v2+json"}
	push := func(path string) exchange { return exchange{"PUT", path, image, typed[:2], 201, nil, ""} }
	what := fmt.Sprintf("@image manifest.v1+json %d refs=config,blob", len(image))
	deleted := "delete DELETE a/b@image kind=manifest"
	runRows(t, []row{
		{"a tag", observer.Options{}, []exchange{{"DELETE", tag, "", nil, 202, nil, ""}}, []string{"delete DELETE a/b:v1"}},
		{"a manifest", observer.Options{}, []exchange{{"DELETE", dgst, "", nil, 202, nil, ""}}, []string{deleted}},
		{"a blob", observer.Options{}, []exchange{{"DELETE", "/v2/a/b/blobs/" + blob.String(), "", nil, 202, nil, ""}}, []string{"delete DELETE a/b@blob kind=blob"}},
		{"with other successes", observer.Options{}, []exchange{{"DELETE", tag, "", nil, 200, nil, ""}, {"DELETE", tag, "", nil, 204, nil, ""}}, []string{"delete DELETE a/b:v1", "delete DELETE a/b:v1"}},
		{"refused", observer.Options{Parity: observer.Strict}, []exchange{
			{"DELETE", tag, "", nil, 400, nil, ""}, {"DELETE", dgst, "", nil, 404, nil, ""}, {"DELETE", dgst, "", nil, 405, nil, ""},
			{"DELETE", "/v2/a/b/blobs/" + blob.String(), "", nil, 401, nil, ""}, {"DELETE", dgst, "", nil, 307, nil, ""},
		}, nil},
		{"a manifest with its tags", observer.Options{}, []exchange{
			push(tag), push("/v2/a/b/manifests/v2"), push("/v2/a/c/manifests/v1"),
			{"PUT", "/v2/a/b/manifests/list", list, []string{"Content-Type", ociIndex}, 201, nil, ""},
			{"DELETE", dgst, "", nil, 202, nil, ""}, {"DELETE", dgst, "", nil, 202, nil, ""},
		}, []string{
			"push PUT a/b:v1" + what, "push PUT a/b:v2" + what, "push PUT a/c:v1" + what,
			fmt.Sprintf("push PUT a/b:list@list index.v1+json %d refs=image", len(list)),
			deleted, "delete DELETE a/b:v1 inferred", "delete DELETE a/b:v2 inferred", deleted,
		}},
		{"a manifest with a tag of another name space", observer.Options{}, []exchange{
			{"GET", tag + "?ns=docker.io", "", lists, 200, typed, image}, {"DELETE", dgst, "", nil, 202, nil, ""},
		}, []string{"pull GET a/b:v1" + what, deleted}},
		{"a manifest whose tags stay", observer.Options{KeepsTags: true}, []exchange{push(tag), {"DELETE", dgst, "", nil, 202, nil, ""}},
			[]string{"push PUT a/b:v1" + what, deleted}},
		{"a manifest with tags that were pulled", observer.Options{}, []exchange{
			{"GET", tag, "", lists, 200, typed, image}, {"HEAD", "/v2/a/b/manifests/v2", "", lists, 200, typed, ""}, {"DELETE", dgst, "", nil, 202, nil, ""},
		}, []string{
			"pull GET a/b:v1" + what, fmt.Sprintf("pull HEAD a/b:v2@image manifest.v1+json %d refs=config,blob", len(image)),
			deleted, "delete DELETE a/b:v1 inferred", "delete DELETE a/b:v2 inferred",
		}},
		{"an image that was taken out of a list for an old client", observer.Options{}, []exchange{
			{"GET", tag, "", []string{"Accept", dockerImage}, 200, []string{"Content-Type", dockerImage, "Docker-Content-Digest", manifest.String()}, image}, {"DELETE", dgst, "", nil, 202, nil, ""},
		}, []string{strings.Replace("pull GET a/b:v1"+what, "manifest.v1+json", dockerImage, 1), deleted}},
		{"an image that was answered to a client of OCI types", observer.Options{}, []exchange{
			{"HEAD", tag, "", []string{"Accept", ociManifest + ", " + ociIndex}, 200, typed, ""}, {"DELETE", dgst, "", nil, 202, nil, ""},
		}, []string{"pull HEAD a/b:v1@image manifest.v1+json ?", deleted, "delete DELETE a/b:v1 inferred"}},
		{"a manifest with tags that the registry has told", observer.Options{}, []exchange{
			{"PUT", dgst + "?tag=v1", image, typed[:2], 201, []string{"OCI-Tag", "v1"}, ""}, {"DELETE", dgst, "", nil, 202, nil, ""},
		}, []string{"push PUT a/b:v1" + what, deleted, "delete DELETE a/b:v1 inferred"}},
		{"a manifest after its tag", observer.Options{}, []exchange{push(tag), {"DELETE", tag, "", nil, 202, nil, ""}, {"DELETE", dgst, "", nil, 202, nil, ""}},
			[]string{"push PUT a/b:v1" + what, "delete DELETE a/b:v1", deleted}},
		{"a manifest whose tag has moved", observer.Options{}, []exchange{
			push(tag), {"PUT", tag, list, []string{"Content-Type", ociIndex}, 201, nil, ""}, {"DELETE", dgst, "", nil, 202, nil, ""},
		}, []string{"push PUT a/b:v1" + what, fmt.Sprintf("push PUT a/b:v1@list index.v1+json %d refs=image", len(list)), deleted}},
		{"a manifest that could not be deleted", observer.Options{}, []exchange{
			push(tag), {"DELETE", dgst, "", nil, 405, nil, ""}, {"DELETE", dgst, "", nil, 202, nil, ""},
		}, []string{"push PUT a/b:v1" + what, deleted, "delete DELETE a/b:v1 inferred"}},
		{"a blob, of which nothing is known then", observer.Options{}, []exchange{
			{"HEAD", "/v2/a/b/blobs/" + blob.String(), "", nil, 200, []string{"Content-Length", "22"}, ""},
			{"DELETE", "/v2/a/b/blobs/" + blob.String(), "", nil, 202, nil, ""},
			{"GET", "/v2/a/b/blobs/" + blob.String(), "", nil, 307, []string{"Location", "/x"}, ""},
			{"HEAD", "/v2/a/b/blobs/" + blob.String(), "", nil, 200, []string{"Content-Length", "22"}, ""},
			{"GET", "/v2/a/b/blobs/" + blob.String(), "", nil, 307, []string{"Location", "/x"}, ""},
		}, []string{"pull HEAD a/b@blob 22", "delete DELETE a/b@blob kind=blob", "pull GET a/b@blob ? redirected", "pull HEAD a/b@blob 22", "pull GET a/b@blob 22 redirected"}},
	})
}

// What a slow pull was told of a tag is outdated once the tag was set or deleted meanwhile.
func TestTagsThatChangeDuringAPull(t *testing.T) {
	for _, late := range []bool{false, true} { // the header comes before the change, or after it
		for _, change := range []struct{ method, path string }{
			{"PUT", "/v2/a/manifests/prod"}, {"DELETE", "/v2/a/manifests/prod"}, {"DELETE", "/v2/a/manifests/" + manifest.String()},
		} {
			t.Run(fmt.Sprint(change.method, late), func(t *testing.T) {
				begun, goOn := make(chan struct{}), make(chan struct{})
				w := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					if r.Method != http.MethodGet {
						w.Header().Set("Docker-Content-Digest", other.String())
						return
					}
					if late {
						close(begun)
						<-goOn
					}
					w.Header().Set("Docker-Content-Digest", manifest.String())
					w.Header().Set("Content-Type", ociManifest)
					w.WriteHeader(http.StatusOK)
					if !late {
						close(begun)
						<-goOn
					}
					_, _ = io.WriteString(w, image)
				}), nil)
				pulled := make(chan struct{})
				go func() {
					defer close(pulled)
					w.Observer.ServeHTTP(httptest.NewRecorder(), getManifest("prod"))
				}()
				<-begun
				w.do(t, change.method, change.path, "x", "Content-Type", ociManifest)
				before := len(w.settled(t))
				close(goOn)
				<-pulled
				w.do(t, "DELETE", "/v2/a/manifests/"+manifest.String(), "")
				var got []string
				for _, s := range briefs(t, w.settled(t)[before:]) {
					got = append(got, strings.Fields(s)[0]+" "+strings.Fields(s)[2])
				}
				if diff := cmp.Diff([]string{"pull a:prod@image", "delete a@image"}, got); diff != "" {
					t.Errorf("events after the change, -want +got:\n%s", diff)
				}
			})
		}
	}
}

// A tag that is set while the delete of its manifest is being written was set after it.
func TestTagsThatAreSetDuringADelete(t *testing.T) {
	for path, want := range map[string][]string{
		"/v2/a/manifests/" + manifest.String():              {"delete", "delete old", "push new", "push old"},
		"/api/v2.0/projects/x/repositories/a/artifacts/old": {"delete old", "delete", "push new", "push old"},
	} {
		t.Run(path, func(t *testing.T) {
			repository := map[bool]string{true: "x/a", false: "a"}[strings.HasPrefix(path, "/api/")]
			var rec notificationstest.Recorder
			gate := notificationstest.NewGate(&rec)
			gate.Open()
			reg := prometheus.NewRegistry()
			o := observer.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
			}), gate, notifications.SourceRecord{}, &observer.Options{
				Registerer: reg, Wait: time.Minute, Extra: []func(*http.Request) (observer.Deletion, bool){observer.HarborRoutes},
			})
			ask := func(method, path, body string) {
				r := httptest.NewRequest(method, path, strings.NewReader(body))
				r.Header.Set("Content-Type", ociManifest)
				o.ServeHTTP(httptest.NewRecorder(), r)
			}
			ask("PUT", "/v2/"+repository+"/manifests/old", image)
			gate.Shut()
			var asking sync.WaitGroup
			asking.Go(func() { ask("DELETE", path, "") })
			until(t, func() bool { return metric(t, reg, "regcast_observer_waiting_events") == float64(len(want)-2) })
			asking.Go(func() { ask("PUT", "/v2/"+repository+"/manifests/new", image) })
			until(t, func() bool { return metric(t, reg, "regcast_observer_waiting_events") == float64(len(want)-1) })
			asking.Go(func() { ask("PUT", "/v2/"+repository+"/manifests/old", image) })
			until(t, func() bool { return metric(t, reg, "regcast_observer_waiting_events") == float64(len(want)) })
			gate.Open()
			asking.Wait()
			if err := o.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range rec.Events()[1:] {
				got = append(got, strings.TrimSpace(e.Action+" "+e.Tag))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("events, -want +got:\n%s", diff)
			}
		})
	}
}

// until waits until ok.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not in 10 s")
		}
	}
}

// getManifest is a pull by a client that takes Docker's lists.
func getManifest(tag string) *http.Request {
	r := pull(tag)
	r.Method = http.MethodGet
	return r
}
