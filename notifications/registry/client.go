package registry

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/regcast/regcast/notifications/registry/internal/answer"
)

// ClientOptions are what a [Client] may be told. The zero value has the defaults named
// here.
type ClientOptions struct {
	// Transport makes the requests. Nil is [http.DefaultTransport], as in an
	// [http.Client]: it authenticates to nobody and repeats nothing. Package auth has one
	// that does both, which clients may share.
	Transport http.RoundTripper
	// MaxManifest bounds a manifest, in bytes; default 4 MiB, which registries have to
	// take and most take no more than.
	MaxManifest int64
	// PageSize is how many names a page of a listing is asked for; default 1000.
	PageSize int
	// MaxPages bounds the pages of a listing; default 10 000.
	MaxPages int
	// MaxPageBytes bounds one page; default 4 MiB.
	MaxPageBytes int64
	// ChunkSize is how much of a blob one request of a chunked upload carries, and so how
	// much of it is held in memory, in bytes; default 8 MiB. A registry may ask for more,
	// up to MaxChunk; default 128 MiB.
	ChunkSize int64
	MaxChunk  int64
}

func (o *ClientOptions) withDefaults() ClientOptions {
	var out ClientOptions
	if o != nil {
		out = *o
	}
	if out.PageSize == 0 {
		out.PageSize = 1000
	}
	if out.MaxPages == 0 {
		out.MaxPages = 10_000
	}
	for _, n := range []struct {
		value    *int64
		fallback int64
	}{
		{&out.MaxManifest, 4 << 20},
		{&out.MaxPageBytes, 4 << 20},
		{&out.ChunkSize, 8 << 20},
		{&out.MaxChunk, 128 << 20},
	} {
		if *n.value <= 0 {
			*n.value = n.fallback
		}
	}
	return out
}

// maxRedirects is what browsers and net/http follow, too.
const maxRedirects = 10

// A Client makes the calls of the OCI distribution API to one registry. Everything that
// it fetches is verified. It is safe for concurrent use and keeps nothing open but the
// transport's idle connections.
//
// Its methods return *[Error] for an answer that says no, which is also one of the
// package's errors; [ErrMismatch], [ErrTooLarge] or [ErrRefused] for an answer that is not
// to be believed; other errors if there was no answer. Repositories are named without the
// client's prefix.
type Client struct {
	base   url.URL // scheme and host
	prefix string  // of repositories, "" or with a slash at its end
	opts   ClientOptions
	http   *http.Client
}

// NewClient returns a client of the registry at base, "https://registry.example:5000" or
// with http. A path in it is put before the name of each repository: at
// "https://registry.example/mirror", "team/app" is the registry's mirror/team/app.
// Nothing is connected yet.
func NewClient(base string, opts *ClientOptions) (*Client, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, errors.New("the URL of a registry: it cannot be parsed") // which would show a password
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the URL of a registry begins with https:// or http://")
	case u.User != nil:
		return nil, errors.New("the URL of a registry holds no user: that is for the credentials")
	case u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the URL of a registry is a scheme, a host and perhaps a path, not %s", answer.Shown(u))
	}
	c := &Client{base: url.URL{Scheme: u.Scheme, Host: u.Host}, opts: opts.withDefaults()}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		c.prefix = prefix + "/"
	}
	if err := c.reference("x", "").ValidateRepository(); err != nil {
		return nil, fmt.Errorf("%q cannot begin the name of a repository", c.prefix)
	}
	c.http = &http.Client{Transport: c.opts.Transport, CheckRedirect: checkRedirect}
	return c, nil
}

// checkRedirect lets a registry send us to a store of blobs, encrypted if it is itself. What
// changes something stays what it is: net/http would make a PUT that is answered 302 a GET,
// whose answer says nothing of what was to be put; and it stays with the registry.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) >= maxRedirects:
		return fmt.Errorf("%w: more than %d redirects", ErrRefused, maxRedirects)
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("%w: a redirect from https to %s", ErrRefused, req.URL.Scheme)
	case req.Method != first.Method:
		return http.ErrUseLastResponse
	case req.Method != http.MethodGet && req.Method != http.MethodHead && answer.Origin(req.URL) != answer.Origin(first.URL):
		return fmt.Errorf("%w: a redirect of %s to %s, which is not %s", ErrRefused, req.Method, answer.Shown(req.URL), first.URL.Host)
	}
	return nil
}

