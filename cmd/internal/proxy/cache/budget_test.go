package cache_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications/observer/cache/redis/redistest"
)

// Clients that do not read have a bounded part of the memory: more of their answers are
// passed on as they come, and counted.
func TestManyClientsThatDoNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{body: strings.Repeat("x", 4<<20)}
		metrics := prometheus.NewPedanticRegistry()
		c := cache.New(b, cache.NewMemory(time.Hour, 0), &cache.Options{Anonymous: true, Registerer: metrics})
		busy := func() float64 { return sum(t, metrics, "regcast_proxy_cache_unkept_total", "busy") }
		read := make(chan struct{})
		var wait sync.WaitGroup
		var clients []*stalled
		for i := range 20 {
			slow := &stalled{ResponseRecorder: httptest.NewRecorder(), read: read}
			clients = append(clients, slow)
			wait.Go(func() { c.ServeHTTP(slow, httptest.NewRequest("GET", byTag+fmt.Sprintf("-%d", i), nil)) })
		}
		synctest.Wait()
		if n := busy(); n != 0 {
			t.Errorf("%v were given up before they were at an end", n)
		}
		close(read)
		wait.Wait()
		if n := busy(); n != 4 {
			t.Errorf("of 20 answers of 4 MiB %v were not held back, of which 16 have room", n)
		}
		for _, slow := range clients {
			if slow.Body.String() != b.body {
				t.Errorf("%d of %d bytes", slow.Body.Len(), len(b.body))
			}
		}
		for i := range 20 { // one after the other, all have room
			ask(c, "GET", byTag+fmt.Sprintf("-%d", i))
		}
		if n := busy(); n != 4 {
			t.Errorf("%v were not held back afterwards", n-4)
		}
	})
}

// Of what is in a Redis each client that is answered has a copy, which has a bounded part of
// the memory, too, however slowly clients read: the registry answers more of them. In
// memory there is one.
func TestManyHitsThatAreNotRead(t *testing.T) {
	const clients = 20
	for _, test := range []struct {
		name  string
		store func(*testing.T) cache.Store
		hits  float64 // of 4 MiB and some headers, in 64
	}{
		{"Redis", func(t *testing.T) cache.Store { return patientRedis(t, redistest.Start(t)) }, 15},
		{"memory", func(*testing.T) cache.Store { return cache.NewMemory(time.Hour, 0) }, clients},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &backend{body: strings.Repeat("x", 4<<20)}
			dgst := digestOf(b.body)
			b.change = func(h http.Header) { h.Set("Docker-Content-Digest", dgst) }
			metrics := prometheus.NewPedanticRegistry()
			c := cache.New(b, test.store(t), &cache.Options{Anonymous: true, Registerer: metrics})
			count := func(result string) float64 {
				return sum(t, metrics, "regcast_proxy_cache_requests_total", result)
			}
			ask(c, "GET", byTag)
			read := make(chan struct{})
			var wait sync.WaitGroup
			answers := make([]*stalled, clients)
			for i := range answers {
				answers[i] = &stalled{ResponseRecorder: httptest.NewRecorder(), read: read}
				wait.Go(func() { c.ServeHTTP(answers[i], httptest.NewRequest("GET", byTag, nil)) })
			}
			for deadline := time.Now().Add(patience); count("hit")+count("busy") < clients && time.Now().Before(deadline); {
				<-time.After(time.Millisecond)
			}
			if hits, busy := count("hit"), count("busy"); hits != test.hits || busy != clients-test.hits {
				t.Errorf("of %d clients %v are given what is kept, want %v, and %v what the registry has", clients, hits, test.hits, busy)
			}
			close(read)
			wait.Wait()
			for _, a := range answers {
				if a.Code != http.StatusOK || a.Body.String() != b.body {
					t.Errorf("%d, %d bytes of %d", a.Code, a.Body.Len(), len(b.body))
				}
			}
			for range clients { // one after the other, all have room
				ask(c, "GET", byTag)
			}
			if hits := count("hit"); hits != test.hits+clients {
				t.Errorf("afterwards %v of %d clients are given what is kept", hits-test.hits, clients)
			}
		})
	}
}
