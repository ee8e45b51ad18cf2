package auth_test

import (
	"fmt"
	"net/http"

	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A transport authenticates for any HTTP client.
func ExampleNewTransport() {
	server, err := registrytest.Open(&registrytest.Options{Auth: registrytest.Htpasswd})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	transport := auth.NewTransport(nil, &auth.Options{
		Credentials: auth.StaticCredential(server.URL(), auth.Credential{
			Username: registrytest.Username,
			Password: registrytest.Password,
		}),
	})
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	resp, err := client.Get(server.URL() + "/v2/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output:
	// 200 OK
}
