package verify

import (
	"fmt"

	"github.com/regcast/regcast/notifications"
)

// Decode returns the events of a request's body in the formats distribution and
// distribution-v1, in order; there is at least one. It has no limits of its own: the body
// has one. An event with the action [notifications.ActionPing] is an operator's test, of
// something that never happened.
//
// Errors: the body is no envelope and no event, or one of its events is not sound.
func Decode(body []byte) ([]*notifications.Event, error) {
	limit := len(body) + 1
	found := notifications.Decode(body, &notifications.DecodeOptions{MaxEvents: limit, MaxEventBytes: limit})
	if len(found.Bad) > 0 {
		return nil, fmt.Errorf("no event: %s: %s", found.Bad[0].Reason, found.Bad[0].Detail)
	}
	return found.Events, nil
}
