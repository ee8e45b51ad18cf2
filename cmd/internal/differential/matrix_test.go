package differential_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/redirect" // 307s without an object store

	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A script sends requests one by one and compares after each of them.
type script struct {
	*rig
	excused map[string]bool // names of allowances that rows needed
}

func newScript(tb testing.TB, s scene) *script {
	tb.Helper()
	return &script{newRig(tb, s), make(map[string]bool)}
}

// A row is a request, what distribution makes of it, and the allowance that is needed.
type row struct {
	name    string
	request request
	status  int    // 0: whatever it is
	events  string // distribution's, as "pull:tag push", sorted
	excused string // by this allowance, in the reports of those outside
}

// play sends the request of a row and compares.
func (s *script) play(r row) *exchange {
	s.tb.Helper()
	s.prepared()
	clear(s.used)
	x := s.do(r.request)
	truth, wrong := s.compare()
	for _, w := range wrong {
		s.tb.Errorf("%s: %s", r.name, w)
	}
	if r.status != 0 && x.status != r.status {
		s.tb.Errorf("%s: %v, want %d: %s", r.name, x, r.status, x.content)
	}
	var events []string
	for _, o := range truth[x.agent] {
		events = append(events, o.brief())
	}
	slices.Sort(events)
	if got := strings.Join(events, " "); got != r.events {
		s.tb.Errorf("%s: %v: distribution reports %q, want %q", r.name, x, got, r.events)
	}
	for _, c := range s.reports {
		if want := s.excuses(r.excused, c.name); s.used[c.name+"/"+r.excused] != want {
			s.tb.Errorf("%s: %v: the %s was excused by %v, want %d of %q", r.name, x, c.name, s.used, want, r.excused)
		}
		s.excused[r.excused] = s.excused[r.excused] || s.used[c.name+"/"+r.excused] > 0
		delete(s.used, c.name+"/"+r.excused)
	}
	if len(s.used) > 0 {
		s.tb.Errorf("%s: %v: excused by %v", r.name, x, s.used)
	}
	return x
}

// excuses is how often an allowance has to be used by a report.
func (s *script) excuses(name, report string) int {
	for _, a := range allowances() {
		if a.name == name && slices.Contains(a.reports, report) && (name != "nothing sent" || !s.strict) {
			return 1
		}
	}
	return 0
}

// prepared compares what was done to prepare a row.
func (s *script) prepared() {
	s.tb.Helper()
	clear(s.used)
	if len(s.exchanges) == 0 {
		return
	}
	_, wrong := s.compare()
	for _, w := range wrong {
		s.tb.Error(w)
	}
	if len(s.used) > 0 {
		s.tb.Errorf("preparing was excused by %v", s.used)
	}
}

// open opens an upload in a repository.
func (s *script) open(repository string) *exchange {
	s.tb.Helper()
	return s.play(row{"opening an upload", request{method: "POST", target: "/v2/" + repository + "/blobs/uploads/"}, 202, "", ""})
}

// cold does something in the registry that those outside do not see.
func (s *script) cold(f func()) {
	s.tb.Helper()
	s.prepared()
	sees := s.inner.next
	s.inner.next = s.app
	base, before := s.base, s.proxy
	if s.proxied {
		s.base, s.proxy = s.registry, nil
	}
	f()
	s.inner.next, s.base, s.proxy = sees, base, before
	s.compare() // and forget: the truth alone has it
	clear(s.used)
}

// TestMatrix plays what a registry can be asked, and what it can answer. It uses every
// allowance but that of TestTaggingFails and one that is a matter of time: one without a
// use would hide a difference.
func TestMatrix(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		t.Run(fmt.Sprintf("proxied=%v", proxied), func(t *testing.T) {
			s := newScript(t, scene{proxied: proxied})
			s.pullManifests()
			s.pullBlobs()
			s.pushBlobs()
			s.abortUploads()
			s.mountBlobs()
			s.pushManifests()
			s.deleteThings()
			s.deleteColdThings()
			s.hostileNames()
			s.otherRoutes()
			s.actors()
			for _, a := range allowances() {
				if !s.excused[a.name] && a.name != "untagged" && a.name != "torn upload" {
					t.Errorf("no row needs the allowance %q", a.name)
				}
			}
		})
	}
}

