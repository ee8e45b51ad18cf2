package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications/registry"
)

const (
	chunkTags = 100     // that are looked up before the next are listed
	maxSeen   = 1 << 16 // digests of a repository that are remembered as told; others may be told again
	maxBelow  = 1000    // manifests that are looked at because of one tagged index, on all levels
	maxDepth  = 4       // of indexes in indexes
)

// mediaTypeList is Docker's index.
const mediaTypeList = "application/vnd.docker.distribution.manifest.list.v2+json"

// A visit is one repository on a walk.
type visit struct {
	*Walk
	name  string
	found chan []admin.Found // closed at the end of the visit
	err   error              // why it ended early; to be read after found was closed

	seen     map[digest.Digest]bool // told in this repository
	passedBy int                    // for it could not be read; guarded by the walk
}

// unreadable counts and tells of one thing that is passed by.
func (v *visit) unreadable(what string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.passedBy++
	v.counts.Unreadable++
	if v.Unreadable != nil {
		v.Unreadable(what, err)
	}
}

// run goes through the repository.
func (v *visit) run(ctx context.Context) {
	defer close(v.found)
	name, err := reference.WithName(v.name)
	if err != nil {
		v.err = v.forgive(ctx, v.name, fmt.Errorf("%w: %w", errUnreadable, err))
		return
	}
	var tags []string
	for tag, err := range v.Client.Tags(ctx, v.name, nil) {
		if err != nil {
			v.err = v.unlisted(ctx, err)
			return
		}
		if _, err := reference.WithTag(name, tag); err != nil {
			v.unreadable(v.name+":"+tag, err)
			continue
		}
		if tags = append(tags, tag); len(tags) == chunkTags {
			if v.err = v.tell(ctx, tags); v.err != nil {
				return
			}
			tags = tags[:0]
		}
	}
	v.err = v.tell(ctx, tags)
}

// unlisted judges why there are no tags. A catalog lists repositories that are empty, and
// those are not found; one that somebody named is to be there.
func (v *visit) unlisted(ctx context.Context, err error) error {
	if errors.Is(err, registry.ErrNotFound) && len(v.Selection.globs) > 0 {
		return nil
	}
	return v.forgive(ctx, v.name, err)
}

