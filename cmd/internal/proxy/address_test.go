package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func addressesOf(t testing.TB, upstream string, change func(*Options)) *addresses {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	o := &Options{Name: "main", Upstream: u}
	if change != nil {
		change(o)
	}
	if o, err = o.withDefaults(); err != nil {
		t.Fatal(err)
	}
	return newAddresses(o)
}

func TestAddresses(t *testing.T) {
	plain := client{"https", "reg.example", "", "inner.example:5000"}
	below := client{"https", "reg.example", "/mirror", ""}
	names := func(o *Options) { o.UpstreamNames = []string{"registry-1.example", "other.example:5001"} }
	relative := func(o *Options) { o.Location = Relative }
	for _, test := range []struct {
		name     string
		upstream string
		change   func(*Options)
		client   client
		in, want string
	}{
		{"the registry's own", "http://10.0.0.1:5000", nil, plain, "http://10.0.0.1:5000/v2/a/blobs/uploads/1?_state=a%2Fb==", "https://reg.example/v2/a/blobs/uploads/1?_state=a%2Fb=="},
		{"in the other scheme", "https://registry.internal:5000", nil, plain, "http://registry.internal:5000/v2/", "https://reg.example/v2/"},
		{"with the scheme's port", "https://registry.internal", nil, plain, "https://registry.internal:443/v2/", "https://reg.example/v2/"},
		{"without it", "http://registry.internal:80", nil, plain, "http://registry.internal/v2/", "https://reg.example/v2/"},
		{"with the other scheme's port", "https://registry.internal", nil, plain, "http://registry.internal:80/v2/", "https://reg.example/v2/"},
		{"on another port", "https://registry.internal", nil, plain, "https://registry.internal:8443/v2/", "https://registry.internal:8443/v2/"},
		{"in capitals", "https://registry.internal", nil, plain, "HTTPS://Registry.Internal./v2/", "https://reg.example/v2/"},
		{"without a scheme", "https://registry.internal", nil, plain, "//registry.internal/v2/", "https://reg.example/v2/"},
		{"of version 6", "http://[::1]:5000", nil, plain, "http://[::1]:5000/v2/", "https://reg.example/v2/"},
		{"as the client calls it", "http://10.0.0.1:5000", nil, plain, "http://reg.example/v2/", "https://reg.example/v2/"},
		{"as it was asked", "http://10.0.0.1:5000", nil, plain, "http://inner.example:5000/v2/", "https://reg.example/v2/"},
		{"by another name", "http://10.0.0.1:5000", names, plain, "https://registry-1.example:443/v2/", "https://reg.example/v2/"},
		{"by another name, with a port", "http://10.0.0.1:5000", names, plain, "http://other.example:5001/v2/", "https://reg.example/v2/"},
		{"by another name, on another port", "http://10.0.0.1:5000", names, plain, "http://other.example/v2/", "http://other.example/v2/"},
		{"a query of another address", "http://10.0.0.1:5000", nil, plain, "http://10.0.0.1:5000?next=http://10.0.0.1:5000/v2/", "https://reg.example/?next=http://10.0.0.1:5000/v2/"},
		{"a fragment", "http://10.0.0.1:5000", nil, plain, "http://10.0.0.1:5000#x", "https://reg.example/#x"},
		{"object storage", "http://10.0.0.1:5000", nil, plain, "https://s3.example/b?X-Amz-Signature=%2F&r=http://10.0.0.1:5000/", "https://s3.example/b?X-Amz-Signature=%2F&r=http://10.0.0.1:5000/"},
		{"a user", "http://10.0.0.1:5000", nil, plain, "http://u:p@10.0.0.1:5000/v2/", "http://u:p@10.0.0.1:5000/v2/"},
		{"a host like ours", "http://10.0.0.1:5000", nil, plain, "http://10.0.0.1:5000.evil.example/v2/", "http://10.0.0.1:5000.evil.example/v2/"},
		{"a path alone", "http://10.0.0.1:5000", nil, plain, "/v2/a/blobs/uploads/1?x", "/v2/a/blobs/uploads/1?x"},
		{"a path from here", "http://10.0.0.1:5000", nil, plain, "1?x=/", "1?x=/"},
		{"a query alone", "http://10.0.0.1:5000", nil, plain, "?n=1", "?n=1"},
		{"nothing", "http://10.0.0.1:5000", nil, plain, "", ""},
		{"no address of the web", "http://10.0.0.1:5000", nil, plain, "urn:/v2/", "urn:/v2/"},
		{"a registry below a path", "http://10.0.0.1:5000/registry/", nil, plain, "http://10.0.0.1:5000/registry/v2/a", "https://reg.example/v2/a"},
		{"its path alone", "http://10.0.0.1:5000/registry", nil, plain, "/registry/v2/a", "/v2/a"},
		{"its path and no more", "http://10.0.0.1:5000/registry", nil, plain, "/registry?n=1", "/?n=1"},
		{"a path like its", "http://10.0.0.1:5000/registry", nil, plain, "/registry2/v2/a", "/registry2/v2/a"},
		{"clients below a path", "http://10.0.0.1:5000", nil, below, "http://10.0.0.1:5000/v2/a", "https://reg.example/mirror/v2/a"},
		{"clients below a path that is known", "http://10.0.0.1:5000", nil, below, "https://reg.example/mirror/v2/a", "https://reg.example/mirror/v2/a"},
		{"clients below a path, a path alone", "http://10.0.0.1:5000", nil, below, "/v2/a", "/mirror/v2/a"},
		{"one path for another", "http://10.0.0.1:5000/registry", nil, below, "/registry/v2/a", "/mirror/v2/a"},
		{"relative", "http://10.0.0.1:5000", relative, plain, "http://10.0.0.1:5000/v2/?_state=a", "/v2/?_state=a"},
		{"relative, elsewhere", "http://10.0.0.1:5000", relative, plain, "http://s3.example/", "http://s3.example/"},
		{"what would name another host", "http://10.0.0.1:5000", relative, plain, "http://10.0.0.1:5000//evil.example/x", "http://10.0.0.1:5000//evil.example/x"},
		{"what would name another host below a path", "http://10.0.0.1:5000/registry", nil, plain, "/registry//evil.example/x", "/registry//evil.example/x"},
		{"what would name another host with a backslash", "http://10.0.0.1:5000/registry", nil, plain, `/registry/\evil.example/x`, `/registry/\evil.example/x`},
		{"what would name another host without a tab", "http://10.0.0.1:5000/registry", nil, plain, "/registry/\t/evil.example/x", "/registry/\t/evil.example/x"},
		{"what would name another host with more slashes", "http://10.0.0.1:5000", nil, plain, "////evil.example/x", "////evil.example/x"},
		{"two slashes behind a host", "http://10.0.0.1:5000", nil, plain, "http://10.0.0.1:5000//evil.example/x", "https://reg.example//evil.example/x"},
		{"two slashes behind a path", "http://10.0.0.1:5000", relative, below, "http://10.0.0.1:5000//evil.example/x", "/mirror//evil.example/x"},
		{"a client without a host", "http://10.0.0.1:5000", nil, client{}, "http://10.0.0.1:5000/v2/", "/v2/"},
	} {
		if got := addressesOf(t, test.upstream, test.change).address(test.in, test.client); got != test.want {
			t.Errorf("%s: %q became %q, want %q", test.name, test.in, got, test.want)
		}
	}
}