// TestStrictParity plays the rows that parity is about.
func TestStrictParity(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		t.Run(fmt.Sprintf("proxied=%v", proxied), func(t *testing.T) {
			s := newScript(t, scene{proxied: proxied, strict: true})
			s.pullManifests()
			s.pullBlobs()
		})
	}
}

// TestAuthentication plays rows of every kind in registries that want to know who asks.
func TestAuthentication(t *testing.T) {
	for _, auth := range []registrytest.Auth{registrytest.Htpasswd, registrytest.Token} {
		for _, proxied := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,proxied=%v", auth, proxied), func(t *testing.T) {
				s := newScript(t, scene{auth: auth, proxied: proxied})
				s.mountBlobs()
				s.pushManifests()
				s.deleteThings()
				s.deleteColdThings()
				s.actors()
			})
		}
	}
}

// TestRedirects plays the rows of a registry whose blobs are elsewhere.
func TestRedirects(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		t.Run(fmt.Sprintf("proxied=%v", proxied), func(t *testing.T) {
			s := newScript(t, scene{proxied: proxied, configure: func(c *configuration.Configuration) {
				c.Storage["redirect"] = configuration.Parameters{"disable": false}
				c.Middleware = map[string][]configuration.Middleware{
					"storage": {{Name: "redirect", Options: configuration.Parameters{"baseurl": "http://objects.test/bucket"}}},
				}
			}})
			dgst := s.pushBlob("far/away", []byte("a blob that is somewhere else"))
			target := "/v2/far/away/blobs/" + dgst.String()
			s.play(row{"GET", request{method: "GET", target: target}, 307, "pull", ""})
			s.play(row{"HEAD", request{method: "HEAD", target: target}, 307, "pull", ""})
			s.play(row{"GET of a part", request{method: "GET", target: target, header: header("Range", "bytes=2-3")}, 307, "pull", ""})
			s.play(row{"mount", request{method: "POST", target: "/v2/near/blobs/uploads/?from=far/away&mount=" + dgst.String()}, 201, "mount", ""})
			s.play(row{"GET of what was mounted", request{method: "GET", target: "/v2/near/blobs/" + dgst.String()}, 307, "pull", ""})
			s.play(row{"GET of what is not there", request{method: "GET", target: "/v2/nowhere/blobs/" + dgst.String()}, 404, "", ""})
		})
	}
}

// TestReadOnly plays the rows of a registry that refuses changes.
func TestReadOnly(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		t.Run(fmt.Sprintf("proxied=%v", proxied), func(t *testing.T) {
			s := newScript(t, scene{proxied: proxied, configure: func(c *configuration.Configuration) {
				c.Storage["delete"] = configuration.Parameters{"enabled": false}
			}})
			config := []byte("{}")
			dgst := s.pushBlob("kept", config)
			d := image(false, config)
			s.pushManifest("kept", "v1", d)
			for _, what := range []string{"manifests/v1", "manifests/" + d.digest.String(), "blobs/" + dgst.String()} {
				s.play(row{"delete", request{method: "DELETE", target: "/v2/kept/" + what}, http.StatusMethodNotAllowed, "", ""})
			}
		})
	}
}

// TestTaggingFails plays the push that distribution reports although its client is told
// that it failed.
func TestTaggingFails(t *testing.T) {
	if err := registerFaults(); err != nil {
		t.Fatal(err)
	}
	for _, proxied := range []bool{false, true} {
		t.Run(fmt.Sprintf("proxied=%v", proxied), func(t *testing.T) {
			s := newScript(t, scene{proxied: proxied, configure: func(c *configuration.Configuration) {
				c.Middleware = map[string][]configuration.Middleware{"storage": {{Name: faultsName}}}
			}})
			config := []byte("{}")
			s.pushBlob("faulty", config)
			d := image(false, config)
			put := func(reference string) request {
				return request{method: "PUT", target: "/v2/faulty/manifests/" + reference, body: d.content, header: header("Content-Type", d.mediaType)}
			}
			s.play(row{"a tag that can be written", put("v1"), 201, "push:v1", ""})
			s.play(row{"a tag that cannot be written", put(unwritable), 500, "push:" + unwritable, "untagged"})
			s.play(row{"no tag", put(d.digest.String()), 201, "push", ""})
			s.play(row{"delete", request{method: "DELETE", target: "/v2/faulty/manifests/" + d.digest.String()}, 202, "delete delete:v1", ""})
		})
	}
}
