package proxy

import (
	"net/http"
	"net/url"
	"strings"
)

// addresses rewrites those that a registry gives out.
type addresses struct {
	names    map[string]bool // of the registry: hosts, with a port unless it is the scheme's
	path     string          // the registry's own, before /v2/
	relative bool
}

func newAddresses(o *Options) *addresses {
	a := &addresses{
		names:    map[string]bool{normal(o.Upstream.Scheme, o.Upstream.Host): true},
		path:     (&url.URL{Path: o.Upstream.Path}).EscapedPath(),
		relative: o.Location == Relative,
	}
	for _, name := range o.UpstreamNames {
		a.names[normal("http", name)] = true
		a.names[normal("https", name)] = true
	}
	return a
}

// normal returns a host in the form in which hosts are compared.
func normal(scheme, host string) string {
	host = strings.ToLower(host)
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ".")
}

// rewrite rewrites Location and Link of an answer.
func (a *addresses) rewrite(h http.Header, c client) {
	for i, value := range h["Location"] {
		h["Location"][i] = a.address(value, c)
	}
	for i, value := range h["Link"] {
		h["Link"][i] = a.links(value, c)
	}
}

// address rewrites one address: of the registry's, what comes before the path. Others,
// such as those of an object storage, stay as they are, and so does one whose path alone
// would be the address of another host.
func (a *addresses) address(s string, c client) string {
	scheme, host, rest := split(s)
	switch {
	case host == "" && (scheme != "" || !strings.HasPrefix(rest, "/")):
		return s // a path from where the request was, or no address of ours
	case host != "" && !a.own(scheme, host, c):
		return s
	}
	rest = a.public(rest, c)
	if host != "" && !a.relative && c.host != "" {
		return c.scheme + "://" + c.host + rest
	}
	if namesHost(rest) {
		return s
	}
	return rest
}

// namesHost tells whether a path would be read as the address of a host, as it begins with
// two slashes (RFC 3986, section 4.2). For browsers a backslash is one, and a tab nothing.
func namesHost(path string) bool {
	next := strings.TrimLeft(path[1:], "\t\r\n")
	return next != "" && (next[0] == '/' || next[0] == '\\')
}

// own tells whether host is one of the registry's names, in either scheme: that a
// registry gives out the wrong one is common. What it was asked by is one, too.
func (a *addresses) own(scheme, host string, c client) bool {
	if strings.Contains(host, "@") {
		return false
	}
	host = normal(scheme, host)
	return a.names[host] || c.host != "" && host == normal(c.scheme, c.host) ||
		c.asked != "" && host == normal(scheme, c.asked)
}

// public turns a path of the registry's, with what follows it, into the client's.
func (a *addresses) public(rest string, c client) string {
	if a.path != "" {
		if inner, ok := strings.CutPrefix(rest, a.path); ok && (inner == "" || strings.IndexByte("/?#", inner[0]) >= 0) {
			rest = inner
		}
	}
	if !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	if c.path == "" || strings.HasPrefix(rest, c.path+"/") { // or a registry that was told where it is
		return rest
	}
	return c.path + rest
}

// isForeign tells whether s is on a host that is not the registry's.
func (a *addresses) isForeign(s string, c client) bool {
	scheme, host, _ := split(s)
	return host != "" && !a.own(scheme, host, c)
}

// split parts an address before its path. Nothing of it is unescaped or cleaned, so that
// what is put together again differs in nothing else.
func split(s string) (scheme, host, rest string) {
	rest = s
	if i := strings.IndexAny(s, ":/?#"); i >= 0 && s[i] == ':' {
		scheme, rest = strings.ToLower(s[:i]), s[i+1:]
	}
	after, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return scheme, "", rest
	}
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	return scheme, after[:end], after[end:]
}

// hostOf returns the host of an address, for a log.
func hostOf(s string) string {
	_, host, _ := split(s)
	return host[strings.LastIndexByte(host, '@')+1:]
}

// links rewrites the targets of a Link header (RFC 8288): what stands in angle brackets
// outside of quotes.
func (a *addresses) links(s string, c client) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\' && i+1 < len(s):
			b.WriteByte(s[i])
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '<' && !quoted:
			if end := strings.IndexByte(s[i:], '>'); end > 0 {
				b.WriteByte('<')
				b.WriteString(a.address(s[i+1:i+end], c))
				i += end
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
