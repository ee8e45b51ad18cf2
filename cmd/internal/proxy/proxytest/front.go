package proxytest

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A Front is a proxy, be it of this process or another one. Begin says where it listens.
type Front struct{ now atomic.Pointer[Life] }

// A Life of a Front is one process of it.
type Life struct {
	url         string
	client      *http.Client // connections of one life are of no use to the next
	ended       atomic.Bool
	pulls, hits atomic.Int64
}

// Begin says that a process of f takes requests at url, whose path is empty.
func (f *Front) Begin(t testing.TB, url string) *Life {
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	t.Cleanup(tr.CloseIdleConnections)
	l := &Life{url: url, client: &http.Client{Transport: tr}}
	f.now.Store(l)
	return l
}

// End says that the process is about to be killed: requests to it may fail from now on.
func (l *Life) End() { l.ended.Store(true) }

// Pulls is how many manifests were asked for, by GET or HEAD, and answered 200.
func (l *Life) Pulls() int64 { return l.pulls.Load() }

// Hits is how many of the Pulls were answered from the cache.
func (l *Life) Hits() int64 { return l.hits.Load() }

// An answer to a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request as a client that knows all proxies as one host, or they would not
// share answers.
func (l *Life) ask(method, path, authorization, body string) (answer, error) {
	req, err := http.NewRequest(method, l.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	req.Host = "registry.example"
	req.Header.Set("Accept", manifestType)
	req.Header.Set("Content-Type", manifestType)
	resp, err := l.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return answer{}, err
	}
	if a.status == http.StatusOK && strings.Contains(path, "/manifests/") {
		l.pulls.Add(1)
		if a.header.Get("X-Cache") == "HIT" {
			l.hits.Add(1)
		}
	}
	return a, nil
}
