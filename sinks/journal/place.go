package journal

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/regcast/regcast/sinks"
)

// A place is a cursor as the journal keeps it, held or not.
type place struct {
	j    *Journal
	id   int64
	name string

	evicted notice // of the appender

	mu       sync.Mutex
	ledger   *sinks.Ledger
	required bool
	retired  bool
	holder   *cursor // nil: nobody

	// What the file does not have yet.
	dirty     bool
	dead      []*sinks.DeadLetter
	deadBytes int
	burying   []*sinks.DeadLetter // that a transaction is writing
	parked    map[uint64]time.Time

	// What the file has.
	block uint64              // the first whose row may be there
	rows  map[uint64]struct{} // of the table parked
	left  []uint64            // of rows: settled since
}

// A change is what a transaction writes of a place.
type change struct {
	place    *place
	low      uint64
	first    uint64 // block
	was      uint64 // first, before
	totals   [sinks.Outcomes]uint64
	required bool
	retired  bool
	blocks   []block
	parked   map[uint64]time.Time
	left     []uint64
	dead     []*sinks.DeadLetter
}

type block struct {
	number uint64
	bits   []byte
}

func (j *Journal) newPlace(id int64, name string, l *sinks.Ledger) *place {
	p := &place{
		j: j, id: id, name: name, ledger: l,
		parked: make(map[uint64]time.Time), rows: make(map[uint64]struct{}),
		block: l.Progress().FirstBlock(),
	}
	p.evicted.say = p.sayEvicted
	return p
}

// touch says that there is something to be written. The caller holds mu.
func (p *place) touch() {
	if !p.dirty {
		p.dirty = true
		p.j.writer.settled(p)
	}
}

// collect takes what is to be written.
func (p *place) collect() change {
	p.mu.Lock()
	defer p.mu.Unlock()
	progress := p.ledger.Progress()
	c := change{
		place: p, low: progress.Low(), first: progress.FirstBlock(), was: p.block,
		totals: p.ledger.Totals(), required: p.required, retired: p.retired,
		parked: p.parked, left: p.left, dead: p.dead,
	}
	for n, bits := range progress.Changed() {
		c.blocks = append(c.blocks, block{n, slices.Clone(bits)})
	}
	p.dirty, p.dead, p.deadBytes, p.burying, p.left = false, nil, 0, p.dead, nil
	if len(p.parked) > 0 {
		p.parked = make(map[uint64]time.Time)
	}
	return c
}

// confirm notes that c is in the file.
func (p *place) confirm(c *change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.block, p.burying = c.first, nil
	for n := range c.parked {
		p.rows[n] = struct{}{}
		if p.ledger.Progress().Settled(n) { // meanwhile
			p.left = append(p.left, n)
			p.touch()
		}
	}
	for _, n := range c.left {
		delete(p.rows, n)
	}
	if c.low > 0 && len(p.rows) > 0 && c.first != c.was {
		for n := range p.rows {
			if n <= c.low {
				delete(p.rows, n)
			}
		}
	}
}

// restore takes c back: it could not be written.
func (p *place) restore(c *change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.Progress().Touch()
	for n, until := range c.parked {
		if _, newer := p.parked[n]; !newer && !p.ledger.Progress().Settled(n) {
			p.parked[n] = until
		}
	}
	p.left = append(c.left, p.left...)
	p.dead, p.burying = append(c.dead, p.dead...), nil
	for _, d := range c.dead {
		p.deadBytes += deadCost(d)
	}
	p.touch()
}

// writeChange writes c in the current transaction.
func (a *appender) writeChange(c *change) error {
	id := c.place.id
	t := &c.totals
	_, err := a.db.exec("UPDATE cursor SET low = ?, required = ?, retired = ?, delivered = ?, filtered = ?, dead = ?, evicted = ?, dropped = ? WHERE id = ?",
		c.low, c.required, c.retired, t[sinks.Delivered], t[sinks.Filtered], t[sinks.DeadLettered], t[sinks.Evicted], t[sinks.Dropped], id)
	if err != nil {
		return err
	}
	for _, b := range c.blocks {
		if _, err := a.db.exec("INSERT OR REPLACE INTO settled (cursor, block, bits) VALUES (?, ?, ?)", id, b.number, b.bits); err != nil {
			return err
		}
	}
	if c.first != c.was {
		if _, err := a.db.exec("DELETE FROM settled WHERE cursor = ? AND block < ?", id, c.first); err != nil {
			return err
		}
		if _, err := a.db.exec("DELETE FROM parked WHERE cursor = ? AND sequence <= ?", id, c.low); err != nil {
			return err
		}
	}
	for n, until := range c.parked {
		if _, err := a.db.exec("INSERT OR REPLACE INTO parked (cursor, sequence, until) VALUES (?, ?, ?)", id, n, micros(until)); err != nil {
			return err
		}
	}
	for _, n := range c.left {
		if _, err := a.db.exec("DELETE FROM parked WHERE cursor = ? AND sequence = ?", id, n); err != nil {
			return err
		}
	}
	return a.bury(c.place.name, c.dead)
}