// forgive returns nil for an error that is of one thing alone and no reason to end the
// walk, and has it counted.
func (v *visit) forgive(ctx context.Context, what string, err error) error {
	var answer *registry.Error
	var unanswered *url.Error
	switch {
	case ctx.Err() != nil || errors.Is(err, registry.ErrThrottled):
		return err
	case errors.Is(err, registry.ErrMismatch), errors.Is(err, registry.ErrTooLarge), errors.Is(err, registry.ErrEndless), errors.Is(err, errUnreadable):
	case errors.As(err, &answer) && answer.Status < http.StatusInternalServerError:
	case !errors.As(err, &unanswered) && v.Client.Ping(ctx) == nil: // the registry works otherwise
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
	v.unreadable(what, err)
	return nil
}

// tell looks tags up and sends what they name, and them, on.
func (v *visit) tell(ctx context.Context, tags []string) error {
	named := make([]v1.Descriptor, len(tags)) // without a digest: not there
	err := v.each(ctx, len(tags), func(i int) (err error) {
		named[i], err = v.resolve(ctx, tags[i])
		return err
	})
	if err != nil {
		return err
	}
	below := make(map[digest.Digest][]v1.Descriptor)
	var indexes []v1.Descriptor
	for _, desc := range named {
		if _, known := below[desc.Digest]; isIndex(desc) && !known && !v.seen[desc.Digest] {
			below[desc.Digest] = nil
			indexes = append(indexes, desc)
		}
	}
	lists := make([][]v1.Descriptor, len(indexes))
	err = v.each(ctx, len(indexes), func(i int) (err error) {
		below := expansion{visit: v, visited: make(map[digest.Digest]bool)}
		lists[i], err = below.list(ctx, indexes[i], maxDepth)
		return err
	})
	if err != nil {
		return err
	}
	for i, desc := range indexes {
		below[desc.Digest] = lists[i]
	}
	var found []admin.Found
	told := 0
	for i, desc := range named {
		if desc.Digest == "" {
			continue
		}
		for _, child := range append(below[desc.Digest], desc) {
			if v.first(child.Digest) {
				found = append(found, v.entry("", child))
			}
		}
		found = append(found, v.entry(tags[i], desc))
		told++
	}
	v.count(func(c *Counts) { c.Tags += told; c.Manifests += len(found) - told })
	select {
	case v.found <- found:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// first tells whether a manifest was not told yet. Who looks at it again after more than
// maxSeen others is told again, which its id makes up for.
func (v *visit) first(dgst digest.Digest) bool {
	if v.seen[dgst] {
		return false
	}
	if len(v.seen) >= maxSeen {
		clear(v.seen)
	}
	v.seen[dgst] = true
	return true
}

func (v *visit) entry(tag string, desc v1.Descriptor) admin.Found {
	return admin.Found{
		Repository: v.name, Tag: tag, Digest: desc.Digest.String(), MediaType: desc.MediaType, Size: desc.Size,
	}
}

// each does something n times, a few at a time, and returns the first error.
func (v *visit) each(ctx context.Context, n int, do func(int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for i := range n {
		select {
		case v.slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		all.Go(func() {
			defer func() { <-v.slots }()
			if err := do(i); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// errUnreadable says that there is no event to be made of something.
var errUnreadable = errors.New("it cannot be read")

// resolve finds what a tag or digest names; the descriptor has no digest if there is
// nothing.
func (v *visit) resolve(ctx context.Context, ref string) (v1.Descriptor, error) {
	desc, err := v.Client.Resolve(ctx, v.name, ref)
	if err == nil && len(desc.MediaType) > maxMediaType {
		err = fmt.Errorf("%w: a media type of %d bytes", errUnreadable, len(desc.MediaType))
	}
	switch {
	case err == nil:
		return desc, nil
	case errors.Is(err, registry.ErrNotFound):
		v.count(func(c *Counts) { c.Gone++ })
		return v1.Descriptor{}, nil
	}
	return v1.Descriptor{}, v.forgive(ctx, v.name+refSeparator(ref)+ref, err)
}

func refSeparator(ref string) string {
	if digest.Digest(ref).Validate() == nil {
		return "@"
	}
	return ":"
}

func isIndex(desc v1.Descriptor) bool {
	return desc.MediaType == v1.MediaTypeImageIndex || desc.MediaType == mediaTypeList
}

// An expansion goes through what is below one index. Whoever may push decides what that
// is: without a bound on all of it, a few indexes that name one another many times would
// have the registry asked for each path through them.
type expansion struct {
	*visit
	visited map[digest.Digest]bool // at most maxBelow
}

// list lists the manifests below an index, each once and after those below it. A registry
// may have an index without all that it refers to: what is not there is left out. What is
// too deep or too much is unreadable.
func (x *expansion) list(ctx context.Context, desc v1.Descriptor, depth int) ([]v1.Descriptor, error) {
	what := x.name + "@" + desc.Digest.String()
	if depth == 0 {
		x.unreadable(what, fmt.Errorf("%w: it is below %d levels of indexes", errUnreadable, maxDepth))
		return nil, nil
	}
	_, content, err := x.Client.Manifest(ctx, x.name, desc.Digest.String(), nil)
	if err != nil {
		return nil, x.forgive(ctx, what, err)
	}
	var index v1.Index
	if err := json.Unmarshal(content, &index); err != nil {
		return nil, x.forgive(ctx, what, fmt.Errorf("%w: %w", errUnreadable, err))
	}
	var list []v1.Descriptor
	for _, child := range index.Manifests {
		if x.seen[child.Digest] || x.visited[child.Digest] {
			continue
		}
		if len(x.visited) == maxBelow {
			x.unreadable(what, fmt.Errorf("%w to its end: an index of more than %d manifests, on all levels", errUnreadable, maxBelow))
			break
		}
		x.visited[child.Digest] = true
		if err := child.Digest.Validate(); err != nil {
			x.unreadable(what, err)
			continue
		}
		child, err := x.resolve(ctx, child.Digest.String())
		if err != nil {
			return nil, err
		}
		if child.Digest == "" {
			continue
		}
		if isIndex(child) {
			below, err := x.list(ctx, child, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, below...)
		}
		list = append(list, child)
	}
	return list, nil
}
