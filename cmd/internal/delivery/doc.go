// Package delivery is what a dispatcher has at work: for each endpoint of the
// configuration a [Delivery], which is one [Flow] from the endpoint's place in the engine
// and one more for each job that delivers old events again.
//
// A [Set] holds them, changes them with the configuration, and keeps in the engine what
// has to outlive a restart: how each endpoint is, and what was removed and when. It shows
// and steers endpoints for operators. Every goroutine here belongs to a flow, to the
// keeper of states or to housekeeping, and [Set.Shutdown] joins all of them.
package delivery
