// Package replay delivers again what was delivered before or given up on: stored events
// and dead letters. Each such job is a bounded cursor of its own, and its flow is one of
// those of its endpoint's delivery, so that an outage of the endpoint is the job's too. A
// job is kept in the engine and goes on after a restart. Nothing here has to be stopped.
package replay
