package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/notifications/notificationstest"
)

func ExampleNew() {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/v2/team/app/blobs/uploads/1")
		w.WriteHeader(http.StatusAccepted)
	}))
	defer registry.Close()
	upstream, _ := url.Parse(registry.URL)

	p, err := proxy.New(&notificationstest.Recorder{}, &proxy.Options{Name: "main", Upstream: upstream})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(p)
	resp, err := http.Post(server.URL+"/v2/team/app/blobs/uploads/", "", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status, resp.Header.Get("Location"))

	server.Close()
	fmt.Println(p.Shutdown(context.Background()))
	// Output:
	// 202 Accepted /v2/team/app/blobs/uploads/1
	// <nil>
}