func TestLinks(t *testing.T) {
	a := addressesOf(t, "http://10.0.0.1:5000/registry", nil)
	c := client{"https", "reg.example", "", "inner.example:5000"}
	for in, want := range map[string]string{
		`</registry/v2/_catalog?last=b&n=2>; rel="next"`:                                                `</v2/_catalog?last=b&n=2>; rel="next"`,
		`<http://10.0.0.1:5000/registry/v2/a>;rel=next, <https://s3.example/>; rel="x"`:                 `<https://reg.example/v2/a>;rel=next, <https://s3.example/>; rel="x"`,
		`<http://10.0.0.1:5000/registry/v2/a?x=,;>; title="<http://10.0.0.1:5000/\"<", </registry/v2/>`: `<https://reg.example/v2/a?x=,;>; title="<http://10.0.0.1:5000/\"<", </v2/>`,
		`<unclosed`: `<unclosed`,
		`"\`:        `"\`,
		``:          ``,
	} {
		if got := a.links(in, c); got != want {
			t.Errorf("%s became\n%s, want\n%s", in, got, want)
		}
	}
}

// Whatever a registry sends, what is not its own address stays, the query always stays,
// its own host does not get out, and what was rewritten names no host but the public one.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{
		"http://10.0.0.1:5000/registry/v2/a?_state=a%2Fb", "/registry/v2/?n=1#f", "https://s3.example/b?sig=x", "//10.0.0.1:5000", "?n=1", "::", "http://[",
		`</registry/v2/_catalog?last=b>; rel="next"`, `<http://10.0.0.1:5000/>; a="\"<", <x>`,
		"http://10.0.0.1:5000//evil.example/x", "/registry//evil.example", `/registry/\evil.example`, "////evil.example", "/registry\t//evil.example",
	} {
		f.Add(s)
	}
	others := []*addresses{
		addressesOf(f, "http://10.0.0.1:5000", func(o *Options) { o.Location = Relative }),
		addressesOf(f, "http://10.0.0.1:5000/registry", func(o *Options) { o.Location = Relative }),
		addressesOf(f, "http://10.0.0.1:5000/registry", nil),
	}
	a := addressesOf(f, "http://10.0.0.1:5000/registry", nil)
	c := client{"https", "reg.example", "/mirror", ""}
	f.Fuzz(func(t *testing.T, s string) {
		got := a.address(s, c)
		if tail(got) != tail(s) {
			t.Errorf("%q became %q: the query has changed", s, got)
		}
		if again := a.address(got, c); strings.HasPrefix(got, "https://reg.example/mirror/") && again != got {
			t.Errorf("%q became %q and then %q", s, got, again)
		}
		u, err := url.Parse(s)
		v, gotErr := url.Parse(got)
		if err == nil && u.Opaque == "" && u.User == nil {
			switch {
			case gotErr != nil:
				t.Errorf("%q became %q: %v", s, got, gotErr)
			case strings.EqualFold(u.Host, "10.0.0.1:5000") && v.Host != "reg.example":
				t.Errorf("%q became %q: the registry's host got out", s, got)
			case u.Host != "" && !strings.EqualFold(u.Host, "10.0.0.1:5000") && !strings.EqualFold(strings.TrimSuffix(u.Hostname(), "."), "reg.example") && got != s:
				t.Errorf("%q became %q: it is not the registry's", s, got)
			}
		}
		for _, a := range others {
			for _, path := range []string{"", "/mirror"} {
				if got := a.address(s, client{"https", "reg.example", path, ""}); got != s && !isPublic(got) {
					t.Errorf("%q became %q: another host", s, got)
				}
			}
		}
		// As a whole header, what stands outside of brackets stays.
		h := http.Header{"Link": {s}}
		a.rewrite(h, c)
		if outside(h.Get("Link")) != outside(s) {
			t.Errorf("Link %q became %q", s, h.Get("Link"))
		}
	})
}

// isPublic tells whether a browser whose address is https://reg.example/ stays there when
// it follows s: it takes a backslash for a slash and leaves out tabs and line breaks.
func isPublic(s string) bool {
	s = strings.NewReplacer(`\`, "/", "\t", "", "\n", "", "\r", "").Replace(s)
	s = strings.TrimPrefix(s, "https:")
	if host, ok := strings.CutPrefix(s, "//"); ok {
		return host == "reg.example" || strings.HasPrefix(host, "reg.example/")
	}
	return strings.HasPrefix(s, "/")
}

// tail is an address from its query or fragment on.
func tail(s string) string {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		return s[i:]
	}
	return ""
}

// outside is a Link header without its targets, found in another way than the code has.
func outside(s string) string {
	out, quoted := "", false
	for s != "" {
		c := s[0]
		s = s[1:]
		switch {
		case quoted && c == '\\' && s != "":
			out, s = out+`\`+s[:1], s[1:]
			continue
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted && strings.Contains(s, ">"):
			_, s, _ = strings.Cut(s, ">")
			out += "<>"
			continue
		}
		out += string(rune(c))
	}
	return out
}
