package observer

import (
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxSessions bounds the uploads that are followed at a time, each in less than a
// kilobyte. Of one that was forgotten the size is not known at its end.
const maxSessions = 10_000

// sessions are the uploads under way, by the path at which they go on. The registry names
// a new one with every answer if it likes, and it may look like anything.
type sessions struct {
	mu     sync.Mutex
	byPath *simplelru.LRU[string, *session]
}

// A session is an upload.
type session struct {
	repository string
	offset     int64 // bytes that the registry has
	known      bool  // the offset is right
}

func newSessions() *sessions { return &sessions{byPath: newLRU[string, *session](maxSessions, nil)} }

// open begins an upload at path. A registry may already have taken something.
func (s *sessions) open(path, repository, ranges string) {
	offset, _ := acknowledged(ranges)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byPath.Add(strings.Clone(path), &session{strings.Clone(repository), offset, true})
}

// find returns the repository of the upload at path.
func (s *sessions) find(path string) (repository string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.byPath.Get(path)
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
	u, ok := s.byPath.Peek(path)
	if !ok {
		u = &session{repository: strings.Clone(repository)}
	}
	if u.known = u.known && whole; u.known {
		u.offset += n
	} else {
		u.offset, u.known = acknowledged(ranges)
	}
	if path != to {
		s.byPath.Remove(path)
	}
	s.byPath.Add(strings.Clone(to), u)
}

// doubt notes that nobody knows how much of a part the registry has kept.
func (s *sessions) doubt(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.byPath.Peek(path); ok {
		u.known = false
	}
}

// close ends the upload at path and tells how many bytes it had.
func (s *sessions) close(path string) (offset int64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.byPath.Peek(path)
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
