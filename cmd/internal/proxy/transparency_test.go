package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/redirect" // for 307
	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A step is one request of a script. {loc} in a target is the path and query of the last
// Location, {blob} and {manifest} are digests.
type step struct {
	name    string
	method  string
	target  string
	header  []string // names and values
	body    string
	chunked bool
}

// A side is a registry, reached directly or through a proxy, and what it saw.
type side struct {
	host string
	loc  string

	mu   sync.Mutex
	seen []string
}

// wrap notes what the registry sees of each request, but for what a proxy may add.
func (s *side) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &body), r.Body}
		next.ServeHTTP(w, r)
		_, _ = io.Copy(io.Discard, r.Body)

		h := r.Header.Clone()
		for _, name := range []string{"Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"} {
			h.Del(name)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, normalize(s.host, fmt.Sprintf("%s %s %s %v %q %v %q",
			r.Method, r.RequestURI, r.Host, r.ContentLength, sorted(h), r.Trailer, clip(body.String()))))
	})
}

// observations returns what the registry saw since the last call.
func (s *side) observations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

func clip(s string) string {
	if len(s) > 4<<10 {
		return digestOf([]byte(s))
	}
	return s
}

func sorted(h http.Header) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		lines = append(lines, fmt.Sprintf("%s: %q", name, h[name]))
	}
	return lines
}

// normalize replaces what differs between any two runs: the address that the client
// uses, the sessions of uploads and their state, and the boundary of several ranges. The
// address of a registry behind a proxy is not among it.
func normalize(host, s string) string {
	s = strings.ReplaceAll(s, host, "HOST")
	s = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).ReplaceAllString(s, "SESSION")
	s = regexp.MustCompile(`_state=[^&"\s]+`).ReplaceAllString(s, "_state=STATE")
	return regexp.MustCompile(`(--|boundary=)[0-9a-f]{60}`).ReplaceAllString(s, "${1}BOUNDARY")
}

// take speaks a step and returns the answer: all that a client sees.
func (s *side) take(t *testing.T, st step) string {
	t.Helper()
	c := dial(t, s.host)
	defer c.Close()
	target := strings.NewReplacer("{loc}", s.loc, "{host}", s.host).Replace(st.target)
	var req strings.Builder
	fmt.Fprintf(&req, "%s %s HTTP/1.1\r\nHost: %s\r\n", st.method, target, s.host)
	for i := 0; i < len(st.header); i += 2 {
		fmt.Fprintf(&req, "%s: %s\r\n", st.header[i], st.header[i+1])
	}
	switch {
	case st.chunked:
		req.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for part := range slices.Chunk([]byte(st.body), 7) {
			fmt.Fprintf(&req, "%x\r\n%s\r\n", len(part), part)
		}
		req.WriteString("0\r\n\r\n")
	case st.body != "" || st.method == "POST" || st.method == "PUT" || st.method == "PATCH":
		fmt.Fprintf(&req, "Content-Length: %d\r\n\r\n%s", len(st.body), st.body)
	default:
		req.WriteString("\r\n")
	}
	go func() { _, _ = io.WriteString(c, req.String()) }() // a server may answer before it has read all
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: st.method})
	if err != nil {
		t.Fatalf("%s: %v", st.name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		body = fmt.Append(body, err) // distribution has one
	}
	if loc := resp.Header.Get("Location"); loc != "" {
		s.loc = strings.TrimPrefix(loc, "http://"+s.host)
	}
	resp.Header.Del("Date")
	return normalize(s.host, fmt.Sprintf("%s %s\nlength %d %q\n%s\n\n%s\n%v", resp.Proto, resp.Status,
		resp.ContentLength, resp.TransferEncoding, strings.Join(sorted(resp.Header), "\n"), body, resp.Trailer))
}

// sides starts two equal registries, one of them behind a proxy.
func sides(t *testing.T, configure func(*configuration.Configuration), change func(*proxy.Options)) (direct, proxied *side) {
	direct, proxied = &side{}, &side{}
	direct.host = registrytest.Start(t, &registrytest.Options{Configure: configure, Wrap: direct.wrap}).Host()
	behind := registrytest.Start(t, &registrytest.Options{Configure: configure, Wrap: proxied.wrap})
	proxied.host = start(t, behind.URL(), change).host
	return direct, proxied
}

