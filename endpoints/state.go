package endpoints

import "time"

// A State says how an endpoint is and why.
type State struct {
	Name  StateName
	Cause string    // in words, without secrets; "" if ok
	Since time.Time // of the name; zero before the first change
	Until time.Time // nothing is sent before; zero if nothing is held
}

// A StateName is a short fixed word for how an endpoint is: a metric label.
type StateName string

// The states that exist now.
const (
	StateOK          StateName = "ok"          // the last answer accepted, or judged the event alone
	StateRetrying    StateName = "retrying"    // the last attempt failed, others go on
	StateThrottled   StateName = "throttled"   // it asked for a pause
	StateDown        StateName = "down"        // several attempts in a row failed: held, and probed
	StateAuth        StateName = "auth"        // it does not accept the credential: held, and probed
	StateMisdirected StateName = "misdirected" // the URL or the format is wrong: held, and probed
	StateTLS         StateName = "tls"         // its certificate cannot be verified: held, and probed
	StateDisabled    StateName = "disabled"    // by a person, or because it said that it is gone: until Enable
)

// StateNames lists every [StateName], so that metrics can start at zero.
func StateNames() []StateName {
	return []StateName{
		StateOK, StateRetrying, StateThrottled, StateDown, StateAuth, StateMisdirected, StateTLS, StateDisabled,
	}
}
