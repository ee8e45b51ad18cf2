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
	end := 0
	outside(path, func(i int) {
		if path[i] == '.' || path[i] == '[' {
			end = i
		}
	})
	return path[:end]
}

// plain is path without its indices: the same for all elements of a list.
func plain(path string) string {
	var b strings.Builder
	rest := 0
	outside(path, func(i int) {
		switch path[i] {
		case '[':
			b.WriteString(path[rest:i])
		case ']':
			rest = i + 1
		}
	})
	b.WriteString(path[rest:])
	return b.String()
}

// outside calls f with the place of each byte of path that is not in a quoted key.
func outside(path string, f func(i int)) {
	quoted := false
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case !quoted:
			f(i)
		}
	}
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
