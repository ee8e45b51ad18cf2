package distribution

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
)

// A reporter makes events of one registry's operations.
type reporter struct {
	mw     *Middleware
	bridge *notifications.Bridge
}

// listener returns what to tell about an operation that was called with ctx. Without a
// request in it, nothing is said of who asked for the operation.
func (p reporter) listener(ctx context.Context) notifications.Listener {
	r := requestOf(ctx)
	var urls notifications.URLBuilder
	var record notifications.RequestRecord
	if r != nil {
		id, _ := ctx.Value("http.request.id").(string)
		record = notifications.RequestOf(id, r, p.mw.opts.TrustedProxies...)
		urls = requestURLs{&p.mw.opts, r}
	}
	if p.mw.opts.BaseURL.String() != "" {
		urls = p.mw.opts.BaseURL
	}
	return p.bridge.WithURLs(urls).For(notifications.ActorRecord{Name: actorOf(ctx, r)}, record)
}

// wantsPull tells whether the sink might want the event of a pull. It allocates nothing but
// the name of repo.
func (p reporter) wantsPull(ctx context.Context, repo reference.Named, tag string, dgst digest.Digest) bool {
	if p.mw.previews == nil {
		return true
	}
	r := requestOf(ctx)
	e := p.mw.previews.Get().(*notifications.Event)
	defer p.mw.previews.Put(e)
	*e = notifications.Event{
		Action:     notifications.ActionPull,
		Repository: repo.Name(),
		Tag:        tag,
		Digest:     dgst,
		Actor:      actorOf(ctx, r),
		Provenance: notifications.Provenance{Format: Format},
	}
	if r != nil {
		e.Method = r.Method
	}
	return p.mw.outbox.Wants(e)
}

// done logs why there is no event of an operation. What the outbox has no room for it
// counts itself.
func (p reporter) done(err error) {
	switch {
	case err == nil:
	case errors.Is(err, notifications.ErrFull), errors.Is(err, notifications.ErrClosed):
		p.mw.opts.Logger.Debug("event unrecorded", "error", err)
	default:
		p.mw.opts.Logger.Error("reporting an operation", "error", err)
	}
}

// requestOf returns the request that ctx is of, nil if it is of none.
func requestOf(ctx context.Context) *http.Request {
	r, _ := ctx.Value("http.request").(*http.Request)
	return r
}

// actorOf names who made r: whom the registry has authenticated, or else, as distribution
// does, whom the client says it is.
func actorOf(ctx context.Context, r *http.Request) string {
	name, _ := ctx.Value("auth.user.name").(string)
	if name == "" && r != nil {
		name, _, _ = r.BasicAuth()
	}
	return name
}

// requestURLs makes the URLs of events of a request, when there is an event.
type requestURLs struct {
	opts *Options
	r    *http.Request
}

func (u requestURLs) ManifestURL(ref reference.Canonical) (string, error) {
	return u.finish(notifications.BaseURLOf(u.r, u.opts.TrustedProxies...).ManifestURL(ref))
}

func (u requestURLs) BlobURL(ref reference.Canonical) (string, error) {
	return u.finish(notifications.BaseURLOf(u.r, u.opts.TrustedProxies...).BlobURL(ref))
}

// finish leaves of a URL what comes after the host, and the path before /v2/, if URLs are
// to be relative.
func (u requestURLs) finish(url string, err error) (string, error) {
	if err == nil && u.opts.RelativeURLs {
		url = url[strings.Index(url, "/v2/"):]
	}
	return url, err
}
