package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regcast/regcast/notifications"
)

const (
	retainEvery = time.Second
	retainStep  = 4 << 20  // bytes of chunks that one transaction deletes
	retainRows  = 256      // chunks that one transaction deletes
	vacuumStep  = 256      // pages that one transaction gives back
	probeBytes  = 64 << 10 // what a probe tries to store
)

// An old chunk is one that retention looks at.
type old struct {
	mark
	stored int64
}

// oldest lists the oldest chunks, at most retainRows.
func (a *appender) oldest() (list []old, err error) {
	err = a.db.query(context.Background(), func(r row) error {
		list = append(list, old{mark{r.uint(0), r.int(1), r.blob(2)}, r.int(3)})
		return nil
	}, "SELECT last, bytes, hash, stored FROM chunk ORDER BY first LIMIT ?", retainRows)
	return list, err
}

// makeRoom sees to it that need more bytes can be stored: on the disk beside the
// reserve, and within retention_bytes, for which it deletes the oldest chunks. It returns
// notifications.ErrFull if there is no room to be made.
func (a *appender) makeRoom(need int64) error {
	if !a.j.disk.room(uint64(need)) {
		free, _ := a.j.disk.free()
		return fmt.Errorf("%w: %d MiB are free on the disk of %s, where %d MiB have to stay free", notifications.ErrFull, free>>20, a.j.dir, a.j.disk.reserve>>20)
	}
	limit := a.j.opts.RetentionBytes
	if a.stored()+need <= limit {
		return nil
	}
	if need > limit {
		return fmt.Errorf("%w: %d bytes at once are more than retention_bytes", notifications.ErrFull, need)
	}
	// Somewhat more than is needed, so that not every commit has to delete.
	target := limit - need - min(limit/64, retainStep)
	for a.stored()+need > limit {
		list, err := a.oldest()
		if err != nil {
			return commitError(a.j.dir, err)
		}
		n := 0
		for n < len(list) && list[n].bytes-a.trimmed.bytes <= retainStep || n == 0 && len(list) > 0 {
			n++
			if a.bytes-list[n-1].bytes <= target {
				break
			}
		}
		if n == 0 {
			return fmt.Errorf("%w: no chunk to delete", errDamaged)
		}
		if n, err = a.release(list[:n]); err != nil {
			return err
		}
		if err := a.trim(list[n-1].mark); err != nil {
			return commitError(a.j.dir, err)
		}
	}
	return nil
}

// stored is how many bytes of events there are.
func (a *appender) stored() int64 { return a.bytes - a.trimmed.bytes }

// release makes every cursor let go of the chunks in list, and returns how many of them
// may be deleted. What is unsettled is evicted, unless it is required or the journal
// rather refuses new events.
func (a *appender) release(list []old) (int, error) {
	n := 0
	var refused error
	for n < len(list) && refused == nil {
		if refused = a.refusal(list[n].last); refused == nil {
			n++
		}
	}
	if n == 0 {
		return 0, refused
	}
	a.evict(list[n-1].last)
	return n, nil
}

// evict settles for all cursors what they have not up to last, loudly.
func (a *appender) evict(last uint64) {
	for _, p := range a.places {
		cut := p.evict(last)
		a.j.metrics.evicted.Add(float64(cut))
		p.evicted.add(int(cut))
	}
}

// refusal says why what is up to last must not be evicted.
func (a *appender) refusal(last uint64) error {
	for _, p := range a.places {
		if wanted, required := p.wanted(last); wanted && (required || a.j.opts.OnFull == Refuse) {
			return fmt.Errorf("%w: retention_bytes are stored, and cursor %s has not settled the oldest event yet", notifications.ErrFull, p.name)
		}
	}
	return nil
}

// trim deletes all chunks up to m, in a transaction of its own, together with what the
// cursors lost.
func (a *appender) trim(m mark) error {
	err := a.alone(func() error {
		if _, err := a.db.exec("UPDATE trimmed SET last = ?, bytes = ?, hash = ?", m.last, m.bytes, m.hash); err != nil {
			return err
		}
		if err := a.unindex(m.last); err != nil {
			return err
		}
		_, err := a.db.exec("DELETE FROM chunk WHERE first <= ?", m.last)
		return err
	})
	if err == nil {
		a.trimmed = m
		a.j.oldest.Store(m.last + 1)
	}
	return err
}

// alone writes what all cursors have settled, and what f writes, in a transaction of its
// own.
func (a *appender) alone(f func() error) error {
	changes := a.collect()
	err := a.db.transact(func() error {
		for i := range changes {
			if err := a.writeChange(&changes[i]); err != nil {
				return err
			}
		}
		return f()
	})
	if err == nil {
		a.confirm(changes)
		return nil
	}
	for i := range changes {
		changes[i].place.restore(&changes[i])
	}
	return err
}

// collect takes what all cursors have settled and is not written yet.
func (a *appender) collect() []change {
	a.mu.Lock()
	dirty := a.dirty
	a.dirty = nil
	a.mu.Unlock()
	changes := make([]change, len(dirty))
	for i, p := range dirty {
		changes[i] = p.collect()
	}
	return changes
}

