package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
)

const (
	// sendTimeout is how long one POST may take.
	sendTimeout = 30 * time.Second
	// maxAnswer bounds, in bytes, what is read of an answer.
	maxAnswer = 4 << 10
)

// SendOptions tell [Send] where to and how.
type SendOptions struct {
	URL         string
	Token       string           // sent as a bearer token; "": none
	UserAgent   string           // of the requests
	Concurrency int              // requests in flight; 0: 1
	Batch       int              // events per request; 0: 1
	Rate        float64          // events per second at most; 0: as fast as it goes
	Progress    func(events int) // told of each request's events when it ends; safe for concurrent use. May be nil
}

// Sent says what became of the events.
type Sent struct {
	Accepted    int // by an answer 2xx, less those below
	Duplicates  int // as regcast's intake counts them
	Quarantined int
	Failed      int // in requests that were not answered 2xx
	Took        time.Duration
}

// Total is the number of events that were sent.
func (s Sent) Total() int { return s.Accepted + s.Duplicates + s.Quarantined + s.Failed }

// Rate is how many events were sent per second.
func (s Sent) Rate() float64 {
	if s.Took <= 0 {
		return 0
	}
	return float64(s.Total()) / s.Took.Seconds()
}

// Send posts the events of source, in their order if opts.Concurrency is 1, and returns
// when all are answered. A request that fails is counted and not repeated. When ctx ends
// nothing more is sent; what is under way is waited for.
// Errors: that of source, ctx's, and else the first of a request.
func Send(ctx context.Context, source iter.Seq2[*notifications.Event, error], opts SendOptions) (Sent, error) {
	opts.Concurrency, opts.Batch = max(opts.Concurrency, 1), max(opts.Batch, 1)
	s := &sender{opts: opts, client: &http.Client{
		Timeout:   sendTimeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: opts.Concurrency},
		// A redirect would turn the POST into a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	defer s.client.CloseIdleConnections()

	start := time.Now()
	batches := make(chan []*notifications.Event)
	var workers sync.WaitGroup
	for range opts.Concurrency {
		workers.Go(func() {
			for batch := range batches {
				s.send(context.WithoutCancel(ctx), batch)
			}
		})
	}
	err := s.deal(ctx, source, batches)
	close(batches)
	workers.Wait()
	s.sent.Took = time.Since(start)
	if err == nil {
		err = s.err
	}
	return s.sent, err
}

type sender struct {
	opts   SendOptions
	client *http.Client

	mu   sync.Mutex
	sent Sent
	err  error // the first of a request
}

// deal gathers batches and hands them to the workers, at the rate that was asked for.
func (s *sender) deal(ctx context.Context, source iter.Seq2[*notifications.Event, error], batches chan<- []*notifications.Event) error {
	start, dealt := time.Now(), 0
	hand := func(batch []*notifications.Event) error {
		if s.opts.Rate > 0 {
			due := start.Add(time.Duration(float64(dealt) / s.opts.Rate * float64(time.Second)))
			if err := waitUntil(ctx, due); err != nil {
				return err
			}
		}
		dealt += len(batch)
		select {
		case batches <- batch:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var batch []*notifications.Event
	for e, err := range source {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if batch = append(batch, e); len(batch) == s.opts.Batch {
			if err := hand(batch); err != nil {
				return err
			}
			batch = nil // the worker has it
		}
	}
	if len(batch) > 0 {
		return hand(batch)
	}
	return nil
}

func waitUntil(ctx context.Context, due time.Time) error {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send posts one batch and counts what became of it.
func (s *sender) send(ctx context.Context, batch []*notifications.Event) {
	receipt, err := s.post(ctx, batch)
	s.mu.Lock()
	if err != nil {
		s.sent.Failed += len(batch)
		if s.err == nil {
			s.err = err
		}
	}
	s.sent.Accepted += receipt.Accepted
	s.sent.Duplicates += receipt.Duplicates
	s.sent.Quarantined += receipt.Quarantined
	s.mu.Unlock()
	if s.opts.Progress != nil {
		s.opts.Progress(len(batch))
	}
}

func (s *sender) post(ctx context.Context, batch []*notifications.Event) (notifications.Receipt, error) {
	var none notifications.Receipt
	body := notifications.AppendEnvelope(nil, batch)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.opts.URL, bytes.NewReader(body))
	if err != nil {
		return none, err
	}
	req.Header.Set("Content-Type", notifications.MediaTypeV2)
	req.Header.Set("User-Agent", s.opts.UserAgent)
	if s.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.opts.Token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return none, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return none, fmt.Errorf("reading the answer of %s: %w", s.opts.URL, err)
	}
	if resp.StatusCode/100 != 2 {
		text, _, _ := bytes.Cut(bytes.TrimSpace(answer), []byte("\n"))
		return none, fmt.Errorf("answered %s: %.200q", resp.Status, text)
	}
	return receiptOf(answer, len(batch)), nil
}

// receiptOf reads the counts of regcast's intake. Another receiver's 2xx means that it
// has accepted all.
func receiptOf(answer []byte, events int) notifications.Receipt {
	var counts struct{ Accepted, Duplicates, Quarantined *int }
	if json.Unmarshal(answer, &counts) != nil || counts.Accepted == nil || counts.Duplicates == nil || counts.Quarantined == nil {
		return notifications.Receipt{Accepted: events}
	}
	return notifications.Receipt{Accepted: *counts.Accepted, Duplicates: *counts.Duplicates, Quarantined: *counts.Quarantined}
}
