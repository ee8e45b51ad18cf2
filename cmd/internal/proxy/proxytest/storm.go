// Package proxytest judges proxies with a cache before one registry: a [Storm] changes tags
// and reads them through all of them at one time, and fails the test if a read that began
// after a change was acknowledged sees what was before it.
//
// The proxies may be of this process or others, which may be killed and started again
// meanwhile, see [Front]. Time decides nothing: a storm goes on until it is stopped, which
// it is at the end of the test at the latest.
package proxytest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	repository   = "/v2/team/app/"
	writers      = 3
	readers      = 6
	maxTold      = 5 // violations that are told of
)

// A Storm is under way until Stop.
type Storm struct {
	t       testing.TB
	known   []string
	fronts  []*Front
	done    chan struct{}
	stop    sync.Once
	wait    sync.WaitGroup
	names   atomic.Int64 // of tags
	tags    [writers]atomic.Pointer[tag]
	numbers sync.Map // of manifests, by digest

	reads, changes, stale atomic.Int64
}

// Start begins a storm through fronts, each of which has begun. known are the values of
// Authorization of who may do everything; nobody else may do anything.
func Start(t testing.TB, known []string, fronts ...*Front) *Storm {
	t.Helper()
	s := &Storm{t: t, known: known, fronts: fronts, done: make(chan struct{})}
	t.Cleanup(s.Stop)
	if err := s.upload("{}"); err != nil {
		t.Fatal(err)
	}
	for i := range s.tags {
		s.tags[i].Store(s.newTag())
	}
	for i := range s.tags {
		s.wait.Go(func() { s.write(&s.tags[i]) })
	}
	who := append(slices.Clone(known), "")
	for i := range readers {
		s.wait.Go(func() { s.read(who[i%len(who)]) })
	}
	return s
}

// Stop ends the storm and waits until it is over.
func (s *Storm) Stop() {
	s.stop.Do(func() { close(s.done) })
	s.wait.Wait()
}

// Reads is how many reads have been judged.
func (s *Storm) Reads() int64 { return s.reads.Load() }

// Changes is how many changes were acknowledged.
func (s *Storm) Changes() int64 { return s.changes.Load() }

func (s *Storm) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// ask has any front that is alive answer. ok is false if there was no answer, which only a
// process that was killed may owe.
func (s *Storm) ask(method, path, authorization, body string) (a answer, ok bool) {
	l := s.fronts[rand.IntN(len(s.fronts))].now.Load()
	for l.ended.Load() {
		if s.over() {
			return answer{}, false
		}
		l = s.fronts[rand.IntN(len(s.fronts))].now.Load()
	}
	a, err := l.ask(method, path, authorization, body)
	if err != nil && !l.ended.Load() {
		s.t.Error(err)
	}
	return a, err == nil
}

func (s *Storm) upload(blob string) error {
	l := s.fronts[0].now.Load()
	a, err := l.ask("POST", repository+"blobs/uploads/", s.known[0], "")
	if err != nil {
		return err
	}
	at, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		return err
	}
	query := at.Query()
	query.Set("digest", digest.FromString(blob).String())
	at.RawQuery = query.Encode()
	a, err = l.ask("PUT", at.RequestURI(), s.known[0], blob)
	if err == nil && a.status != http.StatusCreated {
		err = fmt.Errorf("uploading a blob: %d %s", a.status, a.body)
	}
	return err
}

// A tag has one writer. What it writes is numbered; a delete has a number, too.
type tag struct {
	name    string
	tried   atomic.Int64 // the last number that may be seen
	acked   atomic.Int64 // the first
	mu      sync.Mutex
	deletes []int64
}

func (s *Storm) newTag() *tag { return &tag{name: fmt.Sprint("v", s.names.Add(1))} }

func (g *tag) deletedWithin(first, last int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.deletes, func(n int64) bool { return first <= n && n <= last })
}

// write changes the tag at place. A change that nobody has answered may be made at any
// time: the writer goes on with another tag.
func (s *Storm) write(place *atomic.Pointer[tag]) {
	for n := int64(1); !s.over(); n++ {
		g := place.Load()
		if !s.change(g, n) {
			place.Store(s.newTag())
			continue
		}
		g.acked.Store(n)
		s.changes.Add(1)
		enough := s.Reads() + rand.Int64N(60) // for hits, however fast the machine is
		for !s.over() && s.Reads() < enough {
			<-time.After(time.Millisecond)
		}
	}
}

// change makes change n of a tag, and tells whether it was answered.
func (s *Storm) change(g *tag, n int64) bool {
	path := repository + "manifests/" + g.name
	if n%3 == 0 && g.acked.Load() > 0 {
		g.mu.Lock()
		g.deletes = append(g.deletes, n)
		g.mu.Unlock()
		g.tried.Store(n)
		a, ok := s.ask("DELETE", path, s.known[0], "")
		if ok && a.status != http.StatusAccepted {
			s.t.Errorf("DELETE of %s: %d %s", g.name, a.status, a.body)
		}
		return ok
	}
	m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[],"annotations":{"n":"%s %d"}}`,
		manifestType, digest.FromString("{}"), g.name, n)
	s.numbers.Store(digest.FromString(m).String(), n)
	g.tried.Store(n)
	a, ok := s.ask("PUT", path, s.known[0], m)
	if ok && a.status != http.StatusCreated {
		s.t.Errorf("PUT of %s: %d %s", g.name, a.status, a.body)
	}
	return ok
}

// read reads tags, and judges each answer.
func (s *Storm) read(authorization string) {
	for !s.over() {
		g := s.tags[rand.IntN(writers)].Load()
		method, path := "GET", repository+"manifests/"+g.name
		switch rand.IntN(3) {
		case 0:
			method = "HEAD"
		case 1:
			path = repository + "tags/list"
		}
		first := g.acked.Load()
		a, ok := s.ask(method, path, authorization, "")
		last := g.tried.Load()
		switch {
		case !ok:
		case authorization == "":
			if a.status != http.StatusUnauthorized {
				s.t.Errorf("nobody got %d %s", a.status, a.body)
			}
		default:
			s.reads.Add(1)
			if !s.current(g, a, strings.HasSuffix(path, "/list"), first, last) && s.stale.Add(1) <= maxTold {
				s.t.Errorf("%s %s: %d %v %s, which is not of a change between %d and %d of %s", method, path, a.status, a.header, a.body, first, last, g.name)
			}
		}
	}
}

// current tells whether an answer is what was so after one of the changes from first to last
// of a tag.
func (s *Storm) current(g *tag, a answer, list bool, first, last int64) bool {
	switch {
	case list && a.status == http.StatusOK:
		var answer struct{ Tags []string }
		if err := json.Unmarshal(a.body, &answer); err != nil {
			s.t.Error(err)
		}
		return slices.Contains(answer.Tags, g.name) || first == 0 || g.deletedWithin(first, last)
	case a.status == http.StatusNotFound:
		return first == 0 || g.deletedWithin(first, last)
	case a.status == http.StatusOK:
		n, known := s.numbers.Load(a.header.Get("Docker-Content-Digest"))
		return known && first <= n.(int64) && n.(int64) <= last
	}
	return false
}
