package registry

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/regcast/regcast/notifications/registry/internal/answer"
)

// ListOptions are for a listing; nil is all of it.
type ListOptions struct {
	After string // begin behind this name, in the registry's order; for going on with a listing
}

// errEnough ends a listing that the caller has enough of.
var errEnough = errors.New("registry: enough")

// Tags lists the tags of a repository, as the registry orders them. An error is the last
// thing in the sequence; [ErrTooLarge] if there are more pages than MaxPages, [ErrEndless]
// if a page leads to one that was there already or to the same names again. A tag may come
// twice if the repository changes meanwhile.
func (c *Client) Tags(ctx context.Context, repository string, opts *ListOptions) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		r, err := c.repository(repository)
		if err != nil {
			yield("", err)
			return
		}
		r.Client = newPager(c)
		c.list(yield, opts, func(tag string) (string, bool) { return tag, true },
			func(after string, page func([]string) error) error { return r.Tags(ctx, after, page) })
	}
}

// Repositories lists the registry's repositories, those below the client's prefix alone
// and without it. It is [Client.Tags] in all else.
func (c *Client) Repositories(ctx context.Context, opts *ListOptions) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		below := func(name string) (string, bool) { return strings.CutPrefix(name, c.prefix) }
		c.list(yield, opts, below, func(after string, page func([]string) error) error {
			if after != "" {
				after = c.prefix + after
			}
			r := c.registry()
			r.Client = newPager(c)
			return r.Repositories(ctx, after, page)
		})
	}
}

// list yields those names of all pages that pick takes, as it returns them.
func (c *Client) list(yield func(string, error) bool, opts *ListOptions, pick func(string) (string, bool),
	pages func(after string, page func([]string) error) error) {
	after := ""
	if opts != nil {
		after = opts.After
	}
	seen := 0
	var last []string
	err := pages(after, func(names []string) error {
		if seen++; seen > c.opts.MaxPages {
			return fmt.Errorf("%w: a listing of more than %d pages", ErrTooLarge, c.opts.MaxPages)
		}
		if len(names) > 0 && slices.Equal(names, last) {
			return fmt.Errorf("%w: two pages with the same %d names", ErrEndless, len(names))
		}
		last = names
		for _, name := range names {
			if name, ours := pick(name); ours && !yield(name, nil) {
				return errEnough
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		yield("", err)
	}
}

// A pager makes the requests of one listing, each once.
type pager struct {
	doer
	seed  maphash.Seed
	asked map[uint64]bool // URLs; at most MaxPages
}

func newPager(c *Client) *pager {
	return &pager{doer: doer{c}, seed: maphash.MakeSeed(), asked: make(map[uint64]bool)}
}

// Do asks for a page.
func (p *pager) Do(req *http.Request) (*http.Response, error) {
	page := maphash.String(p.seed, req.URL.String())
	if p.asked[page] {
		return nil, fmt.Errorf("%w: a page leads to one that was there already (%s %s)", ErrEndless, req.Method, answer.Shown(req.URL))
	}
	p.asked[page] = true
	return p.doer.Do(req)
}
