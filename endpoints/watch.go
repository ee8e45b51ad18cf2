package endpoints

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"time"
)

// A watchedFile is a small file that is read again when it changes. It is not safe for
// concurrent use.
type watchedFile struct {
	path    string
	content []byte
	info    fs.FileInfo // of the file when content was read; nil: read it again
}

// maxWatched bounds, in bytes, the files that are watched.
const maxWatched = 1 << 20

// raceWindow is how old a file must be before its times are believed: a file system may
// give the same times to two versions that were written shortly after each other.
const raceWindow = 2 * time.Second

// load makes content what the file holds now and tells whether it is new. After an error
// content is what it was.
func (f *watchedFile) load() (changed bool, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return false, err
	}
	if f.info != nil && os.SameFile(f.info, info) && f.info.Size() == info.Size() && f.info.ModTime().Equal(info.ModTime()) {
		return false, nil
	}
	if info.Size() > maxWatched {
		return false, &fs.PathError{Op: "read", Path: f.path, Err: errors.New("file too large")}
	}
	content, err := os.ReadFile(f.path)
	if err != nil {
		return false, err
	}
	f.info = info
	if time.Since(info.ModTime()) < raceWindow {
		f.info = nil
	}
	changed = !bytes.Equal(content, f.content)
	f.content = content
	return changed, nil
}
