package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/cmd/internal/proxy"
)

// echo answers with what it was asked, and in whose name.
func echo(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s host=%s length=%d te=%q auth=%q body=%q trailer=%v", r.Method, r.RequestURI, r.Host,
			r.ContentLength, r.TransferEncoding, r.Header["Authorization"], body, r.Trailer)
	}))
	t.Cleanup(s.Close)
	return s
}

// say sends what a client would never send and returns all answers to it.
func (r *rig) say(t *testing.T, request string) (answers []string) {
	t.Helper()
	c := dial(t, r.host)
	defer c.Close()
	go func() { _, _ = io.WriteString(c, request) }()
	in := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return answers
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		answers = append(answers, fmt.Sprintf("%d %s", resp.StatusCode, body))
	}
}

func TestHostileRequests(t *testing.T) {
	r := start(t, echo(t).URL, nil)
	const last = "Connection: close\r\n"
	plain := func(line, headers string) string { return line + " HTTP/1.1\r\nHost: x\r\n" + headers + last + "\r\n" }
	refused := func(code, message string) string {
		return fmt.Sprintf(`{"errors":[{"code":%q,"message":%q}]}`, code, message)
	}
	var (
		spelled = refused("UNSUPPORTED", "the path is not spelled as the distribution specification has it")
		method  = refused("UNSUPPORTED", "the method is not supported")
	)
	for _, test := range []struct {
		name, request string
		want          []string // nil: no answer, or none of ours
	}{
		{"TRACE", plain("TRACE /v2/", ""), []string{"405 " + method}},
		{"CONNECT", plain("CONNECT evil:443", ""), []string{"405 " + method}},
		{"no path", plain("GET *", ""), []string{"400 " + refused("UNSUPPORTED", "the request is not for a path")}},
		{"two identities", plain("GET /v2/", "Authorization: Basic eDp5\r\nAuthorization: Basic YTpi\r\n"),
			[]string{"400 " + refused("UNAUTHORIZED", "more than one Authorization header")}},
		{"an identity for the connection alone", plain("GET /v2/", "Authorization: Basic eDp5\r\nConnection: Authorization\r\n"),
			[]string{`200 GET /v2/ host=x length=0 te=[] auth=[] body="" trailer=map[]`}},
		{"a pull by nobody", plain("GET /v2/a/manifests/v1", "Authorization: Basic eDp5\r\nConnection: close, authorization\r\n"),
			[]string{`200 GET /v2/a/manifests/v1 host=x length=0 te=[] auth=[] body="" trailer=map[]`}},
		{"an upgrade", plain("GET /v2/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
			[]string{`200 GET /v2/ host=x length=0 te=[] auth=[] body="" trailer=map[]`}},
		{"another host in the target", plain("GET http://evil.example/v2/?x", ""),
			[]string{`200 GET /v2/?x host=evil.example length=0 te=[] auth=[] body="" trailer=map[]`}},
		{"length and chunks", plain("POST /v2/a/blobs/uploads/", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") + "1\r\nZ\r\n0\r\n\r\n",
			[]string{`200 POST /v2/a/blobs/uploads/ host=x length=-1 te=["chunked"] auth=[] body="Z" trailer=map[]`}},
		{"two lengths", plain("POST /v2/a/blobs/uploads/", "Content-Length: 4\r\nContent-Length: 5\r\n") + "abcde", []string{"400 400 Bad Request"}},
		{"a signed length", plain("POST /v2/a/blobs/uploads/", "Content-Length: +4\r\n") + "abcd", []string{"400 400 Bad Request"}},
		{"an unknown encoding", plain("POST /v2/a/blobs/uploads/", "Transfer-Encoding: xchunked\r\n"), []string{"501 Unsupported transfer encoding"}},
		{"a space before a colon", plain("GET /v2/", "Authorization : Basic eDp5\r\n"), []string{"400 400 Bad Request"}},
		{"a header without end", plain("GET /v2/", "X: "+strings.Repeat("x", 2<<20)+"\r\n"), []string{"431 431 Request Header Fields Too Large"}},
		{"a body that is not chunked", plain("PATCH /v2/a/blobs/uploads/1", "Transfer-Encoding: chunked\r\n") + "zz\r\n",
			[]string{"400 " + refused("UNKNOWN", "the body of the request ended early")}},
		{"a second request in a body", plain("GET /v2/", "Content-Length: 26\r\n") + "DELETE /v2/ HTTP/1.1\r\nX: \r",
			[]string{`200 GET /v2/ host=x length=26 te=[] auth=[] body="DELETE /v2/ HTTP/1.1\r\nX: \r" trailer=map[]`}},
		{"trailers", "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n" + last + "\r\n1\r\nZ\r\n0\r\nX-Sum: 7\r\n\r\n",
			[]string{`200 POST /v2/a/blobs/uploads/ host=x length=-1 te=["chunked"] auth=[] body="Z" trailer=map[X-Sum:[7]]`}},
		{"trailers that were not announced", "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + last + "\r\n1\r\nZ\r\n0\r\nX-Sum: 7\r\n\r\n",
			[]string{`200 POST /v2/a/blobs/uploads/ host=x length=-1 te=["chunked"] auth=[] body="Z" trailer=map[]`}},
		{"an escaped push", plain("PUT /v2/a%2Fb/manifests/v1", ""), []string{"400 " + spelled}},
		{"an escaped letter", plain("PUT /v2/a/%6danifests/v1", ""), []string{"400 " + spelled}},
		{"twice escaped", plain("PUT /v2/a%252Fb/manifests/v1", ""), []string{"400 " + spelled}},
		{"an empty segment", plain("DELETE /v2//a/manifests/v1", ""), []string{"400 " + spelled}},
		{"dots", plain("DELETE /v2/a/tags/../manifests/v1", ""), []string{"400 " + spelled}},
		{"escaped dots", plain("DELETE /v2/a/%2e%2e/b/manifests/v1", ""), []string{"400 " + spelled}},
		{"a slash at the end", plain("DELETE /v2/a/manifests/v1/", ""), []string{"400 " + spelled}},
		{"a parameter", plain("PUT /v2/a/manifests/v1;x=1", ""), []string{"400 " + spelled}},
		{"a backslash", plain(`PUT /v2/a\b/manifests/v1`, ""), []string{"400 " + spelled}},
		{"from the root", plain("PUT /x/../v2/a/manifests/v1", ""), []string{"400 " + spelled}},
		{"a read with an empty segment", plain("GET /v2//a/manifests/v1", ""), []string{"400 " + spelled}},
		{"a read with dots", plain("HEAD /v2/a/../b/manifests/v1", ""), []string{"400 "}},
		{"a read that is escaped twice", plain("GET /v2/a%252Fb/manifests/v1", ""), []string{"400 " + spelled}},
		{"a read with a parameter", plain("GET /v2/a/manifests/v1;x=1", ""), []string{"400 " + spelled}},
		{"an empty segment before the base", plain("GET //v2/", ""), []string{`200 GET //v2/ host=x`}},
		{"a part of an upload with an escaped session", plain("PATCH /v2/a/blobs/uploads/1%3D", ""),
			[]string{`200 PATCH /v2/a/blobs/uploads/1%3D host=x length=0 te=[] auth=[] body="" trailer=map[]`}},
		{"a part of an upload with an escaped session and name", plain("PATCH /v2/%61/blobs/uploads/1%3D", ""), []string{"400 " + spelled}},
		{"a part of an upload with a slash in its session", plain("PATCH /v2/a/blobs/uploads/blobs%2Fuploads%2F1", ""), []string{"400 " + spelled}},
		{"a part of an upload with dots for a session", plain("PATCH /v2/a/blobs/uploads/%2e%2e", ""),
			[]string{`200 PATCH /v2/a/blobs/uploads/%2e%2e host=x`}},
		{"below another prefix", plain("DELETE /zz/a/manifests/v1", ""), []string{`200 DELETE /zz/a/manifests/v1 host=x`}},
		{"an escaped read", plain("GET /v2/a%2Fb/manifests/v1", ""),
			[]string{`200 GET /v2/a%2Fb/manifests/v1 host=x length=0 te=[] auth=[] body="" trailer=map[]`}},
		{"somebody else's route", plain("PUT /artifacts-uploads/a%2Fb", ""),
			[]string{`200 PUT /artifacts-uploads/a%2Fb host=x length=0 te=[] auth=[] body="" trailer=map[]`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := r.say(t, test.request)
			if len(got) == len(test.want) && len(got) == 1 && strings.HasPrefix(got[0], test.want[0]) {
				return // net/http says more in some of its refusals
			}
			t.Error(cmp.Diff(test.want, got))
		})
	}
	for _, e := range r.events.Events() {
		if e.Repository != "a" && e.Repository != "a/b" {
			t.Errorf("an event of %q", e.Repository)
		}
		if e.Action != "pull" || e.Actor != "" {
			t.Errorf("an event of a %s by %q", e.Action, e.Actor)
		}
	}
	if len(r.events.Events()) == 0 {
		t.Error("nothing is observed")
	}
}

// A registry that looks at the end of a path alone is changed below any prefix. Others have
// APIs of their own there.
func TestChangesOutsideTheAPI(t *testing.T) {
	stored := error(nil)
	r := start(t, echo(t).URL, func(o *proxy.Options) {
		o.Refuse, o.Accepting = true, func() error { return stored }
	})
	for i, target := range []string{"/zz/foo/manifests/latest", "/zz/foo/blobs/" + digestOf(nil), "/v2/FOO/manifests/latest"} {
		stored = nil
		if resp, body := do(t, client(t), "DELETE", r.url+target, nil); resp.StatusCode != http.StatusOK {
			t.Errorf("DELETE %s: %s %s", target, resp.Status, body)
		}
		if n := r.metric(t, "regcast_observer_unclassified_total"); n != float64(i+1) {
			t.Errorf("DELETE %s: %v are counted", target, n)
		}
		stored = errors.New("disk full")
		if resp, body := do(t, client(t), "DELETE", r.url+target, nil); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("DELETE %s, which cannot be recorded: %s %s", target, resp.Status, body)
		}
	}
}

// A digest whose colon is escaped is still one, and its pull an event.
func TestEscapedReadsAreObserved(t *testing.T) {
	content := []byte("twenty two bytes of it")
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != r.URL.EscapedPath() || r.URL.RawPath == "" {
			t.Errorf("the registry is asked for %s", r.RequestURI)
		}
		w.Header().Set("Docker-Content-Digest", digestOf(content))
		_, _ = w.Write(content)
	}))
	defer upstream.Close()
	r := start(t, upstream.URL, nil)
	resp, body := do(t, client(t), "GET", r.url+"/v2/team%2Fapp/blobs/"+strings.Replace(digestOf(content), ":", "%3A", 1), nil)
	if resp.StatusCode != http.StatusOK || string(body) != string(content) {
		t.Errorf("%s %s", resp.Status, body)
	}
	events, err := r.events.Wait(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 || events[0].Action != "pull" || events[0].Repository != "team/app" || events[0].Digest.String() != digestOf(content) {
		t.Errorf("events %+v", events)
	}
}

