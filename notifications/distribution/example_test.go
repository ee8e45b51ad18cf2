package distribution_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/regcast/regcast/notifications/distribution"
	"github.com/regcast/regcast/notifications/notificationstest"
)

const yaml = `
version: 0.1
log: {accesslog: {disabled: true}}
http: {secret: of this example}
storage:
  inmemory: {}
  maintenance: {uploadpurging: {enabled: false}}
middleware:
  repository:
    - name: %s
`

const emptyBlob = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func ExampleRegister() {
	var sink notificationstest.Recorder // or a composition of package sinks, or an engine
	name := "regcast-" + rand.Text()    // "regcast" will do where it is registered once
	config, err := configuration.Parse(strings.NewReader(fmt.Sprintf(yaml, name)))
	if err != nil {
		fmt.Println(err)
		return
	}
	opts, err := distribution.OptionsOf(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	events, err := distribution.Register(name, &sink, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	app := handlers.NewApp(ctx, config) // registry.NewRegistry(ctx, config) for all of a registry
	server := httptest.NewServer(app)

	upload, _ := http.Post(server.URL+"/v2/team/app/blobs/uploads/", "", nil)
	push, _ := http.NewRequest("PUT", upload.Header.Get("Location")+"&digest="+emptyBlob, nil)
	answer, err := http.DefaultClient.Do(push)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer.Body.Close()

	server.Close()
	fmt.Println(answer.Status, events.Shutdown(ctx), app.Shutdown())
	for _, e := range sink.Events() {
		fmt.Println(e.Action, e.Repository, e.Digest)
	}
	// Output:
	// 201 Created <nil> <nil>
	// push team/app sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
}
