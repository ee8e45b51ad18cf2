package sinks

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
	"slices"
)

// ProgressBlock is how many sequence numbers one block of a [Progress] covers.
const ProgressBlock = blockWords * 64

const blockWords = 64

// ProgressBytes is how long a block of a [Progress] is in its stored form.
const ProgressBytes = ProgressBlock / 8

// Progress is what a cursor has settled: every sequence number up to a low-water mark,
// and single ones above it. Above the mark it is a bitmap in blocks of [ProgressBlock]
// numbers: block i covers i*ProgressBlock to (i+1)*ProgressBlock-1. It takes an eighth
// of a byte per number between the mark and the highest settled one, so a single event
// that stays behind costs little. An engine that outlives its process stores the mark
// and the blocks that [Progress.Changed] yields; blocks below [Progress.FirstBlock] are
// of no more use.
//
// A Progress is not safe for concurrent use.
type Progress struct {
	low     uint64
	settled bitmap
	changed map[uint64]struct{}
}

// NewProgress returns the progress of a cursor that has settled every number up to and
// including low.
func NewProgress(low uint64) *Progress {
	return &Progress{low: low, settled: bitmap{base: low / ProgressBlock}, changed: make(map[uint64]struct{})}
}

// Low returns the low-water mark: every number up to and including it is settled, the
// next is not.
func (p *Progress) Low() uint64 { return p.low }

// FirstBlock returns the number of the first block that says more than the mark does.
func (p *Progress) FirstBlock() uint64 { return (p.low + 1) / ProgressBlock }

// Settled tells whether sequence is settled.
func (p *Progress) Settled(sequence uint64) bool {
	return sequence <= p.low || p.settled.has(sequence)
}

// Settle adds sequence, and tells whether it was new.
func (p *Progress) Settle(sequence uint64) bool {
	if sequence <= p.low || !p.settled.set(sequence) {
		return false
	}
	if sequence == p.low+1 {
		p.raise(p.settled.nextClear(sequence) - 1)
	} else {
		p.changed[sequence/ProgressBlock] = struct{}{}
	}
	return true
}

// Unsettle takes sequence out, and tells whether it was there. From below the mark it
// brings the mark down: what lies between is then in the bitmap, so it is for numbers
// whose events are still stored.
func (p *Progress) Unsettle(sequence uint64) bool {
	if sequence == 0 || !p.Settled(sequence) {
		return false
	}
	if sequence > p.low {
		p.settled.clear(sequence)
		p.changed[sequence/ProgressBlock] = struct{}{}
		return true
	}
	was := p.low
	p.low = sequence - 1
	p.settled.clear(sequence)
	p.settled.setRange(sequence+1, was)
	for i := p.FirstBlock(); i <= was/ProgressBlock; i++ {
		p.changed[i] = struct{}{}
	}
	return true
}

// Advance adds every number up to and including low, and returns how many were new.
func (p *Progress) Advance(low uint64) uint64 {
	if low <= p.low {
		return 0
	}
	added := low - p.low - p.settled.count(p.low+1, low)
	p.raise(p.settled.nextClear(low+1) - 1)
	return added
}

// raise moves the mark up. The block in which it comes to lie keeps the bits below it:
// what is at or below the mark is never asked for.
func (p *Progress) raise(low uint64) {
	was := p.FirstBlock()
	p.low = low
	first := p.FirstBlock()
	if first == was {
		return
	}
	p.settled.dropBelow(first)
	for i := range p.changed {
		if i < first {
			delete(p.changed, i)
		}
	}
}

// Changed yields the blocks that have changed since they were last yielded, with their
// number and their stored form of [ProgressBytes] bytes, which is valid until the next
// block. What was yielded counts as stored; if storing it came to nothing, call
// [Progress.Touch].
func (p *Progress) Changed() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		var form [ProgressBytes]byte
		for i := range p.changed {
			delete(p.changed, i)
			b := p.settled.block(i)
			if b == nil {
				continue
			}
			for w, word := range b {
				binary.LittleEndian.PutUint64(form[8*w:], word)
			}
			if !yield(i, form[:]) {
				return
			}
		}
	}
}

// Touch marks every block as changed.
func (p *Progress) Touch() {
	for i, b := range p.settled.blocks {
		if b != nil {
			p.changed[p.settled.base+uint64(i)] = struct{}{}
		}
	}
}

