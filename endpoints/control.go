package endpoints

// State says how the endpoint is.
func (e *Endpoint) State() State {
	s := e.Snapshot()
	return s.State()
}

// Snapshot is what is known of the endpoint.
func (e *Endpoint) Snapshot() Snapshot { return e.policy.read() }

// Pause sends nothing until Resume. What is in flight goes on; what is pending stays
// pending, and the time does not count towards its age. cause is shown.
func (e *Endpoint) Pause(cause string) { e.policy.pause(cause) }

// Resume ends what Pause began. An endpoint that is held is probed at once.
func (e *Endpoint) Resume() { e.policy.resume() }

// Disable is Pause for longer: nothing is sent until Enable. cause is shown.
func (e *Endpoint) Disable(cause string) { e.policy.disable(cause) }

// Enable ends what Disable, or an endpoint that said it is gone, began. An endpoint that
// is held is probed at once.
func (e *Endpoint) Enable() { e.policy.enable() }

// InFlight is how many requests are in flight.
func (e *Endpoint) InFlight() int { return e.slots.InFlight() }

// Restore takes over what was known of an endpoint of the same name: before a restart, or
// of one that this one replaces. It is called before any Write.
func (e *Endpoint) Restore(s Snapshot) { e.policy.restore(s) }
