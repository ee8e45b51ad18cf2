package mirror

import (
	"context"
	"sync"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobs copies blobs, each of them once, begun in their order and several at a time. When
// it returns none is under way. The first error ends the others.
func (j *job) blobs(all []v1.Descriptor) error {
	left := make([]v1.Descriptor, 0, len(all))
	for _, desc := range all {
		if desc.Digest.Validate() != nil || desc.Size < 0 {
			return errManifest
		}
		if !j.blobsThere[desc.Digest] {
			j.blobsThere[desc.Digest] = true // or the job ends
			left = append(left, desc)
		}
	}
	j.total.Add(int64(len(left)))
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	c := &crew{job: j, ctx: ctx, cancel: cancel, left: left}
	c.work()
	c.hands.Wait()
	return c.err
}

// A crew copies the blobs of one bundle. Its first hand is the attempt itself, so that
// no event waits for another; the others are lent by the mirror, which has a few for all
// its events, and are given back when there is nothing left to begin.
type crew struct {
	job    *job
	ctx    context.Context
	cancel context.CancelFunc
	hands  sync.WaitGroup // those that are lent

	mu   sync.Mutex
	left []v1.Descriptor
	err  error // the first
}

// work copies one blob after the other, and lets others help where there are more.
func (c *crew) work() {
	for {
		desc, more, ok := c.next()
		if !ok {
			return
		}
		if more {
			c.hire()
		}
		if err := c.copy(desc); err != nil {
			c.fail(err)
			return
		}
	}
}

// hire borrows a hand, if the mirror has one to spare.
func (c *crew) hire() {
	spare := c.job.m.spare
	select {
	case spare <- struct{}{}:
		c.hands.Go(func() {
			defer func() { <-spare }()
			c.work()
		})
	default:
	}
}

// next is the blob to begin with now, and tells whether there is another one.
func (c *crew) next() (desc v1.Descriptor, more, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.left) == 0 {
		return v1.Descriptor{}, false, false
	}
	desc, c.left = c.left[0], c.left[1:]
	return desc, len(c.left) > 0, true
}

// fail notes an error, the first of which ends the blobs under way and those to come.
func (c *crew) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err, c.left = err, nil
	}
	c.cancel()
}

func (c *crew) copy(desc v1.Descriptor) error {
	j := c.job
	outcome, err := j.blob(c.ctx, desc)
	if err != nil {
		return err
	}
	j.m.meter.blob(outcome)
	j.m.places.note(desc.Digest, j.repository)
	j.settled.Add(1)
	j.touch()
	return nil
}
