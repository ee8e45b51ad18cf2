package trial

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
)

// maxReceived bounds, in bytes, a body that a [Receiver] reads.
const maxReceived = 64 << 20

// ReceiverOptions tell a [Receiver] how to behave. The zero value behaves well.
type ReceiverOptions struct {
	Status    int           // the answer; 0: 200
	FailFirst int           // with this many requests, Status is given to them alone, and 200 to the rest
	Delay     time.Duration // before each answer
	Count     int           // distinct accepted events after which Done is closed; 0: never

	// Verify judges the signature of each request when it has come; its error becomes a
	// 401. nil: any is good.
	Verify func(header http.Header, body []byte) error

	// Print is given the events of each request that is answered 2xx, before it is; its
	// error becomes a 500. Refused is given a line on each that is not. Neither is called
	// twice at a time.
	Print   func(events []*notifications.Event) error
	Refused func(line string)
}

// Received says what has arrived.
type Received struct {
	Requests int
	Events   int // accepted, repeats included
	Refused  int // requests that were not answered 2xx
}

// A Receiver is a webhook consumer. It takes an envelope, or a single event, with POST at
// any path. It is made by [NewReceiver] and safe for concurrent use.
type Receiver struct {
	opts ReceiverOptions
	done chan struct{}

	mu       sync.Mutex
	received Received
	distinct map[string]struct{} // ids, at most opts.Count and those of one more request
	ended    bool
}

// NewReceiver returns a receiver. It holds nothing that needs to be closed.
func NewReceiver(opts ReceiverOptions) *Receiver {
	if opts.Status == 0 {
		opts.Status = http.StatusOK
	}
	return &Receiver{opts: opts, done: make(chan struct{}), distinct: make(map[string]struct{})}
}

// Done is closed once opts.Count distinct events were accepted. What comes later is
// answered 503.
func (r *Receiver) Done() <-chan struct{} { return r.done }

// Received says what has arrived so far.
func (r *Receiver) Received() Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.received
}

// ServeHTTP takes one request.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "events are sent with POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceived))
	if err != nil {
		code := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			code = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), code)
		return
	}
	var forged error
	if r.opts.Verify != nil {
		forged = r.opts.Verify(req.Header, body) // before any delay, which a signature might not outlive
	}
	if r.opts.Delay > 0 {
		timer := time.NewTimer(r.opts.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return
		}
	}
	code, text := r.take(body, forged)
	if code/100 != 2 {
		http.Error(w, text, code)
		return
	}
	w.WriteHeader(code)
}

// take decides on the answer to a body, which has a bad signature if forged is not nil,
// and notes what was in it.
func (r *Receiver) take(body []byte, forged error) (code int, text string) {
	found := notifications.Decode(body, &notifications.DecodeOptions{MaxEvents: maxReceived, MaxEventBytes: maxReceived})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received.Requests++
	switch code = r.answer(); {
	case r.ended:
		code, text = http.StatusServiceUnavailable, "as many events as wanted have arrived"
	case forged != nil:
		code, text = http.StatusUnauthorized, forged.Error()
	case len(found.Bad) > 0:
		code, text = http.StatusBadRequest, fmt.Sprintf("no event: %s: %s", found.Bad[0].Reason, found.Bad[0].Detail)
	case code/100 != 2:
		text = "misbehaving as told"
	case r.opts.Print != nil:
		if err := r.opts.Print(found.Events); err != nil {
			code, text = http.StatusInternalServerError, err.Error()
		}
	}
	if code/100 != 2 {
		r.received.Refused++
		if r.opts.Refused != nil {
			r.opts.Refused(fmt.Sprintf("answered %d to %d event(s): %s", code, len(found.Events), text))
		}
		return code, text
	}
	r.received.Events += len(found.Events)
	r.count(found.Events)
	return code, ""
}

// answer is the status of the request that is the latest.
func (r *Receiver) answer() int {
	if r.opts.FailFirst > 0 && r.received.Requests > r.opts.FailFirst {
		return http.StatusOK
	}
	return r.opts.Status
}

func (r *Receiver) count(events []*notifications.Event) {
	if r.opts.Count <= 0 {
		return
	}
	for _, e := range events {
		r.distinct[e.ID] = struct{}{}
	}
	if len(r.distinct) >= r.opts.Count {
		r.ended = true
		close(r.done)
	}
}
