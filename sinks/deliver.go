package sinks

import (
	"time"

	"github.com/regcast/regcast/notifications"
)

// DeliverOptions tell [Deliver] how. nil means the defaults.
type DeliverOptions struct {
	Match       Matcher                           // before batching; what it refuses is settled as Filtered. nil: everything
	Key         func(*notifications.Event) string // what order is kept within; nil: the repository's name
	Concurrency int                               // batches in flight, at most; 0: 8
	Batch       BatchOptions
	Policy      Policy        // nil: retry for ever with backoff, dead-letter what is permanent
	Window      int           // events looked at past the low-water mark; 0: 65536
	Drain       time.Duration // how long writes in flight may go on once ctx has ended; 0: 20 s
	Replay      string        // the name of the job, for Attempt.Replay

	// OnSettle is told of each group of events that was settled, after Settle has
	// returned. It must be quick and must not keep the slice. It is called from one
	// goroutine at a time.
	OnSettle func(outcome Outcome, settled []Delivery)
}

// BatchOptions bound a batch. The zero value means one event at a time.
type BatchOptions struct {
	MaxEvents int           // 0: 1
	MaxBytes  int           // of the events' wire form; 0: 1 MiB. A single larger event goes alone
	Linger    time.Duration // how long to wait for more before a batch that is not full is sent; 0: not at all
}
