package observer

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

func TestTagIndexForgetsTheOldest(t *testing.T) {
	x := newTagIndex()
	for i := range maxTags + 2 {
		x.set(fmt.Sprintf("repo%d", i/2), fmt.Sprintf("v%d", i), aSHA256)
	}
	if tags := x.removeDigest("repo0", aSHA256); len(tags) != 0 {
		t.Errorf("the oldest are %q", tags)
	}
	if got, want := fmt.Sprint(x.removeDigest("repo1", aSHA256)), "[v2 v3]"; got != want {
		t.Errorf("tags %s, want %s", got, want)
	}
	x.removeAll("repo2")
	if tags := x.removeDigest("repo2", aSHA256); len(tags) != 0 {
		t.Errorf("of a repository that is gone: %q", tags)
	}
	n := 0
	for _, tags := range x.repository {
		n += len(tags)
	}
	if n != x.recent.Len() || n != maxTags-4 {
		t.Errorf("%d recent tags, %d in repositories", x.recent.Len(), n)
	}
}

// However many tags a registry says it has set with one push, so many make events.
func TestTagsOfOnePush(t *testing.T) {
	for _, tc := range []struct {
		name, target       string
		set, repeated      int
		want, unclassified int
	}{
		{"as many as there may be", "/v2/a/manifests/" + aSHA256, maxPushedTags, 0, maxPushedTags, 0},
		{"one too many", "/v2/a/manifests/" + aSHA256, maxPushedTags + 1, 0, maxPushedTags, 1},
		{"one too many with that in the path", "/v2/a/manifests/path", maxPushedTags, 0, maxPushedTags, 1},
		{"the same again and again", "/v2/a/manifests/" + aSHA256, 2, 500_000, 2, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var events notificationstest.Recorder
			reg := prometheus.NewPedanticRegistry()
			o := New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for i := range tc.set {
					w.Header().Add("OCI-Tag", fmt.Sprintf("t%d", i))
				}
				w.Header().Add("OCI-Tag", strings.Repeat("t1,", tc.repeated))
				w.Header().Set("Docker-Content-Digest", aSHA256)
				w.WriteHeader(http.StatusCreated)
			}), &events, notifications.SourceRecord{}, &Options{Registerer: reg})
			o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPut, tc.target, nil))
			if err := o.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := events.Len(); n != tc.want {
				t.Errorf("%d events, want %d", n, tc.want)
			}
			if n := counter(t, reg, "regcast_observer_unclassified_total"); n != float64(tc.unclassified) {
				t.Errorf("%v counted, want %d", n, tc.unclassified)
			}
		})
	}
}

func TestSessionsForgetTheOldest(t *testing.T) {
	s, forgotten := countedSessions()
	for i := range maxSessions + 1 {
		s.open(fmt.Sprint(i), fmt.Sprint(i%11), "")
	}
	if _, ok := s.find("0"); ok {
		t.Error("the oldest is still there")
	}
	if repository, ok := s.find("1"); !ok || repository != "1" {
		t.Errorf("the second is %q, %v", repository, ok)
	}
	if n := forgotten(t); n != 1 {
		t.Errorf("%v are counted as forgotten", n)
	}
}

func TestSessionsOfOneRepositoryDoNotPushOutOthers(t *testing.T) {
	s, forgotten := countedSessions()
	s.open("victim", "a", "0-9")
	s.open("first", "b", "")
	s.advance("first", "next", "b", 5, true, "")
	for i := range 2 * maxSessions {
		s.open(fmt.Sprint(i), "b", "")
	}
	if n := s.byAddress.Len(); n != maxOfOne+1 {
		t.Errorf("%d are followed", n)
	}
	if _, ok := s.find("next"); ok {
		t.Error("the oldest of the repository is still there")
	}
	if offset, known := s.close("victim"); offset != 10 || !known {
		t.Errorf("that of another repository has %d bytes, %v", offset, known)
	}
	if n := forgotten(t); n != 2*maxSessions+1-maxOfOne {
		t.Errorf("%v are counted as forgotten", n)
	}
	for i := range 2 * maxSessions {
		s.close(fmt.Sprint(i))
	}
	if s.byAddress.Len() != 0 || len(s.repositories) != 0 {
		t.Errorf("%d are followed, in %d repositories", s.byAddress.Len(), len(s.repositories))
	}
}

// Of a part that was not read to its end, what the registry says counts, if it does.
func TestPartsThatWereNotSeenToTheirEnd(t *testing.T) {
	for ranges, want := range map[string]int64{"0-10": 11, "0-0": 0} {
		s, _ := countedSessions()
		s.open("x", "a", "")
		s.advance("x", "x", "a", 5, true, "0-4")
		s.advance("x", "x", "a", 3, false, ranges)
		if offset, known := s.close("x"); offset != want || known != (want > 0) {
			t.Errorf("after %q: %d bytes, %v", ranges, offset, known)
		}
	}
}

func TestSessionsThatAreAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, forgotten := countedSessions()
		s.open("abandoned", "a", "")
		s.open("asked for late", "a", "")
		s.open("slow", "a", "")
		time.Sleep(maxSessionAge - time.Second)
		s.doubt("slow")
		time.Sleep(time.Second)
		if _, ok := s.find("asked for late"); ok {
			t.Error("one is found after a day")
		}
		s.open("new", "b", "")
		if n := s.byAddress.Len(); n != 2 {
			t.Errorf("%d are followed, want the slow and the new one", n)
		}
		if _, ok := s.find("slow"); !ok {
			t.Error("the slow one is gone")
		}
		if n := forgotten(t); n != 0 {
			t.Errorf("%v are counted as forgotten", n)
		}
	})
}

func TestSessionsOfAnyLength(t *testing.T) {
	s, forgotten := countedSessions()
	s.open(strings.Repeat("x", maxAddress+1), "a", "")
	s.open("y", "a", "")
	s.advance("y", strings.Repeat("y", maxAddress+1), "a", 1, true, "")
	if n := s.byAddress.Len(); n != 0 || len(s.repositories) != 0 || forgotten(t) != 2 {
		t.Errorf("%d are followed, %v counted as forgotten", n, forgotten(t))
	}
}

// countedSessions returns sessions, and how many of them were forgotten.
func countedSessions() (*sessions, func(*testing.T) float64) {
	const name = "forgotten"
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: name})
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	return newSessions(c), func(t *testing.T) float64 { return counter(t, reg, name) }
}

func TestTee(t *testing.T) {
	b := newBuffers()
	small := b.tee()
	small.write([]byte("hello"))
	large := b.tee()
	whole := strings.Repeat("x", MaxManifest)
	large.write([]byte(whole))
	if string(small.kept()) != "hello" || string(large.kept()) != whole || b.used.Load() != int64(5+len(whole)) {
		t.Fatalf("%d bytes are kept", b.used.Load())
	}
	large.write([]byte("y"))
	large.write([]byte("z"))
	if large.kept() != nil || large.digest() != digest.FromString(whole+"yz") || b.used.Load() != 5 {
		t.Errorf("more than a manifest: %d bytes are kept, digest %s", b.used.Load(), large.digest())
	}
	var others []*tee
	for range maxBuffered/MaxManifest - 1 {
		other := b.tee()
		other.write([]byte(whole))
		others = append(others, other)
	}
	crowded := b.tee()
	crowded.write([]byte(whole[:MaxManifest-5]))
	crowded.write([]byte("12345")) // which is one small too much
	if crowded.kept() != nil || crowded.digest() != digest.FromString(whole[:MaxManifest-5]+"12345") {
		t.Errorf("with others: %d bytes are kept, digest %s", b.used.Load(), crowded.digest())
	}
	for _, other := range append(others, small, large, crowded) {
		other.release()
		other.release()
	}
	if n := b.used.Load(); n != 0 {
		t.Errorf("%d bytes are kept by nobody", n)
	}
}

func TestAcknowledged(t *testing.T) {
	for _, tc := range []struct {
		ranges string
		n      int64
		ok     bool
	}{
		{"0-21", 22, true}, {"bytes=0-21", 22, true}, {"0-0", 0, false}, {"", 0, false}, {"0-", 0, false}, {"5-21", 0, false},
		{"0--1", 0, false}, {"0-99999999999999999999", 0, false}, {"0-x", 0, false},
	} {
		if n, ok := acknowledged(tc.ranges); n != tc.n || ok != tc.ok {
			t.Errorf("%q: %d, %v", tc.ranges, n, ok)
		}
	}
}

// A manifest that is not read since others are has no references this time, and is read the
// next time.
func TestManifestsReadAtATime(t *testing.T) {
	var rec notificationstest.Recorder
	reg := prometheus.NewRegistry()
	o := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}), &rec, notifications.SourceRecord{}, &Options{IncludeReferences: true, Registerer: reg})
	push := func() {
		body := fmt.Sprintf(`{"layers":[{"digest":%q,"size":1}]}`, aSHA256)
		o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("PUT", "/v2/a/manifests/v1", strings.NewReader(body)))
	}
	if !o.buffers.parse(maxParsed) || o.buffers.parse(1) {
		t.Fatal("the bound is another")
	}
	push()
	o.buffers.parsed(maxParsed)
	push()
	push()
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 1, 1} {
		if d, err := rec.Events()[i].Details(); err != nil || len(d.Target.References) != want {
			t.Errorf("push %d has %d references, want %d (%v)", i+1, len(d.Target.References), want, err)
		}
	}
	if n := counter(t, reg, "regcast_observer_unread_manifests_total"); n != 1 {
		t.Errorf("%v unread", n)
	}
	if n := o.buffers.parsing.Load(); n != 0 {
		t.Errorf("%d bytes are read by nobody", n)
	}
}

// counter returns what a counter without labels has counted.
func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
