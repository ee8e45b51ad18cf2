package endpoints

import "time"

// A State says how an endpoint is and why.
type State struct {
	Name  StateName `json:"name"`
	Cause string    `json:"cause,omitempty"` // in words, without secrets; "" if ok
	Since time.Time `json:"since,omitzero"`  // of the name; zero before the first change
	Until time.Time `json:"until,omitzero"`  // nothing is sent before; zero if nothing is held
}

// A StateName is a short fixed word for how an endpoint is: a metric label.
type StateName string

// The states. Those from throttled to suspended are holds: nothing is sent but a probe,
// the next batch, now and then, until it is answered well.
const (
	StateOK          StateName = "ok"          // the last answer accepted, or judged the event alone
	StateRetrying    StateName = "retrying"    // the last attempt failed, others go on
	StateThrottled   StateName = "throttled"   // it asked for a pause
	StateDown        StateName = "down"        // it fails again and again
	StateAuth        StateName = "auth"        // it does not accept the credential
	StateMisdirected StateName = "misdirected" // the URL or the format is wrong
	StateTLS         StateName = "tls"         // its certificate cannot be verified
	StateRejecting   StateName = "rejecting"   // it rejects every event
	StateBlocked     StateName = "blocked"     // its address must not be connected to
	StateSuspended   StateName = "suspended"   // it has failed for three days
	StatePaused      StateName = "paused"      // by a person: until Resume
	StateDisabled    StateName = "disabled"    // by a person, or because it said that it is gone: until Enable
	StateRemoved     StateName = "removed"     // no longer in the configuration; no Endpoint has it
)

// StateNames lists every [StateName], so that metrics can start at zero.
func StateNames() []StateName {
	return []StateName{
		StateOK, StateRetrying, StateThrottled, StateDown, StateAuth, StateMisdirected, StateTLS, StateRejecting,
		StateBlocked, StateSuspended, StatePaused, StateDisabled, StateRemoved,
	}
}

// passing tells whether a state may change with every event.
func passing(n StateName) bool { return n == StateOK || n == StateRetrying }

// A Snapshot is what is known about an endpoint and should outlive a restart: see
// Options.OnState and [Endpoint.Restore]. It is made for JSON.
type Snapshot struct {
	Found    State  `json:"found"`              // what its answers say
	Paused   *Order `json:"paused,omitempty"`   // nil: not paused
	Disabled *Order `json:"disabled,omitempty"` // nil: not disabled

	Probes      int       `json:"probes,omitempty"` // in a row that have failed, in the found state
	Storm       time.Time `json:"storm,omitzero"`   // since when it rejects every event; zero: it does not
	Failing     Failing   `json:"failing,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastError   string    `json:"last_error,omitempty"` // in words, without secrets
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Retried     uint64    `json:"retried,omitempty"` // attempts with a batch that was offered before
}

// An Order is what a person has set, or a receiver that says that it is gone.
type Order struct {
	Cause string    `json:"cause,omitempty"`
	Since time.Time `json:"since"`
}

// State is how the endpoint is: what was set is shown over what was found.
func (s *Snapshot) State() State {
	switch {
	case s.Disabled != nil:
		return State{Name: StateDisabled, Cause: s.Disabled.Cause, Since: s.Disabled.Since}
	case s.Paused != nil:
		return State{Name: StatePaused, Cause: s.Paused.Cause, Since: s.Paused.Since}
	default:
		return s.Found
	}
}
