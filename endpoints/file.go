package endpoints

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/regcast/regcast/notifications"
)

const (
	maxFileKeep = 1000
	maxKept     = 1 << 20 // bytes of buffer kept between batches
)

// A file keeps events as JSON lines. They are on disk when send returns. When the file
// would grow over its bound it is renamed to path.1, what had that name to path.2, and
// so on; the oldest is removed, and the log says with how many events. A file that someone
// else has moved away is begun anew. One that others may read or write is taken from them.
//
// What a crash has cut in the middle of a line stays, and ends with a line break: the
// event was not acknowledged and comes again as a line of its own.
type file struct {
	path     string
	format   format
	maxBytes int64
	keep     int
	logger   *slog.Logger

	mu     sync.Mutex
	f      *os.File // nil: opened by the next send
	size   int64    // of what is acknowledged
	buf    []byte
	closed bool
}

func newFile(path string, o *Options) *file {
	return &file{path: path, format: formatOf(o.Format), maxBytes: o.FileMaxBytes, keep: o.FileKeep, logger: o.Logger}
}

func (l *file) send(_ context.Context, batch []*notifications.Event) (answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return answer{}, notifications.ErrClosed
	}
	if len(batch) == 0 {
		return answer{}, nil
	}
	l.buf = l.buf[:0]
	for _, e := range batch {
		l.buf = append(l.format.appendEvent(l.buf, e), '\n')
	}
	if err := l.append(l.buf); err != nil {
		return answer{}, &DeliveryError{URL: urlFilePrefix + l.path, Class: Transient, Fault: FaultLocal, Err: err}
	}
	if cap(l.buf) > maxKept {
		l.buf = nil
	}
	return answer{}, nil
}

func (l *file) append(lines []byte) error {
	if err := l.open(); err != nil {
		return err
	}
	if l.size > 0 && l.size+int64(len(lines)) > l.maxBytes {
		if err := l.rotate(); err != nil {
			return fmt.Errorf("rotating: %w", err)
		}
	}
	_, err := l.f.Write(lines)
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		// Begin anew with what was acknowledged before: half of a batch is of no use.
		return errors.Join(err, l.f.Truncate(l.size), l.close())
	}
	l.size += int64(len(lines))
	return nil
}

// open makes f the file at path, ready for a new line.
func (l *file) open() error {
	if l.f != nil {
		if l.inPlace() {
			return nil
		}
		if err := l.close(); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := endLine(f)
	if err == nil {
		err = errors.Join(ownersOnly(f), syncDir(l.path)) // the name is as durable as the content
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.size = f, size
	return nil
}

// ownersOnly gives f mode 0600 if others may do anything with it: it was there before us.
func ownersOnly(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	return f.Chmod(0o600)
}

// inPlace tells whether f is still what is at path.
func (l *file) inPlace() bool {
	there, err := os.Stat(l.path)
	if err != nil {
		return false
	}
	ours, err := l.f.Stat()
	return err == nil && os.SameFile(there, ours)
}

// endLine makes sure that f ends with a line break, and returns its size.
func endLine(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, &fs.PathError{Op: "open", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	size := info.Size()
	if size == 0 {
		return 0, nil
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil {
		return 0, err
	}
	if last[0] == '\n' {
		return size, nil
	}
	if _, err := f.Write([]byte{'\n'}); err != nil {
		return 0, err
	}
	return size + 1, nil
}

func (l *file) rotate() error {
	if err := l.close(); err != nil {
		return err
	}
	l.sayLost(l.rotated(l.keep))
	for n := l.keep - 1; n >= 1; n-- {
		err := os.Rename(l.rotated(n), l.rotated(n+1))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(l.path, l.rotated(1)); err != nil {
		return err
	}
	return l.open()
}

// sayLost logs that the file at path, if there is one, is about to be removed.
func (l *file) sayLost(path string) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	events := 0
	if err == nil {
		events, err = countLines(f)
		err = errors.Join(err, f.Close())
	}
	if err != nil { // it goes all the same
		l.logger.Warn("removing the oldest rotated file", "file", path, "error", err)
		return
	}
	l.logger.Warn("removing the oldest rotated file", "file", path, "events", events)
}

func countLines(r io.Reader) (lines int, err error) {
	block := make([]byte, 64<<10)
	for {
		n, err := r.Read(block)
		lines += bytes.Count(block[:n], []byte{'\n'})
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
	}
}

func (l *file) rotated(n int) string { return l.path + "." + strconv.Itoa(n) }

func (l *file) close() error {
	f := l.f
	l.f = nil
	return f.Close()
}

// Shutdown closes the file.
func (l *file) Shutdown(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.f == nil {
		return nil
	}
	return l.close()
}

func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
