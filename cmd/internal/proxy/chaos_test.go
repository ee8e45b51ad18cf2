package proxy_test

import (
	"context"
	"crypto/tls"
	"flag"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
)

var (
	chaosSeed       = flag.Uint64("seed", 1, "of the chaos; 0: another one each time")
	chaosOperations = flag.Int("operations", 200, "how many the chaos sends to each rig")
	chaosOnly       = flag.Int("operation", -1, "the one of the chaos that is sent, again and again")
)

// chaosClients is how many send the operations of the chaos.
const chaosClients = 8

// continueSoon is how long a client waits for 100 before it sends its body all the same.
const continueSoon = 50 * time.Millisecond

// TestChaos sends random operations during which everything breaks that can: clients go
// away at any moment, the registry answers before it has read, breaks its answers off and
// closes connections. What it has done is the truth that the events are compared with. An
// operation depends on the seed and its number alone.
func TestChaos(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	passed := newTally()
	for _, place := range []chaosPlace{
		{"observer, HTTP 1", false, false, false}, {"observer, HTTP 2", false, true, false},
		{"proxy, HTTP 1 and 1", true, false, false}, {"proxy, HTTP 1 and 2", true, false, true},
		{"proxy, HTTP 2 and 1", true, true, false}, {"proxy, HTTP 2 and 2", true, true, true},
	} {
		t.Run(place.name, func(t *testing.T) {
			operations := make([][]*plan, *chaosOperations)
			for i := range operations {
				n := i
				if *chaosOnly >= 0 {
					n = *chaosOnly
				}
				operations[i] = newOperation(rand.New(rand.NewPCG(seed, uint64(n))), i)
			}
			s := newChaos(t, place, operations)
			s.send(operations)
			s.end()
			s.judge(seed, operations, passed)
		})
	}
	t.Logf("seed %d: %v", seed, passed)
	for what, n := range passed {
		if n == 0 && *chaosOnly < 0 {
			t.Errorf("no %s: the chaos is not what it should be", what)
		}
	}
}

// A chaosPlace is where the chaos rages: before an observer around the registry, or before a
// proxy in front of it, each with HTTP/1.1 or HTTP/2.
type chaosPlace struct {
	name           string
	proxied        bool
	http2, behind2 bool
}

// A chaos is a rig in which everything breaks.
type chaos struct {
	chaosPlace
	t        *testing.T
	registry *chaosRegistry
	upstream *httptest.Server // of the registry; nil: the front's
	front    *httptest.Server
	client   *http.Client
	busy     sync.WaitGroup // requests that the front serves
	events   *notificationstest.Recorder
	shutdown func(context.Context) error
}

func newChaos(t *testing.T, place chaosPlace, operations [][]*plan) *chaos {
	s := &chaos{chaosPlace: place, t: t, registry: newChaosRegistry(operations)}
	if s.proxied {
		upstream := httptest.NewUnstartedServer(s.registry)
		upstream.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		var change func(*proxy.Options)
		if s.behind2 {
			a := newAuthority(t)
			upstream.EnableHTTP2 = true
			upstream.TLS = &tls.Config{Certificates: []tls.Certificate{a.pair(t, "registry")}}
			upstream.StartTLS()
			change = func(o *proxy.Options) { o.TLS.CAFile = a.file }
		} else {
			upstream.Config.ConnState = s.registry.state
			upstream.Start()
		}
		s.upstream = upstream
		t.Cleanup(upstream.Close)
		r := newRig(t, upstream.URL, change)
		s.front, s.events, s.shutdown = r.server, r.events, r.proxy.Shutdown
	} else {
		s.events = &notificationstest.Recorder{}
		o := observer.New(s.registry, s.events, notifications.SourceRecord{}, nil)
		s.front, s.shutdown = httptest.NewUnstartedServer(o), o.Shutdown
		t.Cleanup(s.front.Close)
	}
	s.front.Config.Handler = s.watch(s.front.Config.Handler)
	s.front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	if s.http2 {
		s.front.EnableHTTP2 = true
		s.front.StartTLS()
		s.client = s.front.Client()
	} else {
		s.front.Start()
		s.client = client(t)
	}
	tr := s.client.Transport.(*http.Transport)
	tr.ExpectContinueTimeout, tr.MaxIdleConnsPerHost, tr.DisableCompression = continueSoon, chaosClients, true
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s
}

