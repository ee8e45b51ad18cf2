package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/regcast/regcast/sinks"
)

const (
	historyEvery = time.Second
	historyStep  = 128     // attempts that one transaction writes
	historyBytes = 8 << 20 // of attempts that wait to be written; more are dropped
	historyCut   = 512     // attempts that one transaction deletes
)

var _ sinks.History = (*Journal)(nil)

// A history is the attempts that wait to be written.
type history struct {
	mu      sync.Mutex
	waiting []sinks.AttemptRecord
	bytes   int

	writing sync.Mutex // held by the one who writes
	total   int64      // attempt.bytes of the newest row; of the appender
}

// RecordAttempts keeps attempts in memory, from where they are written once a second in
// small steps between commits, without a sync: that comes with the next commit.
func (j *Journal) RecordAttempts(attempts ...sinks.AttemptRecord) {
	h := &j.history
	dropped := 0
	h.mu.Lock()
	for i := range attempts {
		a := &attempts[i]
		if len(a.Sequences) == 0 || !j.opts.History.Keeps(a) {
			continue
		}
		cost := attemptCost(a)
		if h.bytes+cost > historyBytes {
			dropped++
			continue
		}
		h.bytes += cost
		h.waiting = append(h.waiting, *a)
	}
	h.mu.Unlock()
	j.metrics.droppedAttempts.Add(float64(dropped))
}

// attemptCost is what an attempt counts for, in bytes.
func attemptCost(a *sinks.AttemptRecord) int {
	return 128 + 3*len(a.Sequences) + len(a.Endpoint) + len(a.Fault) + len(a.Error) + min(len(a.Excerpt), sinks.MaxExcerpt) + len(a.Replay)
}

// take returns what waits.
func (h *history) take() []sinks.AttemptRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.waiting
	h.waiting, h.bytes = nil, 0
	return list
}

// remember runs beside the appender and has it write attempts.
func (j *Journal) remember() {
	ticker := time.NewTicker(historyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-j.stopping:
			return
		case <-ticker.C:
		}
		if j.writer.health() != nil {
			continue // there is no room, or worse
		}
		if err := j.flushHistory(); err != nil && j.open(context.Background()) == nil {
			j.log.Warn("write history", "error", err)
		}
	}
}

// flushHistory writes what waits, in steps. What cannot be written is dropped.
func (j *Journal) flushHistory() error {
	j.history.writing.Lock()
	defer j.history.writing.Unlock()
	var errs []error
	for step := range slices.Chunk(j.history.take(), historyStep) {
		err := j.outside(func() error { return j.writer.unsynced(func() error { return j.writer.addAttempts(step) }) })
		if err != nil {
			j.metrics.droppedAttempts.Add(float64(len(step)))
			errs = append(errs, commitError(j.dir, err))
		}
	}
	return errors.Join(errs...)
}

