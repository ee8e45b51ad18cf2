package sinks

import (
	"math"
	"time"
)

// A Ledger keeps the books of one cursor: what is settled, on loan, parked or free, and
// how everything ended. The rules of [Cursor] are in it, so that an engine adds storage,
// durability, waiting and locking. Its engine numbers events without gaps, from 1.
//
//	stored since the cursor's start = sum of Totals + Pending
//
// holds at any moment. What is free is found in bitmaps, oldest first, so it makes no
// difference whether an event is new, was released or was parked. A Ledger is not safe
// for concurrent use.
//
// An engine that outlives its process stores [Ledger.Begin], the totals and the mark
// and blocks of [Ledger.Progress] together, and may store what is parked; it comes back
// with [RestoreLedger]. Loans need not be stored: an event that was on loan is neither
// settled nor parked, so it is free again, and older than anything new.
type Ledger struct {
	begin    uint64 // settled before the cursor's start
	end      uint64 // last number to lend; MaxUint64 without end
	free     uint64 // no number below it is free
	progress *Progress
	out      bitmap // on loan or parked
	onLoan   uint64 // how many
	totals   [Outcomes]uint64
	parked   map[uint64]time.Time // until when
	due      dueHeap[uint64]      // the parked by Until; entries that parked does not confirm are stale
	tries    map[uint64]tried     // of pending events that were on loan before
}

type tried struct {
	loans  int
	parked bool
}

// NewLedger returns the books of a cursor that begins after the number begin.
func NewLedger(begin uint64) *Ledger { return RestoreLedger(begin, begin, [Outcomes]uint64{}) }

// RestoreLedger returns the books of a cursor that began after begin, has settled
// everything up to low, and ended loans as totals say. Single settled numbers above low
// are added with [Progress.Restore], parked ones with [Ledger.RestoreParked], both
// before anything is lent.
func RestoreLedger(begin, low uint64, totals [Outcomes]uint64) *Ledger {
	return &Ledger{
		begin:    begin,
		end:      math.MaxUint64,
		free:     low + 1,
		progress: NewProgress(low),
		out:      bitmap{base: low / ProgressBlock},
		totals:   totals,
		parked:   make(map[uint64]time.Time),
		tries:    make(map[uint64]tried),
	}
}

// RestoreParked puts sequence, which is pending and was on loan loans times, aside
// until until.
func (l *Ledger) RestoreParked(sequence uint64, until time.Time, loans int) {
	if l.progress.Settled(sequence) || !l.out.set(sequence) {
		return
	}
	l.tries[sequence] = tried{loans: loans, parked: true}
	l.park(sequence, until)
}

// SetEnd bounds the cursor: nothing past to is lent or counted. 0 ends the bound.
func (l *Ledger) SetEnd(to uint64) {
	l.end = to
	if to == 0 {
		l.end = math.MaxUint64
	}
}

// Begin returns the number after which the cursor began.
func (l *Ledger) Begin() uint64 { return l.begin }

// Progress returns what is settled. The engine may store and restore it; it changes it
// only through the ledger.
func (l *Ledger) Progress() *Progress { return l.progress }

// Totals returns how many events were settled, by outcome.
func (l *Ledger) Totals() [Outcomes]uint64 { return l.totals }

// Next returns the oldest free number up to last, the newest that is stored, and frees
// parked ones whose time has come by now. It lends nothing: an engine that cannot read
// that event says nothing more and tries again.
func (l *Ledger) Next(now time.Time, last uint64) (sequence uint64, ok bool) {
	l.wake(now)
	n := max(l.free, l.progress.low+1)
	for last = min(last, l.end); n <= last; {
		free := ^(l.out.word(n) | l.progress.settled.word(n)) >> (n % 64)
		if free == 0 {
			n = n&^63 + 64
			continue
		}
		for ; free&1 == 0; free >>= 1 {
			n++
		}
		break
	}
	l.free = min(n, last+1)
	return n, n <= last
}

// wake frees the parked events whose time has come.
func (l *Ledger) wake(now time.Time) {
	for {
		sequence, ok := l.due.pop(now)
		if !ok {
			return
		}
		if until, parked := l.parked[sequence]; parked && !until.After(now) {
			delete(l.parked, sequence)
			l.release(sequence)
		}
	}
}

// Lend takes sequence, which [Ledger.Next] has just returned, out on loan, and returns
// how many loans of it there were before and whether it was ever parked.
func (l *Ledger) Lend(sequence uint64) (tries int, parked bool) {
	l.out.set(sequence)
	l.onLoan++
	l.free = sequence + 1
	if len(l.tries) == 0 {
		return 0, false
	}
	t := l.tries[sequence]
	return t.loans, t.parked
}

