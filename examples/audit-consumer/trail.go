package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications"
)

// An entry is a line of the audit file:
//
//	{"prev":"…","received":"2026-01-02T03:04:05Z","event":{…},"sha256":"…"}
//
// sha256 is the hash, in hex, of the line's bytes up to the comma before it, and prev that
// of the line before. So no byte can change without its line showing it, and no line
// without the next one showing it; what becomes of the last lines shows who knows the
// hash of the last one, the head.
type entry struct {
	Prev     string               `json:"prev"`
	Received time.Time            `json:"received"`
	Event    *notifications.Event `json:"event"`
}

// beginning is the head of an empty file.
var beginning = strings.Repeat("0", 2*sha256.Size)

// seal is the end of a line with this hash.
func seal(hash string) string { return `,"sha256":"` + hash + "\"}\n" }

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// appendLine appends the line of an event to dst and returns its hash.
func appendLine(dst []byte, prev string, received time.Time, e *notifications.Event) (line []byte, hash string) {
	start := len(dst)
	dst = fmt.Appendf(dst, `{"prev":%q,"received":%q,"event":`, prev, received.UTC().Format(time.RFC3339Nano))
	dst = e.AppendJSON(dst)
	hash = hashOf(dst[start:])
	return append(dst, seal(hash)...), hash
}

// readLine checks a line and returns its event and its hash.
func readLine(line []byte, prev string) (*notifications.Event, string, error) {
	end := len(line) - len(seal(beginning))
	if end < 0 {
		return nil, "", errors.New("is no entry")
	}
	hash := hashOf(line[:end])
	if string(line[end:]) != seal(hash) {
		return nil, "", errors.New("was changed: it does not have its own hash")
	}
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, "", fmt.Errorf("is no entry: %w", err)
	}
	if e.Prev != prev {
		return nil, "", errors.New("does not follow the line before: something was removed, inserted or changed there")
	}
	return e.Event, hash, nil
}

// readTrail reads lines up to the end of r, or to the first that is not sound. It returns
// how many are, how many bytes they have, the hash of the last, and how many bytes of a
// line without an end come after them.
func readTrail(r io.Reader, each func(*notifications.Event)) (lines int, size int64, head string, torn int, err error) {
	head = beginning
	for in := bufio.NewReaderSize(r, 64<<10); ; lines++ {
		line, err := in.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF):
			return lines, size, head, len(line), nil
		case err != nil:
			return lines, size, head, 0, err
		}
		e, hash, err := readLine(line, head)
		if err != nil {
			return lines, size, head, 0, fmt.Errorf("line %d %w", lines+1, err)
		}
		head, size = hash, size+int64(len(line))
		each(e)
	}
}

// verifyFile checks the whole chain of a file.
func verifyFile(path string) (lines int, head string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	lines, _, head, torn, err := readTrail(file, func(*notifications.Event) {})
	if err == nil && torn > 0 {
		err = fmt.Errorf("line %d has no end", lines+1)
	}
	if err != nil {
		return lines, head, fmt.Errorf("%s: %w", path, err)
	}
	return lines, head, nil
}

// A trail appends to an audit file. It is not safe for concurrent use.
type trail struct {
	file  *os.File
	lines int    // that are on disk
	size  int64  // of them
	head  string // the hash of the last of them
	torn  bool   // there may be a part of a line after them
}

// openTrail opens or creates the file, tells each of the events in it, and removes what a
// crash has left of a last line: nobody was told that it was stored. A file that was
// changed otherwise is an error.
func openTrail(path string, each func(*notifications.Event)) (*trail, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	t := &trail{file: file}
	var torn int
	t.lines, t.size, t.head, torn, err = readTrail(file, each)
	if err == nil && torn > 0 {
		log.Printf("%s: removing a torn last line of %d bytes, which was never acknowledged", path, torn)
		err = t.cut()
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path)) // the file may be new
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), file.Close())
	}
	return t, nil
}

// Append returns nil when the events are on disk. After an error none of them counts,
// and the next Append begins by removing what there may be of them.
func (t *trail) Append(events []*notifications.Event, received time.Time) error {
	if len(events) == 0 {
		return nil
	}
	if t.torn {
		if err := t.cut(); err != nil {
			return err
		}
	}
	var lines []byte
	head := t.head
	for _, e := range events {
		lines, head = appendLine(lines, head, received, e)
	}
	t.torn = true
	if _, err := t.file.WriteAt(lines, t.size); err != nil {
		return err
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	t.lines, t.size, t.head, t.torn = t.lines+len(events), t.size+int64(len(lines)), head, false
	return nil
}

// cut removes everything after the last line that counts.
func (t *trail) cut() error {
	if err := t.file.Truncate(t.size); err != nil {
		return err
	}
	t.torn = false
	return t.file.Sync()
}

func (t *trail) Close() error { return t.file.Close() }

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
