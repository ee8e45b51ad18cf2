package endpoints

import "time"

const (
	suspendAfter   = 72 * time.Hour // without a success
	suspendSpread  = 12 * time.Hour // of which so many long
	suspendWindows = 3              // parts saw failures
)

// Failing is for how long an endpoint has failed. It tells when asking it often is a
// waste: after 72 h without a success, with failures in three different 12 h of them, so
// that one failure on each of two Fridays is no such case. The zero value is an endpoint
// that does not fail.
type Failing struct {
	Since   time.Time `json:"since,omitzero"`    // the first failure since a success
	Windows int       `json:"windows,omitempty"` // of 12 h with failures
	Window  time.Time `json:"window,omitzero"`   // when the last of them began
}

// failed counts a failure at now, and tells whether it is one too many.
func (f *Failing) failed(now time.Time) bool {
	if f.Since.IsZero() {
		f.Since = now
	}
	if f.Windows == 0 || now.Sub(f.Window) >= suspendSpread {
		f.Window = now
		f.Windows++
	}
	return now.Sub(f.Since) >= suspendAfter && f.Windows >= suspendWindows
}

// succeeded forgets the failures.
func (f *Failing) succeeded() { *f = Failing{} }
