package endpoints

import "time"

const (
	stormWindow = 20 // of the last events,
	stormAfter  = 10 // so many rejected are a storm: ten in a row, or half of them
)

// A storm guard tells a receiver that rejects events from one that rejects everything.
// It looks at the last events, each of which counts once: when it was accepted, or when
// it was rejected first. When half of them were rejected it rages until an event is
// accepted. The dead letters of its streak, those of the events it looks at, were a
// mistake.
type storm struct {
	last  [stormWindow]fate
	next  int       // place in last
	since time.Time // when it began to rage; zero while it does not
	ended time.Time // when it raged last
}

// A fate is what became of an event. The zero value is no event's.
type fate struct {
	sequence uint64
	rejected bool
	dead     bool // and it is a dead letter by now
}

func (s *storm) raging() bool { return !s.since.IsZero() }

// accepted counts events that were accepted, and ends the storm.
func (s *storm) accepted(events int, now time.Time) {
	if s.raging() {
		*s = storm{ended: now}
		return
	}
	for range min(events, stormWindow) {
		s.put(fate{})
	}
}

// rejected counts the event of that sequence, if this is the first time that it is
// rejected, and tells whether a storm begins with it. first says whether the sequence
// was not rejected before, and tried when it was tried first: a rejection in an earlier
// storm does not count.
func (s *storm) rejected(sequence uint64, first bool, tried, now time.Time) (begins bool) {
	if s.raging() || s.find(sequence) != nil || !first && !tried.Before(s.ended) {
		return false
	}
	s.put(fate{sequence: sequence, rejected: true})
	rejected := 0
	for i := range s.last {
		if s.last[i].rejected {
			rejected++
		}
	}
	if rejected < stormAfter {
		return false
	}
	s.since = now
	return true
}

// buried notes that the event of that sequence is a dead letter, and tells whether that
// was a mistake.
func (s *storm) buried(sequence uint64) bool {
	f := s.find(sequence)
	if f == nil || f.dead {
		return false
	}
	f.dead = true
	return s.raging()
}

// streak returns the sequences of those that are dead letters.
func (s *storm) streak() []uint64 {
	var sequences []uint64
	for i := range s.last {
		if f := &s.last[(s.next+i)%stormWindow]; f.dead {
			sequences = append(sequences, f.sequence)
		}
	}
	return sequences
}

func (s *storm) put(f fate) {
	s.last[s.next] = f
	s.next = (s.next + 1) % stormWindow
}

// find returns the fate of a rejected event that is among the last.
func (s *storm) find(sequence uint64) *fate {
	for i := range s.last {
		if f := &s.last[i]; f.rejected && f.sequence == sequence {
			return f
		}
	}
	return nil
}
