package cache_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/cmd/internal/proxy/cache"
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
