package config

import "strings"

// lines are the lines of a TOML document on which its keys are, by key path.
type lines map[string]int

// of returns the line of the key at path or, if it is not in the document, of the
// nearest table around it; 0 if there is none.
func (l lines) of(path string) int {
	for ; path != ""; path = parent(path) {
		if n, ok := l[path]; ok {
			return n
		}
	}
	return 0
}

// maxDepth bounds how deep lists and inline tables are looked into; no key that exists
// is as deep.
const maxDepth = 8

// locate finds the lines of all keys. The toml package tells positions only in its
// errors. text is known to be TOML, so that all there is to see here is where
// keys begin and values end; a text that is not gives fewer lines, and no error.
func locate(text string) lines {
	l := locator{text: text, line: 1, found: lines{}, tables: map[string]int{}}
	table := ""
	for l.space(); !l.done(); l.space() {
		begin := l.at
		switch {
		case l.skip("[["):
			table = l.header(true)
			l.skip("]]")
		case l.skip("["):
			table = l.header(false)
			l.skip("]")
		default:
			l.pair(table, 0)
		}
		if l.at == begin {
			l.step()
		}
	}
	return l.found
}

type locator struct {
	text   string
	at     int // offset in text
	line   int // of at
	found  lines
	tables map[string]int // how many tables an array of tables has so far
}

func (l *locator) done() bool { return l.at >= len(l.text) }

func (l *locator) step() {
	if l.text[l.at] == '\n' {
		l.line++
	}
	l.at++
}

// skip goes past s if it comes next.
func (l *locator) skip(s string) bool {
	if !strings.HasPrefix(l.text[l.at:], s) {
		return false
	}
	for range len(s) {
		l.step()
	}
	return true
}

// until goes to the next byte out of set, or to the end.
func (l *locator) until(set string) {
	for !l.done() && strings.IndexByte(set, l.text[l.at]) < 0 {
		l.step()
	}
}

// space goes past white space, line ends and comments.
func (l *locator) space() {
	for !l.done() {
		switch l.text[l.at] {
		case ' ', '\t', '\r', '\n':
			l.step()
		case '#':
			l.until("\n")
		default:
			return
		}
	}
}

func (l *locator) blanks() {
	for l.skip(" ") || l.skip("\t") {
	}
}

func (l *locator) record(path string) {
	if _, ok := l.found[path]; !ok {
		l.found[path] = l.line
	}
}

// header reads the name of a table, or of one more table in an array of them, and
// returns its path.
func (l *locator) header(array bool) string {
	keys, path := l.key(), ""
	for i, key := range keys {
		path = join(path, key)
		if array && i == len(keys)-1 {
			l.tables[path]++
		}
		if n := l.tables[path]; n > 0 {
			l.record(path)
			path = index(path, n-1)
		}
		l.record(path)
	}
	return path
}

// pair goes past a key and its value.
func (l *locator) pair(table string, depth int) {
	path := table
	for _, key := range l.key() {
		path = join(path, key)
		l.record(path)
	}
	l.skip("=")
	l.blanks()
	l.value(path, depth)
}

// key goes past a key and returns its parts. Escapes in it stay as they are: such a key
// is not one of ours.
func (l *locator) key() []string {
	var parts []string
	for {
		l.blanks()
		begin := l.at
		if !l.done() && (l.text[l.at] == '"' || l.text[l.at] == '\'') {
			quoted := l.str()
			parts = append(parts, quoted[1:max(1, len(quoted)-1)])
		} else {
			l.until(" \t\r\n.=[]{},#\"'")
			if l.at == begin {
				return parts
			}
			parts = append(parts, l.text[begin:l.at])
		}
		l.blanks()
		if !l.skip(".") {
			return parts
		}
	}
}

// value goes past a value and records the keys in it.
func (l *locator) value(path string, depth int) {
	if l.done() {
		return
	}
	switch l.text[l.at] {
	case '"', '\'':
		l.str()
	case '[':
		l.group(']', func(i int) { l.value(index(path, i), depth+1) }, path, depth)
	case '{':
		l.group('}', func(int) { l.pair(path, depth+1) }, path, depth)
	default:
		l.until(",]}#\r\n")
	}
}

// group goes past a list or an inline table, member by member.
func (l *locator) group(end byte, member func(i int), path string, depth int) {
	if depth >= maxDepth {
		l.at = len(l.text) // not a configuration; what is found by now will do
		return
	}
	l.step()
	for i := 0; ; i++ {
		l.space()
		if l.done() || l.text[l.at] == end {
			break
		}
		begin := l.at
		if end == ']' {
			l.record(index(path, i))
		}
		member(i)
		l.space()
		l.skip(",")
		if l.at == begin {
			break
		}
	}
	if !l.done() {
		l.step()
	}
}

// str goes past a string and returns it with its quotes.
func (l *locator) str() string {
	begin := l.at
	quote := l.text[l.at : l.at+1]
	if l.skip(quote + quote + quote) {
		l.closing(quote+quote+quote, quote == `"`)
		for l.skip(quote) { // up to two quotes may stand before the closing ones
		}
	} else {
		l.step()
		l.closing(quote, quote == `"`)
	}
	return l.text[begin:l.at]
}

// closing goes past the next closing quotes.
func (l *locator) closing(quotes string, escapes bool) {
	for !l.done() && !l.skip(quotes) {
		if escapes && l.text[l.at] == '\\' {
			l.step()
		}
		if !l.done() {
			l.step()
		}
	}
}
