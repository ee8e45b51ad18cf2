package observer

import (
	"hash/maphash"
	"net/url"
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
	maxAddress    = 1024 // of the address of one, in bytes
)

// sessions are the uploads under way, by the address at which they go on. The registry names
// a new one with every answer if it likes, and it may look like anything.
type sessions struct {
	seed         maphash.Seed
	mu           sync.Mutex
	byAddress    *simplelru.LRU[string, *session]
	repositories map[string]*simplelru.LRU[string, struct{}] // addresses by repository
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
	s := &sessions{seed: maphash.MakeSeed(), repositories: make(map[string]*simplelru.LRU[string, struct{}]), forgotten: forgotten}
	s.byAddress = newLRU(maxSessions, s.dropped)
	return s
}

// address is what the requests of an upload have in common: the path and, hashed, the
// parameters of the query in any order and spelling, but for the digest, which comes with
// the last of them. A registry may tell uploads apart by the query alone; one that keeps
// their state there, as distribution does, tells with it whether somebody else has gone on
// in the meantime.
func (s *sessions) address(path, query string) string {
	var sum uint64
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if key, value = unescaped(key), unescaped(value); pair != "" && key != "digest" {
			sum += maphash.Comparable(s.seed, [2]string{key, value})
		}
	}
	if sum == 0 {
		return path
	}
	return path + "?" + strconv.FormatUint(sum, 16)
}

func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// dropped removes an upload that is not followed any more from its repository.
func (s *sessions) dropped(address string, u *session) {
	addresses := s.repositories[u.repository]
	addresses.Remove(address)
	if addresses.Len() == 0 {
		delete(s.repositories, u.repository)
	}
}

// put follows an upload at address. Those that nobody has touched for long are taken for
// abandoned; what else has to make room is counted.
func (s *sessions) put(address string, u *session) {
	if len(address) > maxAddress {
		s.forgotten.Inc()
		return
	}
	u.used = time.Now()
	for {
		oldest, idle, ok := s.byAddress.GetOldest()
		if !ok || u.used.Sub(idle.used) < maxSessionAge {
			break
		}
		s.byAddress.Remove(oldest)
	}
	address = strings.Clone(address)
	s.byAddress.Remove(address)
	if addresses := s.repositories[u.repository]; addresses != nil && addresses.Len() == maxOfOne {
		oldest, _, _ := addresses.GetOldest()
		s.byAddress.Remove(oldest)
		s.forgotten.Inc()
	}
	addresses := s.repositories[u.repository]
	if addresses == nil {
		addresses = newLRU[string, struct{}](maxOfOne, nil)
		s.repositories[u.repository] = addresses
	}
	addresses.Add(address, struct{}{})
	if s.byAddress.Add(address, u) {
		s.forgotten.Inc()
	}
}

// get returns the upload at address, which is in use then, unless it is abandoned.
func (s *sessions) get(address string) (*session, bool) {
	u, ok := s.byAddress.Get(address)
	if !ok {
		return nil, false
	}
	now := time.Now()
	if now.Sub(u.used) >= maxSessionAge {
		s.byAddress.Remove(address)
		return nil, false
	}
	u.used = now
	s.repositories[u.repository].Get(address)
	return u, true
}

// open begins an upload at address. A registry may already have taken something.
func (s *sessions) open(address, repository, ranges string) {
	offset, _ := acknowledged(ranges)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(address, &session{repository: strings.Clone(repository), offset: offset, known: true})
}

// of returns the address and the repository of the upload that a request to u belongs to.
// What its query says more than the registry has said does not matter where that was
// nothing.
func (s *sessions) of(u *url.URL) (address, repository string, ok bool) {
	address = s.address(u.Path, u.RawQuery)
	if repository, ok = s.find(address); !ok && len(address) > len(u.Path) {
		address = u.Path
		repository, ok = s.find(address)
	}
	if !ok {
		return "", "", false
	}
	return address, repository, true
}

// find returns the repository of the upload at address.
func (s *sessions) find(address string) (repository string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.get(address)
	if !ok {
		return "", false
	}
	return u.repository, true
}

// advance notes that the upload at address goes on at another, or the same, and that the
// registry has taken n more bytes. What it says of itself counts only where not all was
// seen: it says "0-0" of one byte and of none.
func (s *sessions) advance(address, to, repository string, n int64, whole bool, ranges string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.get(address)
	if !ok {
		u = &session{repository: strings.Clone(repository)}
	}
	if u.known = u.known && whole; u.known {
		u.offset += n
	} else {
		u.offset, u.known = acknowledged(ranges)
	}
	s.byAddress.Remove(address)
	s.put(to, u)
}

// doubt notes that nobody knows how much of a part the registry has kept.
func (s *sessions) doubt(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.get(address); ok {
		u.known = false
	}
}

// close ends the upload at address and tells how many bytes it had.
func (s *sessions) close(address string) (offset int64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.get(address)
	if !ok {
		return 0, false
	}
	s.byAddress.Remove(address)
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
