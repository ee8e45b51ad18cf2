package sinks

import "time"

// An item is one event that [Deliver] holds.
type item struct {
	Delivery
	lane *lane
	next *item // behind it in its lane, or in the free list
	past past
}

// past is what happened to an event in batches before the present one.
type past struct {
	attempts int
	first    time.Time     // of the attempts
	held     time.Duration // see Attempt.Held
}

// A lane is the queue of one key, in order.
type lane struct {
	key        string
	head, tail *item // waiting for a batch
	waiting    int
	bytes      int   // of the waiting
	taken      int   // items in batches; the lane is blocked until there are none
	next       *lane // in the ring of ready lanes, or in the free list
}

// lanes are the queues of all keys that have events. A lane with events waiting and none
// taken is ready. Lanes are ready in turn: one that became ready goes behind the others,
// so a key with many events does not keep one with few from its turn.
type lanes struct {
	byKey       map[string]*lane
	first, last *lane // the ready ones
	readyEvents int
	readyBytes  int
	freeLanes   *lane
	freeItems   *item
	waiting     int // events in all lanes, ready or blocked
}

// add puts d at the end of its lane.
func (s *lanes) add(key string, d Delivery, p past) {
	it := s.freeItems
	if it == nil {
		it = new(item)
	} else {
		s.freeItems = it.next
	}
	l := s.byKey[key]
	if l == nil {
		l = s.newLane(key)
	}
	*it = item{Delivery: d, lane: l, past: p}
	if l.tail == nil {
		l.head = it
	} else {
		l.tail.next = it
	}
	l.tail = it
	l.waiting++
	l.bytes += d.Size
	s.waiting++
	switch {
	case l.taken > 0:
	case l.waiting == 1:
		s.ready(l)
	default:
		s.readyEvents++
		s.readyBytes += d.Size
	}
}

func (s *lanes) newLane(key string) *lane {
	l := s.freeLanes
	if l == nil {
		l = new(lane)
	} else {
		s.freeLanes = l.next
	}
	*l = lane{key: key}
	s.byKey[key] = l
	return l
}

// ready puts l at the end of the ring.
func (s *lanes) ready(l *lane) {
	if s.last == nil {
		s.first = l
	} else {
		s.last.next = l
	}
	s.last = l
	s.readyEvents += l.waiting
	s.readyBytes += l.bytes
}

// take moves events of the ready lanes into b, lane by lane, until it has maxEvents or
// another would bring it above maxBytes, and blocks those lanes. An event that was parked
// goes alone, since what it has behind it is its own.
func (s *lanes) take(b *batch, maxEvents, maxBytes int) {
	bytes, taken := 0, 0
	fits := func(it *item) bool {
		n := len(b.items)
		return n == 0 || n < maxEvents && bytes+it.Size <= maxBytes && !it.Parked && !b.items[0].Parked
	}
	for s.first != nil && fits(s.first.head) {
		l := s.first
		s.unready(l)
		taken++
		for l.head != nil && fits(l.head) {
			it := s.shift(l)
			bytes += it.Size
			b.items = append(b.items, it)
		}
	}
	if taken > 1 {
		b.sort()
	}
}

// unready takes the first lane out of the ring.
func (s *lanes) unready(l *lane) {
	s.first, l.next = l.next, nil
	if s.first == nil {
		s.last = nil
	}
	s.readyEvents -= l.waiting
	s.readyBytes -= l.bytes
}

// shift takes the first item out of l and blocks l.
func (s *lanes) shift(l *lane) *item {
	it := l.head
	l.head, it.next = it.next, nil
	if l.head == nil {
		l.tail = nil
	}
	l.waiting--
	l.taken++
	l.bytes -= it.Size
	s.waiting--
	return it
}

// leave says that it, which a batch had taken, is done with. The last one unblocks its
// lane.
func (s *lanes) leave(it *item) {
	l := it.lane
	*it = item{next: s.freeItems}
	s.freeItems = it
	l.taken--
	switch {
	case l.taken > 0:
	case l.waiting > 0:
		s.ready(l)
	default:
		delete(s.byKey, l.key)
		*l = lane{next: s.freeLanes}
		s.freeLanes = l
	}
}
