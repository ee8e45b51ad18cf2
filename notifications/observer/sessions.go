package observer

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
)

// The bounds of the uploads that are followed at a time. Of one that was forgotten the size
// is not known at its end.
const (
	maxSessions   = 10_000 // each in less than two kilobytes
	maxOfOne      = 1000   // of one repository, so that nobody can push out all others there
	maxSessionAge = 24 * time.Hour
	maxPath       = 1024 // of the path of one, in bytes
)

// sessions are the uploads under way, by the path at which they go on. The registry names
// a new one with every answer if it likes, and it may look like anything.
type sessions struct {
	mu           sync.Mutex
	byPath       *simplelru.LRU[string, *session]
	repositories map[string]*simplelru.LRU[string, struct{}] // paths by repository
	forgotten    prometheus.Counter                          // uploads under way
}

// A session is an upload.
type session struct {
	repository string
	offset     int64     // bytes that the registry has
	known      bool      // the offset is right
	used       time.Time // last
}

func newSessions(forgotten prometheus.Counter) *sessions {
	s := &sessions{repositories: make(map[string]*simplelru.LRU[string, struct{}]), forgotten: forgotten}
	s.byPath = newLRU(maxSessions, s.dropped)
	return s
}

// dropped removes an upload that is not followed any more from its repository.
func (s *sessions) dropped(path string, u *session) {
	paths := s.repositories[u.repository]
	paths.Remove(path)
	if paths.Len() == 0 {
		delete(s.repositories, u.repository)
	}
}

// put follows an upload at path. Those that nobody has touched for long are taken for
// abandoned; what else has to make room is counted.
func (s *sessions) put(path string, u *session) {
	if len(path) > maxPath {
		s.forgotten.Inc()
		return
	}
	u.used = time.Now()
	for {
		oldest, idle, ok := s.byPath.GetOldest()
		if !ok || u.used.Sub(idle.used) < maxSessionAge {
			break
		}
		s.byPath.Remove(oldest)
	}
	path = strings.Clone(path)
	s.byPath.Remove(path)
	if paths := s.repositories[u.repository]; paths != nil && paths.Len() == maxOfOne {
		oldest, _, _ := paths.GetOldest()
		s.byPath.Remove(oldest)
		s.forgotten.Inc()
	}
	paths := s.repositories[u.repository]
	if paths == nil {
		paths = newLRU[string, struct{}](maxOfOne, nil)
		s.repositories[u.repository] = paths
	}
	paths.Add(path, struct{}{})
	if s.byPath.Add(path, u) {
		s.forgotten.Inc()
	}
}

// get returns the upload at path, which is in use then, unless it is abandoned.
func (s *sessions) get(path string) (*session, bool) {
	u, ok := s.byPath.Get(path)
	if !ok {
		return nil, false
	}
	now := time.Now()
	if now.Sub(u.used) >= maxSessionAge {
		s.byPath.Remove(path)
		return nil, false
	}
	u.used = now
	s.repositories[u.repository].Get(path)
	return u, true
}

// open begins an upload at path. A registry may already have taken something.
func (s *sessions) open(path, repository, ranges string) {
	offset, _ := acknowledged(ranges)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(path, &session{repository: strings.Clone(repository), offset: offset, known: true})
}

// find returns the repository of the upload at path.
func (s *sessions) find(path string) (repository string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.get(path)
	if !ok {
		return "", false
	}
	return u.repository, true
}

// advance notes that the upload at path goes on at another, or the same, and that the
// registry has taken n more bytes. What it says of itself counts only where not all was
// seen: it says "0-0" of one byte and of none.
func (s *sessions) advance(path, to, repository string, n int64, whole bool, ranges string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.get(path)
	if !ok {
		u = &session{repository: strings.Clone(repository)}
	}
	if u.known = u.known && whole; u.known {
		u.offset += n
	} else {
		u.offset, u.known = acknowledged(ranges)
	}
	s.byPath.Remove(path)
	s.put(to, u)
}

// doubt notes that nobody knows how much of a part the registry has kept.
func (s *sessions) doubt(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.get(path); ok {
		u.known = false
	}
}

// close ends the upload at path and tells how many bytes it had.
func (s *sessions) close(path string) (offset int64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.get(path)
	if !ok {
		return 0, false
	}
	s.byPath.Remove(path)
	return u.offset, u.known
}

// acknowledged reads how many bytes a registry has, in its header Range: "0-<last>". ok is
// false where it does not say so clearly.
func acknowledged(ranges string) (n int64, ok bool) {
	first, last, found := strings.Cut(strings.TrimPrefix(ranges, "bytes="), "-")
	end, err := strconv.ParseInt(last, 10, 62)
	if !found || first != "0" || err != nil || end <= 0 {
		return 0, false
	}
	return end + 1, true
}
