package intake_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/intake"
)

// printer is an engine for examples: it stores nothing and prints everything.
type printer struct{}

func (printer) Record(_ context.Context, events []*notifications.Event, bad []notifications.Quarantined) (notifications.Receipt, error) {
	for _, e := range events {
		fmt.Println(e.Action, e.Repository)
	}
	for _, q := range bad {
		fmt.Println("quarantined:", q.Reason)
	}
	return notifications.Receipt{Accepted: len(events), Quarantined: len(bad)}, nil
}

func ExampleNewHandler() {
	h := intake.NewHandler(printer{}, &intake.Options{
		Tokens: func() ([]string, bool) { return []string{"s3cret"}, false },
	})
	server := httptest.NewServer(h)
	defer server.Close()

	for _, body := range []string{
		`{"events":[{"id":"1","timestamp":"2026-01-02T15:04:05Z","action":"push","target":{"repository":"team/app"}}]}`,
		`not JSON`,
	} {
		req, err := http.NewRequest(http.MethodPost, server.URL+intake.Path, strings.NewReader(body))
		if err != nil {
			fmt.Println(err)
			return
		}
		req.Header.Set("Content-Type", notifications.MediaTypeV2)
		req.Header.Set("Authorization", "Bearer s3cret")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Print(resp.StatusCode, " ", string(answer))
	}
	// Output:
	// push team/app
	// 202 {"accepted":1,"duplicates":0,"quarantined":0}
	// quarantined: syntax
	// 202 {"accepted":0,"duplicates":0,"quarantined":1}
}

func ExampleNewServer() {
	h := intake.NewHandler(printer{}, nil)
	server := intake.NewServer(h)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- server.Serve(listener) }()

	resp, err := http.Get("http://" + listener.Addr().String() + intake.Path)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)

	h.Refuse() // whoever comes now is told to come again
	if err := server.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-served)
	// Output:
	// 405 Method Not Allowed
	// http: Server closed
}
