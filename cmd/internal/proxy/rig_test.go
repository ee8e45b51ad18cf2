package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// Distribution never ends its broadcasters.
func TestMain(m *testing.M) {
	redis.SetLogger(quietly{})
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/docker/go-events.(*Broadcaster).run"))
}

// patience bounds what a test waits for; it is never waited out by a test that passes.
const patience = time.Minute

// A rig is a proxy at work.
type rig struct {
	url     string
	host    string
	server  *httptest.Server
	proxy   *proxy.Proxy
	events  *notificationstest.Recorder
	metrics *prometheus.Registry
}

// start puts a proxy before upstream. change may be nil.
func start(t testing.TB, upstream string, change func(*proxy.Options)) *rig {
	t.Helper()
	r := newRig(t, upstream, change)
	r.server.Start()
	r.url, r.host = r.server.URL, r.server.Listener.Addr().String()
	return r
}

// newRig is start without the server's.
func newRig(t testing.TB, upstream string, change func(*proxy.Options)) *rig {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{events: &notificationstest.Recorder{}, metrics: prometheus.NewPedanticRegistry()}
	opts := &proxy.Options{Name: "main", Upstream: u, HTTP2: true, Registerer: r.metrics, Source: notifications.SourceRecord{Addr: "proxy"}}
	if change != nil {
		change(opts)
	}
	if r.proxy, err = proxy.New(r.events, opts); err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewUnstartedServer(r.proxy)
	t.Cleanup(func() {
		r.server.CloseClientConnections()
		r.server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.proxy.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return r
}

// metric is the sum of the series of a metric whose labels have the given values.
func (r *rig) metric(t *testing.T, name string, values ...string) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if hasValues(m, values) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func hasValues(m *dto.Metric, values []string) bool {
	has := make(map[string]bool)
	for _, l := range m.Label {
		has[l.GetValue()] = true
	}
	for _, v := range values {
		if !has[v] {
			return false
		}
	}
	return true
}

// eventually waits until ok, which is tried every few milliseconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// client follows no redirects and unpacks nothing.
func client(t testing.TB) *http.Client {
	tr := &http.Transport{DisableCompression: true, ExpectContinueTimeout: patience}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// do sends a request with a body of known length and returns the answer, read.
func do(t testing.TB, c *http.Client, method, url string, body []byte, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, got
}

// upload pushes a blob and returns its digest.
func upload(t testing.TB, c *http.Client, base, repo string, blob []byte) string {
	t.Helper()
	resp, _ := do(t, c, "POST", base+"/v2/"+repo+"/blobs/uploads/", nil)
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("starting an upload: %s", resp.Status)
	}
	loc, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	q := loc.Query()
	q.Set("digest", digestOf(blob))
	loc.RawQuery = q.Encode()
	if resp, body := do(t, c, "PUT", loc.String(), blob); resp.StatusCode != http.StatusCreated {
		t.Fatalf("ending an upload: %s %s", resp.Status, body)
	}
	return digestOf(blob)
}

// dial connects to a server that is spoken to by hand.
func dial(t *testing.T, host string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}
