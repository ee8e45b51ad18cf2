package endpoints

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
)

// A Secret returns a value that must not be shown. It is asked at every attempt, so that
// a rotated value is used at once. It is safe for concurrent use, and its errors do not
// show the value.
type Secret func() (string, error)

// String hides the value from logs and error messages.
func (Secret) String() string { return "<secret>" }

// GoString hides the value from %#v.
func (Secret) GoString() string { return "<secret>" }

// SecretString is a secret that does not change.
func SecretString(s string) Secret {
	return func() (string, error) { return s, nil }
}

// SecretFile is the content of the file at path, at most 1 MiB, without the white space
// around it. The file is read again when it changes. An empty file is an error, as is one
// that cannot be read.
func SecretFile(path string) Secret {
	f := &secretFile{file: watchedFile{path: path}}
	return f.read
}

type secretFile struct {
	mu    sync.Mutex
	file  watchedFile
	value string
}

func (f *secretFile) read() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed, err := f.file.load()
	if err != nil {
		return "", err
	}
	if changed {
		f.value = strings.TrimSpace(string(f.file.content))
	}
	if f.value == "" {
		return "", &fs.PathError{Op: "read", Path: f.file.path, Err: errors.New("no secret in it")}
	}
	return f.value, nil
}
