package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/observer"
)

// observerRows compare what the observer adds to a request with what the request costs
// anyway over loopback, and the proxy with the standard library's.
func observerRows() []row {
	return []row{
		{name: "observer on a blob GET, added time", against: "the GET over loopback", unit: "ns/request", reach: 1, less: true,
			ours: observed(blobGET, nanoseconds), peer: overLoopback(blobGET, nanoseconds)},
		{name: "observer on a blob GET, added allocations", against: "the GET over loopback", unit: "allocs/request", reach: 1, less: true,
			ours: observed(blobGET, allocations), peer: overLoopback(blobGET, allocations), rounds: 1},
		{name: "observer on a manifest PUT, added time", against: "the PUT over loopback", unit: "ns/request", reach: 1, less: true,
			ours: observed(manifestPUT, nanoseconds), peer: overLoopback(manifestPUT, nanoseconds)},
		{name: "observer on a manifest PUT, added allocations", against: "the PUT over loopback", unit: "allocs/request", reach: 1, less: true,
			ours: observed(manifestPUT, allocations), peer: overLoopback(manifestPUT, allocations), rounds: 1},
		{name: "a 1 GiB blob pulled through the proxy", against: "a bare ReverseProxy", unit: "MiB/s", reach: 0.95,
			ours: pulled(ourProxy), peer: pulled(bareProxy)},
		{name: "a 1 GiB blob pushed through the proxy", against: "a bare ReverseProxy", unit: "MiB/s", reach: 0.95,
			ours: pushedBlob(ourProxy), peer: pushedBlob(bareProxy)},
		{name: "a 1 GiB blob through the proxy, memory", against: "the proxy at rest + 32 MiB", unit: "MiB resident", reach: 1, less: true,
			ours: residentWhilePulling, peer: residentAtRest, rounds: 1},
	}
}

// A scene is a request to a registry and the handler that answers it.
type scene struct {
	request func(base string) *http.Request
	answer  http.HandlerFunc
}

func blobGET() scene {
	body := bytes.Repeat([]byte("blob"), 256)
	path := "/v2/team/app/blobs/" + digest.FromBytes(body).String()
	return scene{
		request: func(base string) *http.Request {
			r := httptest.NewRequest(http.MethodGet, base+path, nil)
			r.RequestURI = ""
			r.SetBasicAuth("ci", "secret")
			return r
		},
		answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body)
		},
	}
}

func manifestPUT() scene {
	_, m, err := pushed()
	if err != nil {
		panic(err)
	}
	mediaType, body, err := m.Payload()
	if err != nil {
		panic(err)
	}
	dgst := digest.FromBytes(body).String()
	return scene{
		request: func(base string) *http.Request {
			r := httptest.NewRequest(http.MethodPut, base+"/v2/team/app/manifests/1.0", bytes.NewReader(body))
			r.RequestURI = ""
			r.Header.Set("Content-Type", mediaType)
			r.SetBasicAuth("ci", "secret")
			return r
		},
		answer: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Docker-Content-Digest", dgst)
			w.WriteHeader(http.StatusCreated)
		},
	}
}

// observed measures what the observer adds: a request that it sees, less the same that
// it does not.
func observed(of func() scene, figure figureOf) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		s := of()
		o := observer.New(s.answer, nowhere{}, notifications.SourceRecord{Addr: "node:5000"}, &observer.Options{IncludeReferences: true})
		defer func() { _ = o.Shutdown(ctx) }()
		return result{value: inProcess(s, o, figure) - inProcess(s, s.answer, figure)}, nil
	}
}

func inProcess(s scene, h http.Handler, figure figureOf) float64 {
	return figure(testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(httptest.NewRecorder(), s.request("http://registry.example"))
		}
	}))
}

// overLoopback measures a request and its answer on a connection that is kept.
func overLoopback(of func() scene, figure figureOf) func(context.Context) (result, error) {
	return func(context.Context) (result, error) {
		s := of()
		server, err := serve(s.answer)
		if err != nil {
			return result{}, err
		}
		defer server.stop()
		client := &http.Client{Transport: new(http.Transport)}
		defer client.CloseIdleConnections()
		var failed error
		r := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if failed = send(client, s.request(server.base())); failed != nil {
					b.FailNow()
				}
			}
		})
		return result{value: figure(r)}, failed
	}
}

