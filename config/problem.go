package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	File    string // "" if it did not come from a file
	Line    int    // from 1; 0 if not known
	Path    string // of the key, such as endpoint[0].url; "" if it is about the whole file
	Message string // what is wrong and, where that is not plain, what to write
}

// String returns "file:line: key.path: message", without what is not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems are all the things that are wrong with a configuration. As an error it is
// never empty.
type Problems []Problem

// Error returns one line for each problem.
func (ps Problems) Error() string {
	text := make([]string, len(ps))
	for i, p := range ps {
		text[i] = p.String()
	}
	return strings.Join(text, "\n")
}

// Merge returns ps and those of more that are about other keys, in the order of the file.
// One mistake is told once, by whoever came first: nothing is added about a key that ps
// names, nor about a table in which it names one.
func (ps Problems) Merge(more Problems) Problems {
	known := make(map[string]bool, len(ps))
	for _, p := range ps {
		known[p.Path] = true
		if table := parent(p.Path); table != "" && !strings.HasSuffix(table, "]") {
			known[table] = true // not so a whole endpoint or token
		}
	}
	merged := slices.Clone(ps)
	for _, p := range more {
		if !known[p.Path] {
			merged = append(merged, p)
		}
	}
	merged.Sort()
	return merged
}

// Sort puts problems into the order of the file.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path))
	})
}

// err returns ps as an error, in order, or nil if there is none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	ps.Sort()
	return ps
}

// Problem returns a problem with the value at path, which is a key path as other
// problems have it, such as endpoint[0].filter.kinds. Its line is that of the key or of
// the nearest table around it.
func (c *Config) Problem(path, format string, args ...any) Problem {
	return Problem{File: c.file, Line: c.lines.of(path), Path: path, Message: fmt.Sprintf(format, args...)}
}
