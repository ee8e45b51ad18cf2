package config

import (
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