func send(client *http.Client, r *http.Request) error {
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", r.Method, r.URL.Path, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// bigDigest names the blob, whatever is in it.
const bigDigest = "sha256:6c5a5a5a6c5a5a5a6c5a5a5a6c5a5a5a6c5a5a5a6c5a5a5a6c5a5a5a6c5a5a5a"

// bigBlob is how large the blob is that passes through proxies.
const bigBlob = 1 << 30

// blobStore sends and takes blobs of zeros.
func blobStore(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Docker-Content-Digest", r.URL.Query().Get("digest"))
		w.WriteHeader(http.StatusCreated)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(bigBlob))
	_, _ = io.Copy(w, io.LimitReader(zeros{}, bigBlob))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A proxyMaker returns a reverse proxy to an upstream, and what ends it.
type proxyMaker func(upstream *url.URL) (http.Handler, func(), error)

func ourProxy(upstream *url.URL) (http.Handler, func(), error) {
	p, err := proxy.New(nowhere{}, &proxy.Options{Name: "bench", Upstream: upstream})
	if err != nil {
		return nil, nil, err
	}
	return p, func() { _ = p.Shutdown(context.Background()) }, nil
}

func bareProxy(upstream *url.URL) (http.Handler, func(), error) {
	transport := new(http.Transport)
	p := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) }}
	return p, transport.CloseIdleConnections, nil
}

// inFrontOf starts a proxy before a blob store.
func inFrontOf(maker proxyMaker) (front *server, stop func(), err error) {
	back, err := serve(http.HandlerFunc(blobStore))
	if err != nil {
		return nil, nil, err
	}
	upstream, err := url.Parse(back.base())
	if err != nil {
		back.stop()
		return nil, nil, err
	}
	handler, end, err := maker(upstream)
	if err != nil {
		back.stop()
		return nil, nil, err
	}
	front, err = serve(handler)
	if err != nil {
		end()
		back.stop()
		return nil, nil, err
	}
	return front, func() { front.stop(); end(); back.stop() }, nil
}

func pulled(maker proxyMaker) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		return transfer(ctx, maker, http.MethodGet, "/v2/team/app/blobs/"+bigDigest, nil)
	}
}

func pushedBlob(maker proxyMaker) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		return transfer(ctx, maker, http.MethodPut, "/v2/team/app/blobs/uploads/1?digest="+bigDigest,
			io.LimitReader(zeros{}, bigBlob))
	}
}

// transfer measures one blob on its way through a proxy, in MiB/s.
func transfer(ctx context.Context, maker proxyMaker, method, path string, body io.Reader) (result, error) {
	front, stop, err := inFrontOf(maker)
	if err != nil {
		return result{}, err
	}
	defer stop()
	r, err := http.NewRequestWithContext(ctx, method, front.base()+path, body)
	if err != nil {
		return result{}, err
	}
	if body != nil {
		r.ContentLength = bigBlob
	}
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	w := startWatch()
	if err := send(client, r); err != nil {
		return result{}, err
	}
	return w.per(bigBlob >> 20), nil
}

func residentAtRest(context.Context) (result, error) {
	_, stop, err := inFrontOf(ourProxy)
	if err != nil {
		return result{}, err
	}
	defer stop()
	rss, err := residentMiB()
	return result{value: rss + 32}, err
}

// residentWhilePulling is the most that this process takes, client and registry included,
// while a blob passes the proxy.
func residentWhilePulling(ctx context.Context) (result, error) {
	front, stop, err := inFrontOf(ourProxy)
	if err != nil {
		return result{}, err
	}
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, front.base()+"/v2/team/app/blobs/"+bigDigest, nil)
	if err != nil {
		return result{}, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return result{}, err
	}
	defer resp.Body.Close()
	most := 0.0
	for {
		n, err := io.CopyN(io.Discard, resp.Body, 16<<20)
		rss, rssErr := residentMiB()
		if rssErr != nil {
			return result{}, rssErr
		}
		most = max(most, rss)
		if err == io.EOF && n == 0 {
			return result{value: most}, nil
		}
		if err != nil && err != io.EOF {
			return result{}, err
		}
	}
}
