package route_test

import (
	"fmt"

	"github.com/regcast/regcast/notifications/observer/route"
)

// A repository may have a name that looks like a part of the API.
func ExampleParse() {
	for _, path := range []string{
		"/v2/team/app/manifests/v1",
		"/v2/team/blobs/uploads/tags/list",
		"/v2/team/../app/manifests/v1",
	} {
		at := route.Parse(path)
		fmt.Printf("%q %q %t\n", at.Repository, at.Tag, at.Class == route.Unclassified)
	}
	// Output:
	// "team/app" "v1" false
	// "team/blobs/uploads" "" false
	// "" "" true
}