// wanted tells whether the cursor still needs an event up to and including last.
func (p *place) wanted(last uint64) (wanted, required bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.retired && p.ledger.Floor() < last, p.required
}

// evict settles what is pending up to last as evicted, with one record.
func (p *place) evict(last uint64) (n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.evictLocked(last)
}

func (p *place) evictLocked(last uint64) (n uint64) {
	first := p.ledger.Progress().Low() + 1
	if n = p.ledger.Cut(first, last, sinks.Evicted); n == 0 {
		return 0
	}
	p.dead = append(p.dead, &sinks.DeadLetter{
		Reason: sinks.DeadEvicted, Sequence: first, Last: last, Count: n,
		Error: "retention cut it before it was settled",
	})
	p.touch()
	if p.holder != nil {
		p.holder.signal()
	}
	return n
}

// sayEvicted logs that count events were evicted.
func (p *place) sayEvicted(count uint64) {
	p.mu.Lock()
	low, retired := p.ledger.Progress().Low(), p.retired
	p.mu.Unlock()
	level, what := slog.LevelError, "retention_bytes reached: events were cut before they were delivered"
	if retired {
		level, what = slog.LevelWarn, "events expired that only a retired cursor had not settled"
	}
	p.j.log.Log(context.Background(), level, what, "cursor", p.name, "events", count, "up_to", low)
}

// restorePlaces loads all cursors.
func (j *Journal) restorePlaces(db *conn) error {
	ctx := context.Background()
	byID := make(map[int64]*place)
	err := db.query(ctx, func(r row) error {
		var totals [sinks.Outcomes]uint64
		for i, o := range []sinks.Outcome{sinks.Delivered, sinks.Filtered, sinks.DeadLettered, sinks.Evicted, sinks.Dropped} {
			totals[o] = r.uint(6 + i)
		}
		p := j.newPlace(r.int(0), r.text(1), sinks.RestoreLedger(r.uint(2)-1, r.uint(3), totals))
		p.required, p.retired = r.int(4) != 0, r.int(5) != 0
		byID[p.id], j.places.byName[p.name] = p, p
		j.writer.places = append(j.writer.places, p)
		return nil
	}, "SELECT id, name, start, low, required, retired, delivered, filtered, dead, evicted, dropped FROM cursor")
	if err != nil {
		return fmt.Errorf("load cursors: %w", err)
	}
	err = db.query(ctx, func(r row) error {
		if p := byID[r.int(0)]; p != nil {
			return p.ledger.Progress().Restore(r.uint(1), r.blob(2))
		}
		return nil
	}, "SELECT cursor, block, bits FROM settled")
	if err != nil {
		return fmt.Errorf("load cursors: %w", err)
	}
	err = db.query(ctx, func(r row) error {
		if p := byID[r.int(0)]; p != nil {
			p.ledger.RestoreParked(r.uint(1), fromMicros(r.int(2)), 1)
			p.rows[r.uint(1)] = struct{}{}
		}
		return nil
	}, "SELECT cursor, sequence, until FROM parked")
	if err != nil {
		return fmt.Errorf("load cursors: %w", err)
	}
	return nil
}

// deadCost is what a dead letter counts for, in bytes.
func deadCost(d *sinks.DeadLetter) int {
	n := 256 + len(d.Error) + len(d.Excerpt)
	if d.Event != nil {
		n += d.Event.Size()
	}
	return n
}

// pendingDead bounds, in bytes, the dead letters of one cursor that wait for a commit.
const pendingDead = 16 << 20

// forever is past every sequence number.
const forever = math.MaxInt64