// compare plays a script to both sides and reports where they differ.
func compare(t *testing.T, direct, proxied *side, script []step) {
	t.Helper()
	answers := 0
	for _, st := range script {
		want, got := direct.take(t, st), proxied.take(t, st)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the answer (-direct +proxied):\n%s", st.name, diff)
		}
		if diff := cmp.Diff(direct.observations(), proxied.observations()); diff != "" {
			t.Errorf("%s: the request (-direct +proxied):\n%s", st.name, diff)
		}
		if strings.Contains(want, " 20") {
			answers++
		}
	}
	if answers == 0 {
		t.Error("nothing has succeeded: the script tests nothing")
	}
}

const (
	blobText     = "a layer of some bytes"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
)

func manifestOf(config, layer string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		manifestType, digestOf([]byte(config)), len(config), digestOf([]byte(layer)), len(layer))
}

// push is what brings a blob.
func push(repo, blob string) []step {
	return []step{
		{name: "start", method: "POST", target: "/v2/" + repo + "/blobs/uploads/"},
		{name: "all at once", method: "PUT", target: "{loc}&digest=" + digestOf([]byte(blob)), body: blob, header: []string{"Content-Type", "application/octet-stream"}},
	}
}

func TestScriptedTrafficIsTheSame(t *testing.T) {
	direct, proxied := sides(t, nil, nil)
	blob, manifest := digestOf([]byte(blobText)), manifestOf("{}", blobText)
	dgst := digestOf([]byte(manifest))
	typed := []string{"Content-Type", manifestType}
	accepting := []string{"Accept", manifestType}
	script := slices.Concat(
		[]step{
			{name: "base", method: "GET", target: "/v2/"},
			{name: "base without a slash", method: "GET", target: "/v2"},
			{name: "base, head", method: "HEAD", target: "/v2/"},
			{name: "no such route", method: "GET", target: "/v2/team/app/nothing"},
			{name: "no route at all", method: "GET", target: "/"},
			{name: "options", method: "OPTIONS", target: "/v2/team/app/manifests/latest"},
			{name: "wrong method", method: "POST", target: "/v2/team/app/manifests/latest", body: "x"},
			{name: "unheard-of method", method: "FROB", target: "/v2/team/app/manifests/latest"},
			{name: "empty catalog", method: "GET", target: "/v2/_catalog"},
			{name: "no such repository", method: "GET", target: "/v2/team/app/tags/list"},
			{name: "a name in capitals", method: "GET", target: "/v2/TEAM/app/tags/list"},
		},
		push("team/app", blobText), push("team/app", "{}"), push("team/app", ""), push("other", blobText),
		[]step{
			{name: "wrong digest, start", method: "POST", target: "/v2/team/app/blobs/uploads/"},
			{name: "wrong digest", method: "PUT", target: "{loc}&digest=" + dgst, body: blobText},
			{name: "no digest", method: "PUT", target: "{loc}", body: blobText},
			{name: "chunks, start", method: "POST", target: "/v2/team/app/blobs/uploads/"},
			{name: "first chunk", method: "PATCH", target: "{loc}", body: blobText[:5], header: []string{"Content-Range", "0-4"}},
			{name: "where are we", method: "GET", target: "{loc}"},
			{name: "a chunk out of order", method: "PATCH", target: "{loc}", body: blobText[9:], header: []string{"Content-Range", "9-20"}},
			{name: "streamed", method: "PATCH", target: "{loc}", body: blobText[5:15], chunked: true},
			{name: "last chunk", method: "PUT", target: "{loc}&digest=" + blob, body: blobText[15:], chunked: true},
			{name: "cancelled, start", method: "POST", target: "/v2/team/app/blobs/uploads/"},
			{name: "cancelled", method: "DELETE", target: "{loc}"},
			{name: "cancelled twice", method: "DELETE", target: "{loc}"},
			{name: "monolithic post", method: "POST", target: "/v2/team/app/blobs/uploads/?digest=" + blob, body: blobText},
			{name: "mount", method: "POST", target: "/v2/third/blobs/uploads/?mount=" + blob + "&from=other"},
			{name: "mount from nowhere", method: "POST", target: "/v2/third/blobs/uploads/?mount=" + blob + "&from=nowhere"},
			{name: "mount from anywhere", method: "POST", target: "/v2/third/blobs/uploads/?mount=" + blob},
			{name: "mount in a form", method: "POST", target: "/v2/fourth/blobs/uploads/", body: "mount=" + blob + "&from=other", header: []string{"Content-Type", "application/x-www-form-urlencoded"}},
			{name: "blob, head", method: "HEAD", target: "/v2/team/app/blobs/" + blob},
			{name: "blob", method: "GET", target: "/v2/team/app/blobs/" + blob},
			{name: "empty blob", method: "GET", target: "/v2/team/app/blobs/" + digestOf(nil)},
			{name: "no such blob", method: "GET", target: "/v2/team/app/blobs/" + dgst},
			{name: "no such blob, head", method: "HEAD", target: "/v2/team/app/blobs/" + dgst},
			{name: "blob that is known", method: "GET", target: "/v2/team/app/blobs/" + blob, header: []string{"If-None-Match", `"` + blob + `"`}},
			{name: "packed", method: "GET", target: "/v2/team/app/blobs/" + blob, header: []string{"Accept-Encoding", "gzip, zstd"}},
		},
		ranges("/v2/team/app/blobs/"+blob),
		[]step{
			{name: "no manifest", method: "PUT", target: "/v2/team/app/manifests/v1", body: "{", header: typed},
			{name: "unknown blob", method: "PUT", target: "/v2/team/app/manifests/v1", body: manifestOf("{}", "unknown"), header: typed},
			{name: "manifest by tag", method: "PUT", target: "/v2/team/app/manifests/v1", body: manifest, header: typed},
			{name: "manifest by digest", method: "PUT", target: "/v2/team/app/manifests/" + dgst, body: manifest, header: typed, chunked: true},
			{name: "another tag", method: "PUT", target: "/v2/team/app/manifests/v2", body: manifest, header: typed},
			{name: "several tags", method: "PUT", target: "/v2/team/app/manifests/" + dgst + "?tag=a&tag=b", body: manifest, header: typed},
			{name: "wrong digest", method: "PUT", target: "/v2/team/app/manifests/" + blob, body: manifest, header: typed},
			{name: "too large", method: "PUT", target: "/v2/team/app/manifests/v3", body: strings.Repeat(" ", 4<<20) + manifest, header: typed},
			{name: "manifest, get", method: "GET", target: "/v2/team/app/manifests/v1", header: accepting},
			{name: "manifest, head", method: "HEAD", target: "/v2/team/app/manifests/v1", header: accepting},
			{name: "manifest by digest, get", method: "GET", target: "/v2/team/app/manifests/" + dgst, header: accepting},
			{name: "manifest that is known", method: "GET", target: "/v2/team/app/manifests/v1", header: append([]string{"If-None-Match", `"` + dgst + `"`}, accepting...)},
			{name: "manifest of another type", method: "GET", target: "/v2/team/app/manifests/v1", header: []string{"Accept", "text/plain", "Accept", "application/json"}},
			{name: "no such tag", method: "GET", target: "/v2/team/app/manifests/nope"},
			{name: "malformed digest", method: "GET", target: "/v2/team/app/manifests/sha256:short"},
			{name: "referrers", method: "GET", target: "/v2/team/app/referrers/" + dgst},
			{name: "tags", method: "GET", target: "/v2/team/app/tags/list"},
			{name: "one tag", method: "GET", target: "/v2/team/app/tags/list?n=1"},
			{name: "the next", method: "GET", target: "/v2/team/app/tags/list?n=1&last=v1"},
			{name: "no tag", method: "GET", target: "/v2/team/app/tags/list?n=0"},
			{name: "no number of tags", method: "GET", target: "/v2/team/app/tags/list?n=abc"},
			{name: "catalog", method: "GET", target: "/v2/_catalog"},
			{name: "a page of it", method: "GET", target: "/v2/_catalog?n=1"},
			{name: "another", method: "GET", target: "/v2/_catalog?n=1&last=other"},
		},
		queries(),
		[]step{
			{name: "delete a tag", method: "DELETE", target: "/v2/team/app/manifests/v2"},
			{name: "twice", method: "DELETE", target: "/v2/team/app/manifests/v2"},
			{name: "delete a manifest", method: "DELETE", target: "/v2/team/app/manifests/" + dgst},
			{name: "its tag", method: "GET", target: "/v2/team/app/manifests/v1", header: accepting},
			{name: "delete a blob", method: "DELETE", target: "/v2/team/app/blobs/" + blob},
			{name: "deleted", method: "HEAD", target: "/v2/team/app/blobs/" + blob},
			{name: "delete nothing", method: "DELETE", target: "/v2/team/app/blobs/" + dgst},
			{name: "delete a repository", method: "DELETE", target: "/v2/team/app"},
		},
	)
	compare(t, direct, proxied, script)
}