// NextDue returns when the first parked event may be lent again; ok is false if none
// is parked.
func (l *Ledger) NextDue() (at time.Time, ok bool) {
	for {
		at, ok = l.due.next()
		if !ok {
			return at, false
		}
		if until, parked := l.parked[l.due[0].v]; parked && until.Equal(at) {
			return at, true
		}
		l.due.pop(at)
	}
}

// Settle ends a loan and tells whether there was one. Evicted and Dropped are left to
// [Ledger.Cut].
func (l *Ledger) Settle(s Settlement) bool {
	if !l.OnLoan(s.Sequence) {
		return false
	}
	switch s.Outcome {
	case Delivered, Filtered, DeadLettered:
		l.onLoan--
		l.settle(s.Sequence, s.Outcome)
	case Parked, Released:
		l.onLoan--
		t := l.tries[s.Sequence]
		t.loans++
		t.parked = t.parked || s.Outcome == Parked
		l.tries[s.Sequence] = t
		if s.Outcome == Parked {
			l.park(s.Sequence, s.Until)
		} else {
			l.release(s.Sequence)
		}
	default:
		return false
	}
	return true
}

// OnLoan tells whether sequence is on loan.
func (l *Ledger) OnLoan(sequence uint64) bool {
	if sequence <= l.progress.low || !l.out.has(sequence) {
		return false
	}
	if len(l.parked) == 0 {
		return true
	}
	_, parked := l.parked[sequence]
	return !parked
}

func (l *Ledger) park(sequence uint64, until time.Time) {
	l.parked[sequence] = until
	l.due.push(until, sequence)
}

func (l *Ledger) release(sequence uint64) {
	l.out.clear(sequence)
	l.free = min(l.free, sequence)
}

func (l *Ledger) settle(sequence uint64, o Outcome) {
	l.out.clear(sequence)
	if len(l.tries) > 0 {
		delete(l.tries, sequence)
	}
	l.progress.Settle(sequence)
	l.totals[o]++
	l.out.dropBelow(l.progress.FirstBlock())
}

// Cut settles whatever is pending from first to last, on loan or not, as o, and returns
// how many that were. It serves retention (Evicted) and operators (Dropped).
func (l *Ledger) Cut(first, last uint64, o Outcome) uint64 {
	var cut uint64
	for n := max(first, l.progress.low+1); n <= min(last, l.end); n++ {
		if l.progress.Settled(n) {
			continue
		}
		if l.OnLoan(n) {
			l.onLoan--
		}
		delete(l.parked, n)
		l.settle(n, o)
		cut++
	}
	return cut
}

// Revive makes sequence, which was settled as DeadLettered, pending and free again, as one
// that later ones may have overtaken, and tells whether it did: not if the cursor begins
// after it, ends before it, or has not settled it. The engine has found its dead letter,
// and still has its event and all later ones.
func (l *Ledger) Revive(sequence uint64) bool {
	if sequence <= l.begin || sequence > l.end || l.totals[DeadLettered] == 0 || !l.progress.Unsettle(sequence) {
		return false
	}
	l.totals[DeadLettered]--
	l.tries[sequence] = tried{parked: true}
	l.free = min(l.free, sequence)
	return true
}

// ReturnAll frees everything that is on loan: its holder has gone.
func (l *Ledger) ReturnAll() {
	for i, b := range l.out.blocks {
		if b == nil {
			continue
		}
		first := (l.out.base + uint64(i)) * ProgressBlock
		for n := first; n < first+ProgressBlock; n++ {
			if b[n/64%blockWords] == 0 {
				n |= 63
				continue
			}
			if l.OnLoan(n) {
				l.Settle(Settlement{Sequence: n, Outcome: Released})
			}
		}
	}
}

// Done tells whether a bounded cursor has settled everything up to its end.
func (l *Ledger) Done() bool { return l.progress.low >= l.end }

// Floor returns the last number that the cursor has no more use for: everything up to
// it may go. A bounded cursor that is done has no use for anything.
func (l *Ledger) Floor() uint64 {
	if l.Done() {
		return math.MaxUint64
	}
	return l.progress.low
}

// Info returns what the ledger knows for a [CursorInfo]; last is the newest stored
// number. Name, OldestPending (when LowWater+1 was stored, if anything is pending) and
// Held are the engine's to add.
func (l *Ledger) Info(last uint64) CursorInfo {
	info := CursorInfo{Begin: l.begin, LowWater: l.progress.low, Parked: uint64(len(l.parked)), Totals: l.totals}
	if last = min(last, l.end); last > l.begin {
		info.Pending = last - l.begin
	}
	for _, n := range l.totals {
		info.Pending -= min(n, info.Pending)
	}
	return info
}