// CloseIdleConnections closes connections that no request uses. The client can still be
// used.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Host is the registry's host, with its port if the URL has one.
func (c *Client) Host() string { return c.base.Host }

// Ping asks for the API's base end point: the registry is there and knows us.
func (c *Client) Ping(ctx context.Context) error {
	return c.registry().Ping(ctx)
}

// registry returns oras' view of the registry.
func (c *Client) registry() *remote.Registry {
	return &remote.Registry{
		RepositoryListPageSize: c.opts.PageSize,
		RepositoryOptions: remote.RepositoryOptions{
			Client:           doer{c},
			Reference:        orasregistry.Reference{Registry: c.base.Host},
			PlainHTTP:        c.base.Scheme == "http",
			MaxMetadataBytes: c.opts.MaxPageBytes,
		},
	}
}

// repository returns oras' view of a repository.
func (c *Client) repository(name string) (*remote.Repository, error) {
	reference := c.reference(name, "")
	if err := reference.ValidateRepository(); err != nil {
		return nil, fmt.Errorf("%q is not the name of a repository", name)
	}
	return &remote.Repository{
		Client:             doer{c},
		Reference:          reference,
		PlainHTTP:          c.base.Scheme == "http",
		MaxMetadataBytes:   c.opts.MaxPageBytes,
		TagListPageSize:    c.opts.PageSize,
		ManifestMediaTypes: manifestTypes(),
	}, nil
}

// reference is a name as oras has it.
func (c *Client) reference(repository, tagOrDigest string) orasregistry.Reference {
	return orasregistry.Reference{Registry: c.base.Host, Repository: c.prefix + repository, Reference: tagOrDigest}
}

// A doer makes requests for oras, and turns answers that say no into our errors.
type doer struct{ c *Client }

func (d doer) Do(req *http.Request) (*http.Response, error) {
	resp, err := d.c.send(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, ErrorFrom(resp)
	}
	return resp, nil
}

// call makes a request about a repository, "/v2/<name>/<path>". Whoever calls closes the
// answer's body. An answer without one of the statuses is an error.
func (c *Client) call(ctx context.Context, repository, method, path string, header http.Header, statuses ...int) (*http.Response, error) {
	reference := c.reference(repository, "")
	if err := reference.ValidateRepository(); err != nil {
		return nil, fmt.Errorf("%q is not the name of a repository", repository)
	}
	path, query, _ := strings.Cut(path, "?")
	u := c.base
	u.Path = "/v2/" + reference.Repository + "/" + path
	u.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	return c.do(req, statuses...)
}

// do makes a request whose answer has to have one of the statuses.
func (c *Client) do(req *http.Request, statuses ...int) (*http.Response, error) {
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	for _, status := range statuses {
		if resp.StatusCode == status {
			return resp, nil
		}
	}
	return nil, ErrorFrom(resp)
}

// send makes a request. An error does not show the query of a URL: upload sessions and
// signed redirects have secrets there.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		shown := "<hidden>"
		if u, perr := url.Parse(failed.URL); perr == nil {
			shown = answer.Shown(u)
		}
		return nil, &url.Error{Op: failed.Op, URL: shown, Err: failed.Err}
	}
	if err == nil && isPage(req, resp) {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: the answer is a page of a web site, %s (%s %s)", ErrRefused, answer.Shown(resp.Request.URL), req.Method, answer.Shown(req.URL))
	}
	return resp, err
}

// isPage tells whether an answer to a read is a page for people. Web sites have one for
// every path, or one to log in on, with status 200 and to HEAD, too: one that was taken for
// a registry would seem to have everything. The API's base is none of their paths; what
// registries say there is of any type.
func isPage(req *http.Request, resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/html" && resp.StatusCode == http.StatusOK && resp.Header.Get("Docker-Content-Digest") == "" &&
		(req.Method == http.MethodGet || req.Method == http.MethodHead) && req.URL.Path != "/v2/"
}

// checkDigest compares the digest that an answer claims, if it claims one, to ours.
func checkDigest(resp *http.Response, want digest.Digest) error {
	claimed := resp.Header.Get("Docker-Content-Digest")
	if claimed == "" || digest.Digest(claimed) == want {
		return nil
	}
	return fmt.Errorf("%w: the registry says %s, it is %s (%s %s)",
		ErrMismatch, printable(claimed), want, resp.Request.Method, answer.Shown(resp.Request.URL))
}