// watch sees a client go, and has the connections to the registry closed that are idle when
// its request takes one of them.
func (s *chaos) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer s.busy.Done()
		p := s.registry.plans[r.UserAgent()]
		defer p.pass()
		defer p.lose() // a proxy that has given up does not see it
		defer context.AfterFunc(r.Context(), p.lose)()
		if p.closesIdle {
			if r.ContentLength == 0 {
				s.registry.closeIdle()
			} else {
				r.Body = &closing{r.Body, sync.OnceFunc(s.registry.closeIdle)}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// A closing body does something when it is read: then the connection on which it goes out
// has been chosen.
type closing struct {
	io.ReadCloser
	do func()
}

// Read implements [io.Reader].
func (c *closing) Read(p []byte) (int, error) {
	c.do()
	return c.ReadCloser.Read(p)
}

// send sends the operations, and waits until their answers are there.
func (s *chaos) send(operations [][]*plan) {
	next := make(chan []*plan)
	var clients sync.WaitGroup
	for range chaosClients {
		clients.Go(func() {
			for o := range next {
				for _, p := range o {
					if !s.do(p) {
						break
					}
				}
			}
		})
	}
	for _, o := range operations {
		next <- o
	}
	close(next)
	clients.Wait()
}

// do sends a request, and tells whether one that depends on it may be sent.
func (s *chaos) do(p *plan) bool {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	p.setLeave(cancel)
	var body io.Reader
	if len(p.body) > 0 {
		body = &tornBody{plan: p}
	}
	req, err := http.NewRequestWithContext(ctx, p.method, s.front.URL+p.target, body)
	if err != nil {
		s.t.Error(err)
		return false
	}
	if !p.unsized {
		req.ContentLength = int64(len(p.body))
	}
	for name, value := range p.asks {
		req.Header.Set(name, value)
	}
	req.Header.Set("User-Agent", p.agent)
	if p.user != "" {
		req.SetBasicAuth(p.user, "secret")
	}
	req.Close = p.leavesAfter
	p.saw = s.ask(p, req)
	if p.session != nil && p.want == nil && (p.cut != never || p.saw.status/100 != 2) {
		p.session.unsure = true
	}
	if p.cut != never || p.saw.err != nil {
		// A client that goes on with an upload may ask how far it has come; until then the
		// registry has heard that it was gone.
		select {
		case <-p.arrived:
			return wait(p.passed)
		default:
			return false
		}
	}
	return true
}

// ask returns what a client sees.
func (s *chaos) ask(p *plan, req *http.Request) saw {
	resp, err := s.client.Do(req)
	if err != nil {
		return saw{err: err}
	}
	defer resp.Body.Close()
	seen := saw{status: resp.StatusCode}
	switch p.cut {
	case atStatus:
		p.leave()
	case inAnswer:
		_, _ = io.CopyN(io.Discard, resp.Body, int64(p.after))
		p.leave()
	default:
		var b strings.Builder
		_, seen.err = io.Copy(&b, resp.Body)
		seen.body = b.String()
		seen.all = seen.err == nil
	}
	return seen
}

// end waits until everything is done that clients have left behind, and every event
// written.
func (s *chaos) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.client.CloseIdleConnections()
	s.front.Close()
	s.busy.Wait()
	if err := s.shutdown(ctx); err != nil {
		s.t.Errorf("Shutdown: %v", err)
	}
	if s.upstream != nil {
		s.upstream.Close()
	}
	s.registry.busy.Wait() // with what nobody waits for
}

// judge compares the events with what the registry has done.
func (s *chaos) judge(seed uint64, operations [][]*plan, t tally) {
	made := make(map[string][]*notifications.Event)
	for _, e := range s.events.Events() {
		d, err := e.Details()
		if err != nil {
			s.t.Fatal(err)
		}
		made[d.Request.UserAgent] = append(made[d.Request.UserAgent], e)
	}
	for i, o := range operations {
		for _, p := range o {
			events := made[p.agent]
			delete(made, p.agent)
			if wrong := p.judge(events, !s.proxied); wrong != nil {
				n := i
				if *chaosOnly >= 0 {
					n = *chaosOnly
				}
				s.t.Errorf("go test ./cmd/internal/proxy -run TestChaos -seed %d -operation %d\n%v\n\t%s", seed, n, p, strings.Join(wrong, "\n\t"))
			}
			t.count(p, events)
		}
	}
	for agent := range made {
		s.t.Errorf("an event of %q, who has asked for nothing", agent)
	}
}
