package config

import (
	"fmt"
	"strconv"
	"strings"
)

// join is the path of a key in the table at path.
func join(path, key string) string {
	if !bare(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// index is the path of an element of the list at path, counted from 0.
func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// parent is the path of the table or list around path, "" for a key of the document.
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i > 0 {
		return path[:i]
	}
	return ""
}

// plain is path without its indices: the same for all elements of a list.
func plain(path string) string {
	var b strings.Builder
	depth := 0
	for _, r := range path {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case depth == 0:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// bare says whether TOML lets a key stand without quotes.
func bare(key string) bool {
	if key == "" {
		return false
	}
	for _, r := range key {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
			return false
		}
	}
	return true
}

// later says whether the key at path belongs to a part of regcast that does not exist
// yet. It is refused for that reason, and neither as unknown nor silently ignored.
func later(path string) bool {
	switch plain(path) {
	case "proxy", "engine.jetstream", "engine.history",
		"endpoint.signing", "endpoint.allow_cidrs", "endpoint.deny_cidrs",
		"endpoint.max_block", "endpoint.on_block", "endpoint.retry.max_age":
		return true
	}
	return false
}

// didYouMean returns a question with the key nearest to key, or "" if none is near.
func didYouMean(key string, keys []string) string {
	best, least := "", 1+len(key)/3
	for _, k := range keys {
		if n := distance(strings.ToLower(key), k); n <= least {
			best, least = k, n-1
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance counts the letters to change, add, leave out or swap with their neighbour to
// get from a to b.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
