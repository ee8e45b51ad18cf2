package journal

import (
	"errors"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A commit is one transaction in the making. The appender takes its numbers over when
// the transaction is synced.
type commit struct {
	batch   []*request
	changes []change // of cursors
	chunks  []*chunk
	added   int  // events that the window of repeats learned
	storing bool // something that needs room

	head
}

// head is where the next event goes.
type head struct {
	next   uint64 // its sequence
	bytes  int64  // chunk.bytes of the newest chunk
	hash   []byte // chunk.hash of the newest chunk
	lastAt int64  // stored time of the newest event, microseconds

	trimmed mark // the newest chunk that was deleted
}

// A mark is what is left of a deleted chunk.
type mark struct {
	last  uint64
	bytes int64
	hash  []byte
}

// commit writes batch and, with settle, what cursors have settled, tells those who wait,
// and shows the events to the cursors.
func (a *appender) commit(batch []*request, settle bool) {
	began := time.Now()
	c := a.admit(batch)
	if settle {
		c.changes = a.collect()
	}
	if a.nothing(c) {
		a.answer(c.batch, nil)
		return
	}
	if err := a.try(c); err != nil {
		a.fail(c, err)
		return
	}
	a.publish(c)
	a.j.metrics.commit.Observe(time.Since(began).Seconds())
	a.answer(c.batch, nil)
	if c.storing {
		a.report(nil) // settlements alone do not prove that events have room
	}
}

// admit begins the commit of batch. If there is no room for what it stores, and none can
// be made, those that store something are refused.
func (a *appender) admit(batch []*request) *commit {
	added := 0
	need := int64(0)
	for _, r := range batch {
		n, bytes := a.sift(r)
		added += n
		need += bytes
	}
	if need > 0 {
		if err := a.makeRoom(need); err != nil {
			a.report(err)
			a.repeats.Undo(added)
			batch, added, need = a.refuse(batch, err), 0, 0
		}
	}
	c := &commit{batch: batch, head: a.head, added: added, storing: need > 0}
	a.chunk(c)
	return c
}

// sift finds out which events of r are fresh, and returns how many and what r takes of
// the room that retention and the disk leave.
func (a *appender) sift(r *request) (fresh int, need int64) {
	at := time.UnixMicro(max(r.at, a.lastAt))
	r.receipt = notifications.Receipt{Quarantined: len(r.bad)}
	for i := range r.events {
		found := a.repeats.Add(r.keys[i], at)
		if r.fresh[i] = found != sinks.Duplicate; !r.fresh[i] {
			r.receipt.Duplicates++
			continue
		}
		if found == sinks.Conflict {
			a.j.metrics.conflicts.Inc()
		}
		fresh++
		need += int64(len(r.event(i)) + eventCost)
	}
	r.receipt.Accepted = fresh
	for i := range r.bad {
		need += int64(quarantineCost(&r.bad[i]))
	}
	if r.probe {
		need += probeBytes
	}
	return fresh, need
}

// refuse answers the requests that need room with err, and returns the others. A request
// of nothing but repeats needs none.
func (a *appender) refuse(batch []*request, err error) []*request {
	var rest []*request
	for _, r := range batch {
		if fresh, need := a.sift(r); need > 0 {
			a.repeats.Undo(fresh)
			r.done <- err
		} else {
			rest = append(rest, r)
		}
	}
	return rest
}

// chunk gives the fresh events of c their sequence numbers and puts them into chunks.
func (a *appender) chunk(c *commit) {
	var open *chunk
	left := c.added
	for _, r := range c.batch {
		for i, e := range r.events {
			if !r.fresh[i] {
				continue
			}
			if open == nil || open.full() {
				open = &chunk{first: c.next, body: a.body(len(c.chunks)), events: make([]stored, 0, min(left, chunkEvents))}
				c.chunks = append(c.chunks, open)
			}
			c.lastAt = max(r.at, c.lastAt) // the clock may have been set back
			open.add(e, r.event(i), r.prints[i], c.lastAt)
			c.next++
			left--
		}
	}
	for i, k := range c.chunks {
		if i < len(a.bodies) {
			a.bodies[i] = k.body
		}
		c.hash = chain(c.hash, k.first, k.body)
		c.bytes += k.cost()
		k.hash, k.total = c.hash, c.bytes
	}
}

// body returns an empty buffer for the body of a commit's chunk i. The first few are used
// again by the next commit: SQLite copies what it stores.
func (a *appender) body(i int) []byte {
	if i < len(a.bodies) {
		return a.bodies[i][:0]
	}
	return nil
}

// nothing tells whether there is nothing to write: all events were stored before.
func (a *appender) nothing(c *commit) bool {
	if len(c.chunks) > 0 || len(c.changes) > 0 {
		return false
	}
	for _, r := range c.batch {
		if r.op != nil || len(r.bad) > 0 {
			return false
		}
	}
	return true
}

// try writes c in one transaction. When the disk is full it tries once more without the
// ballast.
func (a *appender) try(c *commit) error {
	err := a.db.transact(func() error { return a.apply(c) })
	if code(err) == sqlite3.SQLITE_FULL && a.j.disk.drop() {
		a.j.log.Error("disk full: removed the ballast to go on settling", "dir", a.j.dir)
		err = a.db.transact(func() error { return a.apply(c) })
	}
	return err
}

func (a *appender) apply(c *commit) error {
	for _, r := range c.batch {
		if r.op != nil {
			if err := r.op(a.db); err != nil {
				return err
			}
		}
		if err := a.quarantine(r.bad); err != nil {
			return err
		}
	}
	for _, k := range c.chunks {
		_, err := a.db.exec("INSERT INTO chunk (first, last, stored, bytes, hash, prints, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
			k.first, k.first+uint64(len(k.events))-1, k.stored, k.total, k.hash, k.prints, k.body)
		if err != nil {
			return err
		}
	}
	for i := range c.changes {
		if err := a.writeChange(&c.changes[i]); err != nil {
			return err
		}
	}
	return nil
}

// fail undoes what c did in memory. Of a commit that only lacked room, what needs none
// is tried once more without the rest.
func (a *appender) fail(c *commit, err error) {
	a.repeats.Undo(c.added)
	err = commitError(a.j.dir, err)
	a.report(err)
	rest := &commit{batch: c.batch, changes: c.changes, head: a.head}
	if errors.Is(err, notifications.ErrFull) {
		rest.batch = a.refuse(c.batch, err)
		if len(rest.batch) < len(c.batch) && !a.nothing(rest) {
			err = a.try(rest)
		}
		if a.nothing(rest) || err == nil {
			a.publish(rest)
			a.answer(rest.batch, nil)
			return
		}
		err = commitError(a.j.dir, err)
	}
	for i := range rest.changes {
		rest.changes[i].place.restore(&rest.changes[i])
	}
	a.answer(rest.batch, err)
}

// commitError says in the terms of Sink what a failed transaction means.
func commitError(dir string, err error) error {
	if errors.Is(err, notifications.ErrFull) {
		return err
	}
	if code(err) == sqlite3.SQLITE_FULL {
		return fmt.Errorf("%w: commit: %w", notifications.ErrFull, err)
	}
	return fmt.Errorf("commit: %w", damaged(dir, err))
}

// publish makes what was synced the state of the journal.
func (a *appender) publish(c *commit) {
	a.head = c.head
	a.j.written.Add(2 * pageBytes)
	for _, r := range c.batch {
		if r.committed != nil {
			r.committed()
		}
	}
	a.confirm(c.changes)
	if len(c.chunks) == 0 {
		return
	}
	for _, k := range c.chunks {
		a.j.tail.push(k.span())
		a.j.written.Add(int64(len(k.body)))
	}
	a.j.announce(a.next - 1)
}

// answer tells the requests of batch what became of them.
func (a *appender) answer(batch []*request, err error) {
	for _, r := range batch {
		r.done <- err
	}
}

// report keeps err for Healthy and Accepting, and logs when it begins and when it ends.
func (a *appender) report(err error) {
	a.mu.Lock()
	before := a.failed
	a.failed = err
	a.mu.Unlock()
	switch {
	case err != nil && before == nil:
		a.j.log.Error("journal refuses events", "dir", a.j.dir, "error", err)
	case err == nil && before != nil:
		a.j.log.Info("journal takes events again", "dir", a.j.dir)
	}
}

// announce lets cursors see the events up to last.
func (j *Journal) announce(last uint64) {
	j.newest.Store(last)
	j.news.Lock()
	close(j.news.c)
	j.news.c = make(chan struct{})
	j.news.Unlock()
}
