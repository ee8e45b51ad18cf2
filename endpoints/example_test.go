package endpoints_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// A webhook makes one attempt; its error says what came of it.
func ExampleNewWebhook() {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path, r.Header.Get("Content-Type"))
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer receiver.Close()

	hook, err := endpoints.NewWebhook(receiver.URL+"/hooks/registry", &endpoints.Options{Version: "1.0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hook.Shutdown(context.Background())

	err = hook.Write(context.Background(), []*notifications.Event{notificationstest.Push("team/app", "v1", 1)})
	var failed *endpoints.DeliveryError
	if errors.As(err, &failed) {
		fmt.Println(failed.Status, failed.Class, failed.RetryAfter())
	}
	// Output:
	// POST /hooks/registry application/vnd.docker.distribution.events.v2+json
	// 429 throttled 30s
}

// An endpoint stands behind an engine; Deliver moves events to it.
func ExampleNewEndpoint() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(context.Background())

	console, err := endpoints.NewEndpoint("console", "console:", &endpoints.Options{
		Console: os.Stdout, Ordering: endpoints.OrderEndpoint,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer console.Shutdown(context.Background())

	cursor, err := engine.Cursor(ctx, console.Name(), &sinks.CursorOptions{From: sinks.Oldest()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cursor.Close()

	opts := console.DeliverOptions()
	settled := opts.OnSettle
	opts.OnSettle = func(outcome sinks.Outcome, deliveries []sinks.Delivery) {
		settled(outcome, deliveries)
		cancel() // one event is enough here
	}
	if err := engine.Write(ctx, []*notifications.Event{notificationstest.TagDelete("team/app", "v1", 1)}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(sinks.Deliver(ctx, cursor, console, opts))
	// Output:
	// 2026-01-02T03:04:06Z delete team/app:v1 - alice
	// <nil>
}

// A pipeline needs no engine: Write puts events into a queue in memory.
func ExampleNew() {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("received", r.Header.Get("Authorization"))
	}))
	defer receiver.Close()

	match, err := sinks.NewMatcher(sinks.Rules{Actions: []string{"push"}}, sinks.Rules{})
	if err != nil {
		fmt.Println(err)
		return
	}
	audit, err := endpoints.New("audit", receiver.URL, &endpoints.Options{
		Authorization: endpoints.SecretString("Bearer opensesame"),
		Match:         match,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = audit.Write(context.Background(), []*notifications.Event{
		notificationstest.Push("team/app", "v1", 1),
		notificationstest.Pull("team/app", "v1", 2),
	})
	fmt.Println(err)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(audit.Shutdown(ctx), audit.Stats().Delivered)
	// Unordered output:
	// <nil>
	// received Bearer opensesame
	// <nil> 1
}

// The metrics of all endpoints are registered once.
func ExampleNewMetrics() {
	registry := prometheus.NewRegistry()
	metrics := endpoints.NewMetrics(registry)
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(context.Background())
	metrics.Observe(engine) // for what is pending

	console, err := endpoints.NewEndpoint("console", "console:", &endpoints.Options{Metrics: metrics})
	if err != nil {
		fmt.Println(err)
		return
	}
	families, err := registry.Gather()
	fmt.Println(len(families) > 0, err)

	_ = console.Shutdown(context.Background())
	metrics.Forget(console.Name())
	families, err = registry.Gather()
	fmt.Println(len(families) > 0, err)
	// Output:
	// true <nil>
	// false <nil>
}

func ExampleSecretFile() {
	dir, err := os.MkdirTemp("", "secret")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "token")
	token := endpoints.SecretFile(path)
	for _, content := range []string{"Bearer first\n", "Bearer second\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			fmt.Println(err)
		}
		value, err := token()
		fmt.Println(value, err, token)
	}
	// Output:
	// Bearer first <nil> <secret>
	// Bearer second <nil> <secret>
}

func ExampleSecretString() {
	token := endpoints.SecretString("opensesame")
	fmt.Println(token)
	fmt.Println(token())
	// Output:
	// <secret>
	// opensesame <nil>
}

// Endpoints that share slots have at most so many requests in flight together.
func ExampleNewSlots() {
	slots := endpoints.NewSlots(256)
	for _, name := range []string{"audit", "scanner"} {
		e, err := endpoints.NewEndpoint(name, "https://"+name+".example/hook", &endpoints.Options{Slots: slots})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer e.Shutdown(context.Background())
	}
	fmt.Println(slots.InFlight(), "in flight")
	// Output: 0 in flight
}

// An operator looks at an endpoint, pauses it and tries it.
func ExampleEndpoint_Ping() {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("test:", r.Header.Get("Regcast-Test"))
	}))
	defer receiver.Close()
	e, err := endpoints.NewEndpoint("audit", receiver.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Shutdown(context.Background())

	e.Pause("by ops")
	state := e.State()
	fmt.Println(state.Name, state.Cause)
	answer, err := e.Ping(context.Background(), notifications.NewEvent("ping", notifications.Details{}))
	fmt.Println(answer.Status, err)
	e.Resume()
	fmt.Println(e.State().Name)
	// Output:
	// paused by ops
	// test: true
	// 200 <nil>
	// ok
}

// Requests that are signed with two secrets, while receivers change from one to the other.
func ExampleSigningOptions() {
	e, err := endpoints.NewEndpoint("audit", "https://audit.example/hook", &endpoints.Options{
		Signing: endpoints.SigningOptions{Secrets: []endpoints.Secret{
			endpoints.SecretFile("/run/secrets/audit-key"),
			endpoints.SecretFile("/run/secrets/audit-key.old"),
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Shutdown(context.Background())
	request, _ := e.Preview([]*notifications.Event{notificationstest.Push("team/app", "v1", 1)})
	fmt.Println(request.Header.Get("webhook-id"))
	fmt.Println(request.Header.Get("webhook-signature"))
	// Output:
	// 019b7ca9-9070-78e4-bf01-000000000001
	// <secret>
}
