package endpoints_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// A counter is a sender that counts, and fails as it is told.
type counter struct {
	pushes int
	err    error
}

func (c *counter) Send(_ context.Context, batch []*notifications.Event) error {
	if c.err == nil {
		c.pushes += len(batch)
	}
	return c.err
}

func (c *counter) Progress() string { return fmt.Sprint(c.pushes, " so far") }

func (c *counter) Shutdown(context.Context) error { return nil }

// What makes the attempts can be anything: the endpoint around it is the same.
func ExampleNewSenderEndpoint() {
	c := &counter{}
	tally, err := endpoints.NewSenderEndpoint("tally", "tally:", c, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tally.Shutdown(context.Background())
	if err := tally.Write(context.Background(), []*notifications.Event{notificationstest.Push("team/app", "v1", 1)}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tally.Name(), tally.URL(), tally.State().Name, tally.Progress())
	// Output:
	// tally tally: ok 1 so far
}

// A carrier is where a sender's requests begin.
func ExampleNewCarrier() {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	carrier, err := endpoints.NewCarrier(&endpoints.Options{DenyCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer carrier.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = carrier.RoundTrip(req)
	failed := endpoints.TransportError(context.Background(), "http://server", err)
	fmt.Println(failed.Class, failed)
	// Output:
	// blocked delivering to http://server: 127.0.0.1 is in deny_cidrs
}

func TestASendersErrorsAreTheEndpoints(t *testing.T) {
	var record sinks.AttemptRecord
	refused := &endpoints.DeliveryError{
		URL: "tally:", Class: endpoints.Throttled, Status: http.StatusTooManyRequests, Wait: time.Minute,
		Err: errors.New("the abacus answered 429"), Excerpt: []byte("later"),
	}
	e, err := endpoints.NewSenderEndpoint("tally", "tally:", &counter{err: refused}, &endpoints.Options{
		OnAttempt: func(r sinks.AttemptRecord) { record = r },
	})
	if err != nil {
		t.Fatal(err)
	}
	err = e.Write(t.Context(), []*notifications.Event{notificationstest.Push("team/app", "v1", 1)})
	if !errors.Is(err, error(refused)) || err.Error() != "delivering to tally:: the abacus answered 429" {
		t.Error(err)
	}
	if record.Status != 429 || record.Fault != "throttled" || record.Error != "the abacus answered 429" || string(record.Excerpt) != "later" {
		t.Errorf("%+v", record)
	}
	if got := endpoints.ClassOf(http.StatusServiceUnavailable, true); got != endpoints.Throttled {
		t.Errorf("503 with Retry-After is %v", got)
	}
	if _, err := endpoints.NewSenderEndpoint("Tally", "", &counter{}, &endpoints.Options{Concurrency: -1}); err == nil {
		t.Error("no error")
	}
}

func TestACarrierRefusesWhatItsOptionsSay(t *testing.T) {
	_, err := endpoints.NewCarrier(&endpoints.Options{ProxyURL: "ftp://proxy", TLS: endpoints.TLSOptions{CertFile: "cert.pem"}})
	var option *endpoints.OptionError
	if !errors.As(err, &option) || option.Option != "proxy_url" {
		t.Error(err)
	}
	c, err := endpoints.NewCarrier(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	req := httptest.NewRequest(http.MethodGet, "http://2852039166/", nil)
	_, err = c.RoundTrip(req)
	if failed := endpoints.TransportError(t.Context(), "", err); failed.Class != endpoints.Blocked {
		t.Error(failed)
	}
}