// lastHistory writes what still waits when the appender has ended.
func (j *Journal) lastHistory() error {
	list := j.history.take()
	if len(list) == 0 || j.writer.health() != nil {
		return nil
	}
	err := j.writer.unsynced(func() error { return j.writer.addAttempts(list) })
	if err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// unsynced runs f in a transaction that is synced with the next one.
func (a *appender) unsynced(f func() error) error {
	if err := a.db.script(context.Background(), "PRAGMA synchronous(normal)"); err != nil {
		return err
	}
	err := a.db.transact(f)
	return errors.Join(err, a.db.script(context.Background(), "PRAGMA synchronous(full)"))
}

// addAttempts stores list in the current transaction.
func (a *appender) addAttempts(list []sinks.AttemptRecord) error {
	total := a.j.history.total
	for i := range list {
		r := &list[i]
		first, last := r.Sequences[0], r.Sequences[len(r.Sequences)-1]
		total += int64(attemptCost(r))
		_, err := a.db.exec(`INSERT INTO attempt (endpoint, at, first, last, width, sequences, number, status, fault, duration, error, excerpt, replay, bytes)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			r.Endpoint, micros(r.At), first, last, bits.Len64(last-first), packSequences(r.Sequences), r.Number, r.Status, r.Fault,
			r.Duration.Microseconds(), r.Error, r.Excerpt[:min(len(r.Excerpt), sinks.MaxExcerpt)], r.Replay, total)
		if err != nil {
			return err
		}
	}
	a.j.history.total = total
	a.j.written.Add(int64(len(list)) * 256)
	return nil
}

// packSequences makes the column attempt.sequences of increasing sequences.
func packSequences(sequences []uint64) []byte {
	var packed []byte
	for i := 1; i < len(sequences)-1; i++ {
		packed = binary.AppendUvarint(packed, sequences[i]-sequences[i-1])
	}
	return packed
}

// unpackSequences reads first, the column attempt.sequences, and last.
func unpackSequences(first, last uint64, packed []byte) ([]uint64, error) {
	sequences := []uint64{first}
	r := reader{rest: packed}
	for at := first; len(r.rest) > 0; {
		at += r.uvarint()
		if r.bad || at >= last {
			return nil, errDamaged
		}
		sequences = append(sequences, at)
	}
	if last != first {
		sequences = append(sequences, last)
	}
	return sequences, nil
}

// expireAttempts deletes a step of the attempts that are too old or too much, and tells
// whether there may be more.
func (a *appender) expireAttempts(now time.Time) (more bool, err error) {
	over := a.j.history.total - a.j.opts.HistoryBytes // rows up to that many bytes have to go
	before := now.Add(-sinks.HistoryAge).UnixMicro()
	var last uint64
	n, cut := 0, 0
	err = a.db.query(context.Background(), func(r row) error {
		switch {
		case r.int(2) < before:
		case r.int(1) <= over:
			cut++
		default:
			return errStop
		}
		n, last = n+1, r.uint(0)
		return nil
	}, "SELECT id, bytes, at FROM attempt ORDER BY id LIMIT ?", historyCut)
	if err != nil || n == 0 {
		return false, err
	}
	err = a.unsynced(func() error {
		_, err := a.db.exec("DELETE FROM attempt WHERE id <= ?", last)
		return err
	})
	if err == nil {
		a.j.metrics.cutAttempts.Add(float64(cut))
	}
	return n == historyCut, err
}

const attemptColumns = "SELECT id, endpoint, at, first, last, sequences, number, status, fault, duration, error, excerpt, replay FROM attempt "

// Attempts lists attempts; those with one event are found by an index.
func (j *Journal) Attempts(ctx context.Context, q sinks.AttemptQuery) (list []sinks.AttemptRecord, err error) {
	if q.Limit <= 0 {
		q.Limit = defaultList
	}
	if j.writer.health() == nil {
		err = j.flushHistory()
	}
	if err == nil {
		err = j.read(ctx, func(db *conn) error {
			if q.Sequence != 0 {
				list, err = attemptsWith(ctx, db, &q)
			} else {
				list, err = attempts(ctx, db, &q)
			}
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("list attempts: %w", err)
	}
	return list, nil
}

// attempts lists what q selects, which is not about one event.
func attempts(ctx context.Context, db *conn, q *sinks.AttemptQuery) (list []sinks.AttemptRecord, err error) {
	const where = "AND (?2 = '' OR endpoint = ?2) AND (NOT ?3 OR fault <> '' OR error <> '') "
	query := attemptColumns + "WHERE id < ?1 " + where + "ORDER BY id DESC LIMIT ?4"
	after := min(q.After, forever)
	switch {
	case q.OldestFirst:
		query = attemptColumns + "WHERE id > ?1 " + where + "ORDER BY id LIMIT ?4"
	case after == 0:
		after = forever
	}
	err = db.query(ctx, func(r row) error {
		a, err := attemptOf(r)
		list = append(list, a)
		return err
	}, query, after, q.Endpoint, q.Failures, q.Limit)
	return list, err
}

// attemptsWith lists what q selects, which is about one event.
func attemptsWith(ctx context.Context, db *conn, q *sinks.AttemptQuery) (list []sinks.AttemptRecord, err error) {
	r, _, err := db.get("SELECT max(width) FROM attempt")
	if err != nil {
		return nil, err
	}
	for width := range r.int(0) + 1 {
		lowest := q.Sequence - min(q.Sequence, uint64(1)<<width-1)
		err := db.query(ctx, func(r row) error {
			a, err := attemptOf(r)
			after := q.After == 0 || q.OldestFirst && a.ID > q.After || !q.OldestFirst && a.ID < q.After
			if err == nil && after && q.Match(&a) {
				list = append(list, a)
			}
			return err
		}, attemptColumns+"WHERE width = ?1 AND first BETWEEN ?2 AND ?3 AND last >= ?3", width, lowest, q.Sequence)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b sinks.AttemptRecord) int {
		if q.OldestFirst {
			return int(a.ID) - int(b.ID)
		}
		return int(b.ID) - int(a.ID)
	})
	return list[:min(len(list), q.Limit)], nil
}

func attemptOf(r row) (sinks.AttemptRecord, error) {
	a := sinks.AttemptRecord{
		ID: r.uint(0), Endpoint: r.text(1), At: fromMicros(r.int(2)), Number: int(r.int(6)), Status: int(r.int(7)), Fault: r.text(8),
		Duration: time.Duration(r.int(9)) * time.Microsecond, Error: r.text(10), Excerpt: r.blob(11), Replay: r.text(12),
	}
	var err error
	if a.Sequences, err = unpackSequences(r.uint(3), r.uint(4), r.blob(5)); err != nil {
		return a, fmt.Errorf("%w: attempt %d", err, a.ID)
	}
	return a, nil
}
