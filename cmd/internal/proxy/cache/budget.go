package cache

import "sync/atomic"

// maxHeld bounds the bytes of all answers that are held at one time: those that are held
// back until they are whole, and copies of what another process keeps. Of some the client
// does not read, and the next may be many: what has no room is passed on as it comes.
const maxHeld = 64 << 20

// A budget is what is left of a bound on bytes.
type budget struct{ left atomic.Int64 }

func newBudget(n int64) *budget {
	b := &budget{}
	b.left.Store(n)
	return b
}

// take takes n bytes if they are there.
func (b *budget) take(n int) bool {
	if b.left.Add(-int64(n)) < 0 {
		b.give(n)
		return false
	}
	return true
}

// give gives n bytes back.
func (b *budget) give(n int) { b.left.Add(int64(n)) }
