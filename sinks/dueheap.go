package sinks

import "time"

// dueHeap keeps what waits for a time; what is due first is on top.
type dueHeap[T any] []due[T]

type due[T any] struct {
	at time.Time
	v  T
}

// next returns when the first is due.
func (h dueHeap[T]) next() (time.Time, bool) {
	if len(h) == 0 {
		return time.Time{}, false
	}
	return h[0].at, true
}

func (h *dueHeap[T]) push(at time.Time, v T) {
	*h = append(*h, due[T]{at, v})
	h.rise(len(*h) - 1)
}

// pop removes the first if it is due at now.
func (h *dueHeap[T]) pop(now time.Time) (v T, ok bool) {
	if len(*h) == 0 || (*h)[0].at.After(now) {
		return v, false
	}
	return h.remove(0), true
}

// remove removes entry i.
func (h *dueHeap[T]) remove(i int) T {
	old := *h
	v, last := old[i].v, len(old)-1
	old[i], old[last] = old[last], due[T]{}
	*h = old[:last]
	if i < last {
		h.sink(i)
		h.rise(i)
	}
	return v
}

// rise moves entry i up to its place.
func (h dueHeap[T]) rise(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].at.Before(h[parent].at) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// sink moves entry i down to its place.
func (h dueHeap[T]) sink(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].at.Before(h[first].at) {
				first = child
			}
		}
		if first == i {
			return
		}
		h[i], h[first] = h[first], h[i]
		i = first
	}
}
