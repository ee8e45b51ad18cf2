package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrNetworkFS says that the journal's folder is on a network file system, where SQLite's
// WAL does not work.
var ErrNetworkFS = errors.New("journal on a network file system")

// A disk is the file system under the journal. It keeps a ballast: a file whose only use
// is to be removed when the disk is full, because even deleting from a database needs
// room.
type disk struct {
	dir     string
	reserve uint64 // bytes that have to stay free when events are taken
	ballast int64  // bytes
	heavy   bool   // the ballast is there; owned by the appender
}

// newDisk returns the disk under dir, with the ballast that is there.
func newDisk(dir string, reserve, ballast int64) *disk {
	_, err := os.Stat(filepath.Join(dir, ballastFile))
	return &disk{dir: dir, reserve: uint64(max(reserve, 0)), ballast: ballast, heavy: err == nil}
}

func checkFS(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	if name := networkFS(dir, &st); name != "" {
		return fmt.Errorf("%w: %s is on %s; use a folder on a local disk", ErrNetworkFS, dir, name)
	}
	return nil
}

// free returns the bytes that an unprivileged process may still take.
func (d *disk) free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return 0, fmt.Errorf("look at the file system of %s: %w", d.dir, err)
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// room tells whether n more bytes fit without touching the reserve. A disk that cannot
// be asked is taken to have room: the commit itself will tell.
func (d *disk) room(n uint64) bool {
	free, err := d.free()
	return err != nil || free >= d.reserve+n
}

// load writes the ballast if it is not there and there is ample room for it.
func (d *disk) load() error {
	if d.heavy || d.ballast <= 0 {
		return nil
	}
	name := filepath.Join(d.dir, ballastFile)
	if !d.room(2 * uint64(d.ballast)) {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write ballast: %w", err)
	}
	// Written, not only allocated: some file systems compress, or allocate late.
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = byte(i * 131 >> 3)
	}
	for left := d.ballast; left > 0 && err == nil; left -= int64(len(block)) {
		_, err = f.Write(block[:min(left, int64(len(block)))])
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write ballast: %w", err), os.Remove(name))
	}
	d.heavy = true
	return nil
}

// drop removes the ballast and tells whether that made room.
func (d *disk) drop() bool {
	if !d.heavy {
		return false
	}
	d.heavy = false
	return os.Remove(filepath.Join(d.dir, ballastFile)) == nil
}
