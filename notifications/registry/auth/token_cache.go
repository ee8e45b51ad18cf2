package auth

import (
	"slices"
	"sync"
	"time"
)

// A tokenCache keeps tokens until they expire, a bounded number of them.
type tokenCache struct {
	mu   sync.Mutex
	max  int
	size int
	held map[tokenKey][]token
}

func newTokenCache(bound int) *tokenCache {
	return &tokenCache{max: bound, held: make(map[tokenKey][]token)}
}

// get finds a token that allows at least what is wanted.
func (c *tokenCache) get(key tokenKey, want scopeSet, now time.Time) (token, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.held[key] {
		if now.Before(t.expires) && t.scopes.covers(want) {
			return t, true
		}
	}
	return token{}, false
}

// put keeps a token, and none that it makes superfluous.
func (c *tokenCache) put(key tokenKey, t token, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key, func(other token) bool { return !now.Before(other.expires) || t.scopes.covers(other.scopes) })
	for c.size >= c.max {
		c.evict()
	}
	c.held[key] = append(c.held[key], t)
	c.size++
}

// drop forgets a token that was refused.
func (c *tokenCache) drop(key tokenKey, t token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key, func(other token) bool { return other.value == t.value })
}

// evict makes room: what expires first goes.
func (c *tokenCache) evict() {
	var first *token
	var at tokenKey
	for key, tokens := range c.held {
		for i := range tokens {
			if first == nil || tokens[i].expires.Before(first.expires) {
				first, at = &tokens[i], key
			}
		}
	}
	value := first.value
	c.remove(at, func(other token) bool { return other.value == value })
}

func (c *tokenCache) remove(key tokenKey, unwanted func(token) bool) {
	left := slices.DeleteFunc(c.held[key], unwanted)
	c.size -= len(c.held[key]) - len(left)
	if len(left) == 0 {
		delete(c.held, key)
		return
	}
	c.held[key] = left
}