func TestTheProxyIsNotItsOwnRegistry(t *testing.T) {
	var self *rig
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { self.proxy.ServeHTTP(w, r) }))
	defer loop.Close()
	self = start(t, loop.URL, nil)
	if resp, body := do(t, client(t), "GET", self.url+"/v2/", nil); resp.StatusCode != http.StatusLoopDetected {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestForwarded(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	public := mustParse(t, "https://public.example:8443/mirror")
	sent := http.Header{
		"X-Forwarded-For": {"192.0.2.1", "192.0.2.2, 192.0.2.3"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"seen.example"},
		"X-Forwarded-Port": {"1"}, "X-Real-Ip": {"192.0.2.9"}, "Forwarded": {`for=192.0.2.1;proto=https;host=seen.example`},
	}
	for _, test := range []struct {
		name   string
		change func(*proxy.Options)
		sent   http.Header
		host   string // for which the registry is asked
		want   http.Header
	}{
		{"nothing is said", nil, nil, "reg.example", http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"reg.example"},
			"Forwarded": {`for=127.0.0.1;host="reg.example";proto=http`}}},
		{"a stranger is not believed", nil, sent, "reg.example", http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"reg.example"},
			"Forwarded": {`for=127.0.0.1;host="reg.example";proto=http`}}},
		{"a trusted proxy is", func(o *proxy.Options) { o.TrustedProxies = loopback }, sent, "reg.example", http.Header{
			"X-Forwarded-For": {"192.0.2.1, 192.0.2.2, 192.0.2.3, 127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"seen.example"},
			"X-Forwarded-Port": {"1"}, "X-Real-Ip": {"192.0.2.9"},
			"Forwarded": {`for=192.0.2.1;proto=https;host=seen.example, for=127.0.0.1;host="seen.example";proto=https`}}},
		{"a trusted proxy that says nothing", func(o *proxy.Options) { o.TrustedProxies = loopback }, nil, "reg.example", http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"reg.example"}}},
		{"a public address", func(o *proxy.Options) { o.PublicURL = public }, sent, "reg.example", http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"public.example:8443"},
			"Forwarded": {`for=127.0.0.1;host="public.example:8443";proto=https`}}},
		{"a registry that serves others, too", func(o *proxy.Options) { o.UpstreamHost = true }, sent, "UPSTREAM", http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "Forwarded": {`for=127.0.0.1`}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got http.Header
			var host string
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				host, got = strings.ReplaceAll(r.Host, r.Context().Value(http.LocalAddrContextKey).(fmt.Stringer).String(), "UPSTREAM"), r.Header.Clone()
			}))
			defer upstream.Close()
			r := start(t, upstream.URL, test.change)
			req, _ := http.NewRequest("GET", r.url+"/v2/", nil)
			req.Host = "reg.example"
			for name, values := range test.sent {
				req.Header[name] = values
			}
			resp, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if via := got.Get("Via"); !strings.HasPrefix(via, "1.1 regcast-") {
				t.Errorf("Via: %q", via)
			}
			got.Del("Via")
			got.Del("User-Agent")
			if host != test.host {
				t.Errorf("asked for %s, want %s", host, test.host)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the registry calls itself is not what its clients get.
func TestAddressesInAnswers(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.Header().Set("Link", "<"+r.URL.Query().Get("to")+`>; rel="next"`)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer upstream.Close()
	own := upstream.URL + "/below/v2/team/app/blobs/uploads/1?_state=a%2Fb"
	for _, test := range []struct {
		name    string
		change  func(*proxy.Options)
		to      string
		want    string // HOST is the proxy's
		foreign float64
	}{
		{"absolute", nil, own, "http://HOST/v2/team/app/blobs/uploads/1?_state=a%2Fb", 0},
		{"relative", func(o *proxy.Options) { o.Location = proxy.Relative }, own, "/v2/team/app/blobs/uploads/1?_state=a%2Fb", 0},
		{"as is", func(o *proxy.Options) { o.Location = proxy.AsIs }, own, own, 0},
		{"public", func(o *proxy.Options) { o.PublicURL = mustParse(t, "https://public.example/mirror/") }, own, "https://public.example/mirror/v2/team/app/blobs/uploads/1?_state=a%2Fb", 0},
		{"public, which the registry knows", func(o *proxy.Options) { o.PublicURL = mustParse(t, "https://public.example/mirror/") }, "http://public.example/v2/x", "https://public.example/mirror/v2/x", 0},
		{"elsewhere", nil, "https://elsewhere.example/upload?x", "https://elsewhere.example/upload?x", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := start(t, upstream.URL+"/below/", test.change)
			want := strings.ReplaceAll(test.want, "HOST", r.host)
			for range 2 {
				req, _ := http.NewRequest("POST", r.url+"/v2/team/app/blobs/uploads/", nil)
				req.URL.RawQuery = "to=" + strings.NewReplacer("?", "%3F", "%", "%25").Replace(test.to)
				resp, err := client(t).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if got := resp.Header.Get("Location"); got != want {
					t.Errorf("Location is %s, want %s", got, want)
				}
				if got := resp.Header.Get("Link"); got != "<"+want+`>; rel="next"` {
					t.Errorf("Link is %s", got)
				}
			}
			if n := r.metric(t, "regcast_proxy_foreign_uploads_total"); n != test.foreign {
				t.Errorf("counted %v uploads that went elsewhere", n)
			}
		})
	}
}

// A proxy before us that changes Host is no reason to give its clients that name.
func TestAddressesBehindAnotherProxy(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil // which nobody may guess, either
		w.Header().Set("Location", "http://"+r.Host+"/v2/team/app/blobs/uploads/1")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "<html>")
	}))
	defer upstream.Close()
	r := start(t, upstream.URL, func(o *proxy.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	resp, _ := do(t, client(t), "POST", r.url+"/v2/team/app/blobs/uploads/", nil, "X-Forwarded-Host", "reg.example", "X-Forwarded-Proto", "https")
	if got := resp.Header.Get("Location"); got != "https://reg.example/v2/team/app/blobs/uploads/1" {
		t.Errorf("Location is %s", got)
	}
	if got, ok := resp.Header["Content-Type"]; ok {
		t.Errorf("Content-Type is %q", got)
	}
}