// Restore adds the numbers of a stored block. A block below [Progress.FirstBlock] is
// ignored.
func (p *Progress) Restore(block uint64, form []byte) error {
	if len(form) != ProgressBytes {
		return fmt.Errorf("block %d of a cursor: %d bytes instead of %d", block, len(form), ProgressBytes)
	}
	if block < p.FirstBlock() {
		return nil
	}
	b := p.settled.grow(block)
	for w := range b {
		b[w] |= binary.LittleEndian.Uint64(form[8*w:])
	}
	if p.settled.has(p.low + 1) {
		p.raise(p.settled.nextClear(p.low+1) - 1)
	}
	return nil
}

// bitmap is a set of numbers in blocks, from block base on. A block without any number
// may be nil.
type bitmap struct {
	base   uint64 // number of blocks[0]
	blocks []*bitmapBlock
}

type bitmapBlock [blockWords]uint64

// block returns block i, or nil if it is empty.
func (m *bitmap) block(i uint64) *bitmapBlock {
	if i < m.base || i-m.base >= uint64(len(m.blocks)) {
		return nil
	}
	return m.blocks[i-m.base]
}

// grow returns block i, made if need be.
func (m *bitmap) grow(i uint64) *bitmapBlock {
	if len(m.blocks) == 0 {
		m.base = i
	}
	if i < m.base {
		m.blocks = slices.Insert(m.blocks, 0, make([]*bitmapBlock, m.base-i)...)
		m.base = i
	}
	for i-m.base >= uint64(len(m.blocks)) {
		m.blocks = append(m.blocks, nil)
	}
	b := m.blocks[i-m.base]
	if b == nil {
		b = new(bitmapBlock)
		m.blocks[i-m.base] = b
	}
	return b
}

// word returns the 64 numbers around n: those from n&^63 on.
func (m *bitmap) word(n uint64) uint64 {
	b := m.block(n / ProgressBlock)
	if b == nil {
		return 0
	}
	return b[n/64%blockWords]
}

func (m *bitmap) has(n uint64) bool { return m.word(n)>>(n%64)&1 != 0 }

// set adds n and tells whether it was new.
func (m *bitmap) set(n uint64) bool {
	w := &m.grow(n / ProgressBlock)[n/64%blockWords]
	bit := uint64(1) << (n % 64)
	was := *w & bit
	*w |= bit
	return was == 0
}

// setRange adds the numbers from first to last.
func (m *bitmap) setRange(first, last uint64) {
	for n := first; n <= last; n = n&^63 + 64 {
		w := ^uint64(0) << (n % 64)
		if left := last - n&^63; left < 63 {
			w &= 1<<(left+1) - 1
		}
		m.grow(n / ProgressBlock)[n/64%blockWords] |= w
	}
}

// clear removes n and tells whether it was there.
func (m *bitmap) clear(n uint64) bool {
	b := m.block(n / ProgressBlock)
	if b == nil {
		return false
	}
	w, bit := &b[n/64%blockWords], uint64(1)<<(n%64)
	was := *w & bit
	*w &^= bit
	return was != 0
}

// nextClear returns the first number from n on that is not in the set.
func (m *bitmap) nextClear(n uint64) uint64 {
	for {
		free := ^m.word(n) >> (n % 64)
		if free != 0 {
			return n + uint64(bits.TrailingZeros64(free))
		}
		n = n&^63 + 64
	}
}

// count counts the numbers from first to last.
func (m *bitmap) count(first, last uint64) uint64 {
	if len(m.blocks) == 0 {
		return 0
	}
	last = min(last, (m.base+uint64(len(m.blocks)))*ProgressBlock-1)
	var sum uint64
	for n := max(first, m.base*ProgressBlock); n <= last; n = n&^63 + 64 {
		w := m.word(n) >> (n % 64)
		if left := last - n; left < 63 {
			w &= 1<<(left+1) - 1
		}
		sum += uint64(bits.OnesCount64(w))
	}
	return sum
}

// dropBelow forgets the blocks below number first.
func (m *bitmap) dropBelow(first uint64) {
	if first <= m.base {
		return
	}
	n := min(first-m.base, uint64(len(m.blocks)))
	clear(m.blocks[:n])
	m.blocks = m.blocks[n:]
	m.base = first
}
