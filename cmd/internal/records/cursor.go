package records

import "strings"

// JobCursor names the cursor of a job: an endpoint's name has no ~.
func JobCursor(endpoint, id string) string { return endpoint + "~" + id }

// IsJob tells whether a cursor is a job's, not an endpoint's own.
func IsJob(cursor string) bool { return strings.Contains(cursor, "~") }

// EndpointOf is the endpoint to which a cursor belongs.
func EndpointOf(cursor string) string {
	name, _, _ := strings.Cut(cursor, "~")
	return name
}
