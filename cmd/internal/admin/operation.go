package admin

import (
	"encoding/json"
	"time"
)

// An Operation is what an operator did, as the log keeps it.
type Operation struct {
	ID       uint64          `json:"id"` // increasing; 0 before it is stored
	At       time.Time       `json:"at"`
	Token    string          `json:"token"`              // the name of the token; "" where none is needed
	Action   string          `json:"action"`             // pause, resume, disable, enable, forget, ping, replay, dead replay, dead drop, jobs cancel, quarantine retry, quarantine drop, reload
	Endpoint string          `json:"endpoint,omitempty"` // that it was about
	Job      string          `json:"job,omitempty"`      // that it made or ended
	Request  json.RawMessage `json:"request,omitempty"`  // the body: what was selected; cut out where it is too long to keep
	Ended    time.Time       `json:"ended,omitzero"`     // zero if it never came to an end
	Count    uint64          `json:"count,omitempty"`    // of what it touched
	Error    string          `json:"error,omitempty"`    // why it failed
}

// A LogQuery asks for a page of the log.
type LogQuery struct {
	Limit int    // how many; never 0
	After uint64 // only IDs below: where the page before ended; 0 for the first page
}

// A Problem is one thing that is wrong with the configuration file.
type Problem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"` // from 1; 0 if not known
	Path    string `json:"path,omitempty"` // of the key
	Message string `json:"message"`
}
