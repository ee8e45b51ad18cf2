package endpoints_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcast/regcast/endpoints"
)

// A nameServer answers questions for the addresses of names over UDP (RFC 1035), and is
// the resolver of the process while a test runs.
type nameServer struct {
	mu        sync.Mutex
	addresses map[string][]netip.Addr // by name without the last dot; of others there are none
}

func serveNames(t *testing.T) *nameServer {
	t.Helper()
	s := &nameServer{addresses: make(map[string][]netip.Addr)}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(s.answer(buf[:n]), from)
		}
	}()
	usual := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = usual; conn.Close(); <-done })
	return s
}

func (s *nameServer) set(name string, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses[name] = nil
	for _, a := range addrs {
		s.addresses[name] = append(s.addresses[name], netip.MustParseAddr(a))
	}
}

// answer makes an answer of a question.
func (s *nameServer) answer(question []byte) []byte {
	const header = 12
	var labels []string
	at := header
	for question[at] != 0 {
		n := int(question[at])
		labels = append(labels, string(question[at+1:at+1+n]))
		at += 1 + n
	}
	kind := binary.BigEndian.Uint16(question[at+1:])
	s.mu.Lock()
	addrs, known := s.addresses[strings.Join(labels, ".")]
	s.mu.Unlock()

	m := append([]byte(nil), question[:at+5]...)
	binary.BigEndian.PutUint16(m[2:], 0x8180) // an answer, recursion available
	clear(m[6:header])
	if !known {
		m[3] |= 3 // no such name
		return m
	}
	for _, a := range addrs {
		if a.Is4() != (kind == 1) {
			continue
		}
		m[7]++
		m = append(m, 0xc0, header)                // the name in the question
		m = binary.BigEndian.AppendUint16(m, kind) // A or AAAA
		m = append(m, 0, 1, 0, 0, 0, 0)            // Internet, not to be kept
		raw := a.AsSlice()
		m = binary.BigEndian.AppendUint16(m, uint16(len(raw)))
		m = append(m, raw...)
	}
	return m
}

// TestNamesAreResolvedBeforeTheGuardLooks has names of every kind that lead to a real
// receiver, or would lead to where nobody may go.
func TestNamesAreResolvedBeforeTheGuardLooks(t *testing.T) {
	names := serveNames(t)
	for name, addr := range map[string]string{
		"fine.example.": "127.0.0.1", "metadata.example.": "169.254.169.254", "mapped.example.": "::ffff:169.254.169.254",
		"six.example.": "fe80::1", "translated.example.": "64:ff9b::a9fe:a9fe", "amazon.example.": "fd00:ec2::254",
		"alibaba.example.": "100.100.100.200", "cgnat.example.": "100.64.0.1",
	} {
		names.set(strings.TrimSuffix(name, "."), addr)
	}
	names.set("both.example", "169.254.169.254", "127.0.0.1")
	var got atomic.Int64
	port := portOf(t, receive(t, func(http.ResponseWriter, *http.Request) { got.Add(1) }))
	to := func(name string) string { return "http://" + name + ":" + port + "/hook" }

	for _, name := range []string{"fine.example.", "both.example."} { // both: the address that may be is used
		if err := newWebhook(t, to(name), nil).Write(context.Background(), batch); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"metadata.example.", "mapped.example.", "six.example.", "translated.example.", "amazon.example.", "alibaba.example.",
		"169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1%25lo]", "[64:ff9b::a9fe:a9fe]", "100.100.100.200",
	} {
		w := newWebhook(t, to(name), &endpoints.Options{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
		mustFail(t, w, endpoints.Blocked, "blocked")
	}
	deny := &endpoints.Options{DenyCIDRs: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8")}}
	mustFail(t, newWebhook(t, to("cgnat.example."), deny), endpoints.Blocked, "blocked")
	mustFail(t, newWebhook(t, to("fine.example."), deny), endpoints.Blocked, "blocked")
	only := &endpoints.Options{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
	e := mustFail(t, newWebhook(t, to("fine.example."), only), endpoints.Blocked, "blocked")
	if !strings.Contains(e.Error(), "127.0.0.1 is not in allow_cidrs") {
		t.Errorf("%v does not say what is refused and why", e)
	}
	if got.Load() != 2 {
		t.Errorf("%d requests came, want 2", got.Load())
	}
}

// TestNameServerComesBack has a name that nobody knows for a while.
func TestNameServerComesBack(t *testing.T) {
	names := serveNames(t)
	port := portOf(t, receive(t, func(http.ResponseWriter, *http.Request) {}))
	w := newWebhook(t, "http://late.example.:"+port, nil)
	mustFail(t, w, endpoints.Transient, "dns")
	names.set("late.example", "127.0.0.1")
	if err := w.Write(context.Background(), batch); err != nil {
		t.Error(err)
	}
}

// TestGuardAndRedirects has a receiver that points to where nobody may go: it is not
// followed at all.
func TestGuardAndRedirects(t *testing.T) {
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusTemporaryRedirect)
	})
	mustFail(t, newWebhook(t, url, nil), endpoints.Misdirected, "307")
}

// TestGuardAndProxies: the connection to a proxy is guarded as any other, and so are
// addresses behind it. Names behind it are the proxy's to resolve.
func TestGuardAndProxies(t *testing.T) {
	p := new(egressProxy)
	front := receive(t, p.ServeHTTP)
	for _, c := range []struct {
		target, proxy string
		opts          endpoints.Options
		blocked       bool
	}{
		{"http://receiver.invalid/", front, endpoints.Options{}, false},
		{"http://203.0.113.7/", front, endpoints.Options{}, false},
		{"http://169.254.169.254/", front, endpoints.Options{}, true},
		{"https://[::ffff:169.254.169.254]/", front, endpoints.Options{}, true},
		{"http://2852039166/", front, endpoints.Options{}, true},
		{"http://203.0.113.7/", front, endpoints.Options{DenyCIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}, true},
		{"http://receiver.invalid/", front, endpoints.Options{DenyCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, true},
		{"http://receiver.invalid/", "http://169.254.169.254:3128", endpoints.Options{}, true},
		{"https://receiver.invalid/", "http://169.254.169.254:3128", endpoints.Options{}, true},
		{"https://receiver.invalid/", "socks5://[fe80::1]:1080", endpoints.Options{}, true},
	} {
		c.opts.ProxyURL = c.proxy
		before := p.tunnels.Load()
		w := newWebhook(t, c.target, &c.opts)
		if c.blocked {
			mustFail(t, w, endpoints.Blocked, "blocked")
		} else if err := w.Write(context.Background(), batch); err != nil {
			t.Errorf("%s through %s: %v", c.target, c.proxy, err)
		}
		if came := p.tunnels.Load() != before; came == c.blocked {
			t.Errorf("%s through %s: came to the proxy %t", c.target, c.proxy, came)
		}
	}
}

// TestBlockedEndpoint is a state of its own.
func TestBlockedEndpoint(t *testing.T) {
	e := newEndpoint(t, "http://169.254.169.254/hook", nil)
	a := attempt(1)
	err := e.Write(context.Background(), batch)
	e.DeliverOptions().Policy.Judge(&a, err)
	if s := e.State(); s.Name != endpoints.StateBlocked || s.Cause != "169.254.169.254 is a link-local address" || s.Until.Before(time.Now()) {
		t.Errorf("state %+v, want blocked and held", s)
	}
}

func portOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}
