package endpoints

import "context"

// Slots bound the requests in flight of all endpoints that share them. The slots of an
// endpoint that does not answer are taken for its timeout: give each far less than all of
// them by Options.Concurrency. nil means no bound. Safe for concurrent use.
type Slots struct{ taken chan struct{} }

// NewSlots returns n slots; at least one.
func NewSlots(n int) *Slots { return &Slots{make(chan struct{}, max(n, 1))} }

// InFlight is how many slots are taken.
func (s *Slots) InFlight() int {
	if s == nil {
		return 0
	}
	return len(s.taken)
}

// take waits for a slot. Its error is ctx's.
func (s *Slots) take(ctx context.Context) error {
	if s == nil {
		return nil
	}
	select {
	case s.taken <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.taken <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Slots) leave() {
	if s != nil {
		<-s.taken
	}
}
