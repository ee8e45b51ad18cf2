// Package records is what an engine keeps, as operators see and change it: events and
// their stories, dead letters, what is in quarantine, and the log of what operators did.
//
// Each type answers one of the questions of an [admin.Dispatcher] and needs the engine
// alone: nothing here delivers, runs on its own or knows the configuration. [News] stands
// before the engine and tells streams of events that there is more. Who opened the engine
// shuts it down; nothing here has to be stopped.
package records