// expire deletes a step of what all cursors have settled and is older than
// retention_age. It tells whether there may be more.
func (a *appender) expire(now time.Time) (more bool, err error) {
	list, err := a.oldest()
	if err != nil {
		return false, err
	}
	before := now.Add(-a.j.opts.RetentionAge).UnixMicro()
	n := 0
	for n < len(list) && a.expired(list, n, before) && list[n].bytes-a.trimmed.bytes <= retainStep {
		n++
	}
	if n == 0 {
		return false, nil
	}
	a.evict(list[n-1].last) // of retired cursors only
	return true, a.trim(list[n-1].mark)
}

// expired tells whether chunk n of list may go by age. A chunk is as old as the next one
// begins, or as it begins itself if it is the newest: that one stays, because it has what
// the next one continues.
func (a *appender) expired(list []old, n int, before int64) bool {
	if n+1 >= len(list) || list[n+1].stored >= before {
		return false
	}
	for _, p := range a.places {
		if wanted, _ := p.wanted(list[n].last); wanted {
			return false
		}
	}
	return true
}

// expireDead deletes a step of the dead letters that are older than DeadAge. It tells
// whether there may be more.
func (a *appender) expireDead(now time.Time) (more bool, err error) {
	before := now.Add(-a.j.opts.DeadAge).UnixMicro()
	_, ok, err := a.db.get("SELECT id FROM (SELECT id, buried FROM dead ORDER BY id LIMIT 1) WHERE buried < ?", before)
	if err != nil || !ok {
		return false, err
	}
	n := 0
	err = a.alone(func() error {
		a.deadChanged = true
		n, err = a.db.exec("DELETE FROM dead WHERE id IN (SELECT id FROM (SELECT id, buried FROM dead ORDER BY id LIMIT ?) WHERE buried < ?)", cutRows, before)
		return err
	})
	if err != nil {
		return false, err
	}
	a.j.metrics.cutDead.Add(float64(n))
	a.notices.expiredDead.add(n)
	return true, nil
}

// retain runs beside the appender: it has it delete what has expired and give back
// pages, in small steps; it keeps the ballast; and it tries whether a journal that
// refused events can take them again.
func (j *Journal) retain() {
	ticker := time.NewTicker(retainEvery)
	defer ticker.Stop()
	var ballast complaint
	for {
		select {
		case <-j.stopping:
			return
		case <-ticker.C:
		}
		j.stepwise("delete expired events", func(now time.Time) (bool, error) { return j.writer.expire(now) })
		j.stepwise("delete old dead letters", func(now time.Time) (bool, error) { return j.writer.expireDead(now) })
		j.stepwise("delete old attempts", func(now time.Time) (bool, error) { return j.writer.expireAttempts(now) })
		j.stepwise("shrink the file", func(time.Time) (bool, error) { return j.writer.shrink() })
		_ = j.outside(func() error { j.writer.remind(false); return nil }) // else we are closing, and Shutdown does it
		if j.writer.health() != nil {
			j.probe()
			continue
		}
		if err := j.outside(j.disk.load); ballast.news(err) && !errors.Is(err, notifications.ErrClosed) {
			j.log.Warn("no ballast", "error", err)
		}
	}
}

// stepwise has the appender run step between commits, until there is no more or the
// journal stops.
func (j *Journal) stepwise(what string, step func(time.Time) (bool, error)) {
	for more := true; more; {
		err := j.outside(func() (err error) {
			more, err = step(time.Now())
			return err
		})
		if errors.Is(err, notifications.ErrClosed) {
			return
		}
		if err != nil {
			j.log.Error(what, "error", commitError(j.dir, err))
			return
		}
	}
}

// outside has the appender run f between two commits.
func (j *Journal) outside(f func() error) error {
	r := newRequest()
	r.outside = f
	return j.writer.do(context.Background(), r)
}

// probe tries to store something, and takes it away again.
func (j *Journal) probe() {
	r := newRequest()
	r.probe = true
	r.op = func(db *conn) error {
		if _, err := db.exec("INSERT OR REPLACE INTO state (key, value) VALUES ('', zeroblob(?))", probeBytes); err != nil {
			return err
		}
		_, err := db.exec("DELETE FROM state WHERE key = ''")
		return err
	}
	_ = j.writer.do(context.Background(), r) // the appender has reported it
}

// shrink gives pages that deleting left free back to the file system, once they are a
// good part of the file. It tells whether there may be more.
func (a *appender) shrink() (more bool, err error) {
	free, _, err := a.db.get("PRAGMA freelist_count")
	if err != nil {
		return false, err
	}
	all, _, err := a.db.get("PRAGMA page_count")
	if err != nil {
		return false, err
	}
	if free.int(0) < 256 || free.int(0) < all.int(0)/4 {
		return false, nil
	}
	return true, a.db.script(context.Background(), fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumStep))
}
