package journal

import (
	"slices"
	"time"
)

// noticeEvery is how often a notice is repeated.
const noticeEvery = time.Minute

// A notice is about something that every commit may do. The first is logged at once, what
// follows as a sum once a minute.
type notice struct {
	count  uint64 // since logged
	logged time.Time
	say    func(count uint64)
}

func (n *notice) add(count int) {
	n.count += uint64(count)
	n.repeat(false)
}

// repeat logs what has come together, if it is time or this is the end.
func (n *notice) repeat(end bool) {
	if n.count == 0 || !end && time.Since(n.logged) < noticeEvery {
		return
	}
	n.say(n.count)
	n.count, n.logged = 0, time.Now()
}

// notices are the appender's.
type notices struct{ cutDead, expiredDead, cutQuarantine notice }

func (a *appender) newNotices() notices {
	removed := func(text string, args ...any) notice {
		return notice{say: func(count uint64) {
			a.j.log.Error(text, slices.Concat(args, []any{"removed", count})...)
		}}
	}
	const bound = "the oldest entries were removed to keep the bound"
	return notices{
		cutDead:       removed(bound, "table", "dead", "bytes", a.j.opts.DeadBytes),
		expiredDead:   removed("old dead letters were removed", "age", a.j.opts.DeadAge),
		cutQuarantine: removed(bound, "table", "quarantine", "bytes", a.j.opts.QuarantineBytes),
	}
}

// remind repeats the notices that are due, at the end all.
func (a *appender) remind(end bool) {
	for _, n := range []*notice{&a.notices.cutDead, &a.notices.expiredDead, &a.notices.cutQuarantine} {
		n.repeat(end)
	}
	for _, p := range a.places {
		p.evicted.repeat(end)
	}
}

// A complaint is an error that a loop may meet in every round: it is news when it begins.
type complaint struct{ last string }

func (c *complaint) news(err error) bool {
	before := c.last
	c.last = ""
	if err != nil {
		c.last = err.Error()
	}
	return c.last != "" && c.last != before
}
