package observer_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
)

// A registry that knows nothing of events becomes a source of them.
func ExampleNew() {
	var sink notificationstest.Recorder // in earnest a queue, or an engine
	source := notifications.SourceRecord{Addr: "registry.example:5000"}
	o := observer.New(registry.New(registry.Logger(log.New(io.Discard, "", 0))), &sink, source, nil)

	put := httptest.NewRequest("PUT", "/v2/team/app/manifests/v1", strings.NewReader("{}"))
	put.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	put.SetBasicAuth("alice", "secret")
	o.ServeHTTP(httptest.NewRecorder(), put)
	o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v2/team/app/manifests/v1", nil))

	if err := o.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	for _, e := range sink.Events() {
		fmt.Println(e.Action, e.Repository, e.Tag, e.Actor)
	}
	// Output:
	// push team/app v1 alice
	// pull team/app v1
}
