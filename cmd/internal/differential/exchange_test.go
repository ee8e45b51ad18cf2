package differential_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A request is what to send to a rig.
type request struct {
	method, target string // target: path and query, or an absolute URL
	header         http.Header
	body           []byte
	stream         bool   // the body has no length
	user           string // who asks: "" is the rig's usual user, "nobody" has no credential
	cut            *int   // the connection is closed after that many bytes of the body, or of the answer
}

// header makes one of pairs.
func header(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// An exchange is a request with its answer.
type exchange struct {
	agent          string
	method, target string
	accept         string
	form, strict   bool
	torn           bool // a request for the same path was cut off before

	status   int // 0 if the connection was closed before
	location string
	answer   http.Header
	content  []byte
}

func (x *exchange) String() string {
	return fmt.Sprintf("%s %s → %d", x.method, x.target, x.status)
}

func (x *exchange) reads() bool {
	return x.method == http.MethodGet || x.method == http.MethodHead
}

// route tells whether the path is …/<name>/<something>.
func (x *exchange) route(name string) bool {
	p, _, _ := strings.Cut(x.target, "?")
	return path.Base(path.Dir(p)) == name
}

// do sends a request whose events the next compare looks at.
func (r *rig) do(q request) *exchange {
	r.tb.Helper()
	q.header = q.header.Clone()
	if q.header == nil {
		q.header = make(http.Header)
	}
	r.sent++
	if q.header.Get("User-Agent") == "" {
		q.header.Set("User-Agent", fmt.Sprintf("differential/%d", r.sent))
	}
	x := r.send(q)
	r.exchanges[x.agent] = x
	return x
}

// send sends a request and waits until the rig has done with it.
func (r *rig) send(q request) *exchange {
	r.tb.Helper()
	if u, err := url.Parse(q.target); err == nil && u.Host != "" {
		q.target = u.RequestURI()
	}
	r.authorize(&q)
	x := &exchange{
		agent: q.header.Get("User-Agent"), method: q.method, target: q.target, strict: r.strict,
		accept: strings.Join(q.header.Values("Accept"), ","),
		form:   strings.HasPrefix(q.header.Get("Content-Type"), "application/x-www-form-urlencoded"),
	}
	var err error
	at, _, _ := strings.Cut(q.target, "?")
	x.torn = r.torn[at]
	if q.cut != nil && len(q.body) > 0 {
		r.torn[at] = true
		err = r.abort(q)
	} else {
		err = r.roundTrip(q, x)
	}
	if err != nil {
		r.tb.Fatalf("%v: %v", x, err)
	}
	if r.proxy != nil {
		r.proxy.await(x.agent)
	} else {
		r.inner.await(x.agent)
	}
	r.inner.idle()
	return x
}

func (r *rig) roundTrip(q request, x *exchange) error {
	ctx, cancel := context.WithCancel(r.tb.Context())
	defer cancel()
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
		if q.stream {
			body = struct{ io.Reader }{body}
		}
	}
	req, err := http.NewRequestWithContext(ctx, q.method, r.base+q.target, body)
	if err != nil {
		return err
	}
	req.Header = q.header
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	x.status, x.answer, x.location = resp.StatusCode, resp.Header, resp.Header.Get("Location")
	if q.cut != nil {
		_, err = io.CopyN(io.Discard, resp.Body, int64(*q.cut))
		cancel()
		return err
	}
	x.content, err = io.ReadAll(resp.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) && x.status == http.StatusPreconditionFailed {
		return nil // distribution announces the length of the blob, and sends nothing
	}
	return err
}

// abort sends the beginning of a request and closes the connection.
func (r *rig) abort(q request) error {
	conn, err := net.Dial("tcp", r.host())
	if err != nil {
		return err
	}
	defer conn.Close()
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", q.method, q.target, r.host())
	if q.stream {
		head.WriteString("Transfer-Encoding: chunked\r\n")
	} else {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(q.body))
	}
	if err := q.header.Write(&head); err != nil {
		return err
	}
	head.WriteString("\r\n")
	if q.stream {
		fmt.Fprintf(&head, "%x\r\n", len(q.body))
	}
	head.Write(q.body[:*q.cut])
	_, err = conn.Write(head.Bytes())
	return err
}

// host is the rig's host:port.
func (r *rig) host() string { return strings.TrimPrefix(r.base, "http://") }

// authorize adds the credential of who asks.
func (r *rig) authorize(q *request) {
	user := q.user
	if user == "" && r.auth != registrytest.None {
		user = registrytest.Username
	}
	if user == "" || user == "nobody" || q.header.Get("Authorization") != "" {
		return
	}
	req := &http.Request{Header: q.header}
	req.SetBasicAuth(user, passwordOf(user))
	if r.auth != registrytest.Token {
		return
	}
	if user == "mallory" {
		q.header.Set("Authorization", "Bearer "+forged)
		return
	}
	q.header.Set("Authorization", "Bearer "+r.token(user, repositoriesOf(q.target)...))
}

// forged is a token of alice that nobody signed.
const forged = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.AAAA"

func passwordOf(user string) string {
	switch user {
	case registrytest.Username:
		return registrytest.Password
	case "bob":
		return "bob's"
	}
	return "a guess"
}

// repositoriesOf lists the repositories for which a token is needed.
func repositoriesOf(target string) []string {
	u, err := url.Parse(target)
	if err != nil {
		return nil
	}
	var names []string
	rest := strings.TrimPrefix(u.Path, "/v2/")
	for _, route := range []string{"/blobs/", "/manifests/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(rest, route); i > 0 {
			names = append(names, rest[:i])
		}
	}
	return append(names, u.Query()["from"]...)
}

// token has the registry's token server issue one.
func (r *rig) token(user string, repositories ...string) string {
	query := url.Values{"service": {registrytest.TokenService}}
	for _, name := range repositories {
		query.Add("scope", "repository:"+name+":pull,push,delete")
	}
	key := user + " " + query.Encode()
	if token := r.tokens[key]; token != "" {
		return token
	}
	req, err := http.NewRequest("GET", r.base+registrytest.TokenPath+"?"+query.Encode(), nil)
	if err != nil {
		r.tb.Fatal(err)
	}
	req.SetBasicAuth(user, passwordOf(user))
	resp, err := r.client.Do(req)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		r.tb.Fatalf("no token for %s: %s %v", user, resp.Status, err)
	}
	r.tokens[key] = answer.Token
	return answer.Token
}
