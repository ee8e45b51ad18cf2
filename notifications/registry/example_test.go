package registry_test

import (
	"context"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// An index is stored under a tag, and the tag is looked up.
func ExampleNewClient() {
	server, err := registrytest.Open(&registrytest.Options{Auth: registrytest.Token})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	client, err := registry.NewClient(server.URL(), &registry.ClientOptions{
		Transport: auth.NewTransport(nil, &auth.Options{
			Credentials: auth.StaticCredential(server.URL(), auth.Credential{
				Username: registrytest.Username,
				Password: registrytest.Password,
			}),
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()

	ctx := context.Background()
	index := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	if _, err := client.PutManifest(ctx, "team/app", "v1", v1.MediaTypeImageIndex, index); err != nil {
		fmt.Println(err)
		return
	}
	desc, err := client.Resolve(ctx, "team/app", "v1")
	fmt.Println(desc.MediaType, desc.Size, err)
	for tag, err := range client.Tags(ctx, "team/app", nil) {
		fmt.Println(tag, err)
	}
	// Output:
	// application/vnd.oci.image.index.v1+json 88 <nil>
	// v1 <nil>
}
