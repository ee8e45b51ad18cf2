package observer

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"
)

// maxTags bounds the tags that are remembered, each in less than a kilobyte. For one that
// was forgotten no delete is inferred.
const maxTags = 65_536

// A tagIndex remembers what tags were last seen to name, to know which end with a manifest.
type tagIndex struct {
	mu         sync.Mutex
	recent     *simplelru.LRU[tagged, struct{}]
	repository map[string]map[string]digest.Digest // tag to digest

	seed    maphash.Seed
	changes [4096]uint64 // of tags, and of repositories as a whole, by their hashes
}

type tagged struct{ repository, tag string }

func newTagIndex() *tagIndex {
	t := &tagIndex{repository: make(map[string]map[string]digest.Digest), seed: maphash.MakeSeed()}
	t.recent = newLRU(maxTags, func(old tagged, _ struct{}) { t.drop(old) })
	return t
}

// drop forgets a tag that is recent no more.
func (t *tagIndex) drop(old tagged) {
	tags := t.repository[old.repository]
	delete(tags, old.tag)
	if len(tags) == 0 {
		delete(t.repository, old.repository)
	}
}

// generation returns a number that is another once the tag may have been changed.
func (t *tagIndex) generation(repository, tag string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum(repository, tag)
}

func (t *tagIndex) sum(repository, tag string) uint64 {
	return *t.count(repository, tag) + *t.count(repository, "")
}

// count is how often a tag was changed, with others of the same hash; of a repository if
// tag is "".
func (t *tagIndex) count(repository, tag string) *uint64 {
	h := maphash.Comparable(t.seed, tagged{repository, tag})
	return &t.changes[h%uint64(len(t.changes))]
}

// seen remembers that tag named dgst to who asked for it in a generation. If the tag may
// have been changed since, that says nothing of what it names now.
func (t *tagIndex) seen(repository, tag string, dgst digest.Digest, generation uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sum(repository, tag) == generation {
		t.put(repository, tag, dgst)
	}
}

// set remembers that tag was made to name dgst.
func (t *tagIndex) set(repository, tag string, dgst digest.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.count(repository, tag)++
	t.put(repository, tag, dgst)
}

func (t *tagIndex) put(repository, tag string, dgst digest.Digest) {
	tags := t.repository[repository]
	if tags[tag] == dgst {
		t.recent.Get(tagged{repository, tag})
		return
	}
	// The strings may be parts of larger ones.
	key := tagged{strings.Clone(repository), strings.Clone(tag)}
	t.recent.Add(key, struct{}{})
	if tags = t.repository[repository]; tags == nil { // the oldest may have been its only one
		tags = make(map[string]digest.Digest)
		t.repository[key.repository] = tags
	}
	tags[key.tag] = digest.Digest(strings.Clone(dgst.String()))
}

// named returns what tag was last seen to name, "" if that is not known.
func (t *tagIndex) named(repository, tag string) digest.Digest {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.repository[repository][tag]
}

// remove forgets one tag.
func (t *tagIndex) remove(repository, tag string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.count(repository, tag)++
	t.recent.Remove(tagged{repository, tag})
}

// removeDigest forgets the tags that name dgst, and returns them in alphabetic order.
func (t *tagIndex) removeDigest(repository string, dgst digest.Digest) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.count(repository, "")++
	var tags []string
	for tag, d := range t.repository[repository] {
		if d == dgst {
			tags = append(tags, tag)
		}
	}
	for _, tag := range tags {
		t.recent.Remove(tagged{repository, tag})
	}
	slices.Sort(tags)
	return tags
}

// removeAll forgets the tags of a repository.
func (t *tagIndex) removeAll(repository string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.count(repository, "")++
	for tag := range t.repository[repository] {
		t.recent.Remove(tagged{repository, tag})
	}
}

// newLRU returns an LRU of a fixed size.
func newLRU[K comparable, V any](size int, evicted simplelru.EvictCallback[K, V]) *simplelru.LRU[K, V] {
	lru, err := simplelru.NewLRU(size, evicted)
	if err != nil {
		panic(fmt.Sprintf("an LRU of %d: %v", size, err)) // it refuses sizes below 1 alone
	}
	return lru
}