// ranges are the forms of a Range header.
func ranges(target string) (steps []step) {
	for _, r := range []string{"bytes=0-0", "bytes=2-", "bytes=-3", "bytes=0-1,3-4", "bytes=5-2", "bytes=999-", "bytes=-0", "octets=0-1", "nonsense"} {
		for _, method := range []string{"GET", "HEAD"} {
			steps = append(steps, step{name: method + " " + r, method: method, target: target, header: []string{"Range", r}})
		}
	}
	steps = append(steps, step{name: "If-Match", method: "GET", target: target, header: []string{"If-Match", `"other"`}})
	return append(steps, step{name: "If-Range", method: "GET", target: target, header: []string{"Range", "bytes=0-3", "If-Range", `"other"`}})
}

// queries are odd ones, and odd targets.
func queries() (steps []step) {
	for _, q := range []string{"?", "?n=1;last=v1", "?n=%zz", "?n=1&n=2", "?=", "?&&n=1", "?n=%31", "?%6e=1", "?n=1&x=%2F..%2f", "?n=1?n=2", "?a+b=c+d", "?n=1&\xc3\xa9"} {
		steps = append(steps, step{name: "query " + q, method: "GET", target: "/v2/team/app/tags/list" + q})
	}
	for _, target := range []string{"//v2/", "/v2//team/app/tags/list", "/v2/team/../team/app/tags/list", "/v2/./team/app/tags/list",
		"/v2/team%2Fapp/tags/list", "/v2/team%2fapp/tags/list", "/v2/%74eam/app/tags/list", "/v2/team/app/tags/list/", "/v2/team/app/tags/list;x",
		"/v2/team/app/manifests/%00", "/v2/team/app/manifests/a%20b"} {
		steps = append(steps, step{name: "target " + target, method: "GET", target: target})
	}
	return steps
}

func TestRedirectsPassUnchanged(t *testing.T) {
	direct, proxied := sides(t, func(c *configuration.Configuration) {
		c.Storage["redirect"] = configuration.Parameters{"disable": false}
		c.Middleware = map[string][]configuration.Middleware{
			"storage": {{Name: "redirect", Options: configuration.Parameters{"baseurl": "https://objects.example:443/bucket"}}},
		}
	}, nil)
	target := "/v2/team/app/blobs/" + digestOf([]byte(blobText))
	script := append(push("team/app", blobText),
		step{name: "elsewhere", method: "GET", target: target},
		step{name: "elsewhere, head", method: "HEAD", target: target},
		step{name: "elsewhere, a range", method: "GET", target: target, header: []string{"Range", "bytes=1-2"}})
	compare(t, direct, proxied, script)
	if got := proxied.take(t, script[2]); !strings.Contains(got, "307") || !strings.Contains(got, "https://objects.example:443/bucket/") {
		t.Errorf("the registry does not redirect:\n%s", got)
	}
}
