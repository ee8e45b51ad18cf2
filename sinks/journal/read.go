package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regcast/regcast/sinks"
)

const (
	readEvents = 1024      // events of small chunks that are read together
	readBytes  = 512 << 10 // of their bodies
)

// newsOf returns a channel that is closed once there are newer events.
func (j *Journal) newsOf() <-chan struct{} {
	j.news.Lock()
	defer j.news.Unlock()
	return j.news.c
}

// span returns events around that sequence: from the tail, or from the file. It is nil
// if there is no such event.
func (j *Journal) span(ctx context.Context, sequence uint64) (*span, error) {
	if s := j.tail.find(sequence); s != nil {
		return s, nil
	}
	if sequence < j.oldest.Load() || sequence > j.newest.Load() {
		return nil, nil
	}
	ctx = context.WithoutCancel(ctx) // others may wait for the same chunk
	return j.chunks.get(sequence, func(sequence uint64) (s *span, err error) {
		err = j.read(ctx, func(db *conn) error {
			s, err = readSpan(ctx, db, sequence)
			return err
		})
		return s, err
	})
}

// find returns the event with that sequence, or nil.
func (j *Journal) find(ctx context.Context, sequence uint64) (*stored, error) {
	s, err := j.span(ctx, sequence)
	if s == nil || !s.has(sequence) {
		return nil, err
	}
	return &s.events[sequence-s.first], nil
}

// readSpan reads the chunk with that sequence, and those after it as long as they are
// small.
func readSpan(ctx context.Context, db *conn, sequence uint64) (*span, error) {
	var out *span
	err := db.query(ctx, func(r row) error {
		body := r.blob(3)
		if out != nil && (len(out.events)+int(r.uint(1)-r.uint(0)) >= readEvents || out.bytes+len(body) > readBytes) {
			return errStop
		}
		s, err := decodeChunk(r.uint(0), r.uint(1), r.int(2), body)
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if out == nil {
			out = s
			return nil
		}
		if s.first != out.end() {
			return fmt.Errorf("%w: chunk %d: follows event %d", errDamaged, s.first, out.end()-1)
		}
		out.events = append(out.events, s.events...)
		out.bytes += s.bytes
		return nil
	}, "SELECT first, last, stored, body FROM chunk WHERE first >= (SELECT max(first) FROM chunk WHERE first <= ?) ORDER BY first", sequence)
	if err != nil {
		return nil, err
	}
	if out == nil || !out.has(sequence) {
		return nil, nil // deleted meanwhile
	}
	return out, nil
}

// sequenceAt returns the first sequence stored at t or later, next if there is none.
func sequenceAt(db *conn, t time.Time, next uint64) (uint64, error) {
	at := t.UnixMicro()
	if t.After(t.Truncate(time.Microsecond)) {
		at++ // what is stored has no smaller parts
	}
	// The last chunk that began before t may hold it; stored never decreases, so that a
	// search by halves over the key needs no index.
	low, high := uint64(0), next // the chunk with low began before at, that with high did not
	for low+1 < high {
		middle := low + (high-low)/2
		r, ok, err := db.get("SELECT first, stored FROM chunk WHERE first >= ? ORDER BY first LIMIT 1", middle)
		switch {
		case err != nil:
			return 0, err
		case !ok || r.uint(0) >= high || r.int(1) >= at:
			if ok && r.uint(0) < high && r.int(1) >= at {
				high = r.uint(0)
			}
			if middle < high {
				high = middle
			}
		default:
			low = r.uint(0)
		}
	}
	r, ok, err := db.get("SELECT first, last, stored, body FROM chunk WHERE first <= ? ORDER BY first DESC LIMIT 1", low)
	if err != nil {
		return 0, err
	}
	if ok {
		sequence, found := r.uint(0), false
		err = scanChunk(r.blob(3), r.int(2), func(e record) error {
			if e.at >= at {
				found = true
				return errStop
			}
			sequence++
			return nil
		})
		if found {
			return sequence, nil
		}
		if err != nil && !errors.Is(err, errStop) {
			return 0, fmt.Errorf("%w: chunk %d: %w", errDamaged, r.uint(0), err)
		}
	}
	r, ok, err = db.get("SELECT first FROM chunk WHERE first > ? ORDER BY first LIMIT 1", low)
	if err != nil || !ok {
		return next, err
	}
	return r.uint(0), nil
}

func (e *stored) delivery(sequence uint64) sinks.Delivery {
	return sinks.Delivery{Event: e.event, Sequence: sequence, Stored: fromMicros(e.at), Size: e.size}
}
