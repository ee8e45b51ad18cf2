package backfill

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/sinks"
)

// ErrNoCatalog says that a registry does not list its repositories, or not for us.
var ErrNoCatalog = errors.New("the registry does not list its repositories")

// A Selection is which repositories of a registry are meant.
type Selection struct {
	globs   []sinks.Glob
	literal []string // sorted; what is meant if there are no globs
}

// Select returns the selection of what any of the patterns matches, and of everything if
// there are none. Errors: those of [sinks.ParseGlob].
func Select(patterns []string) (Selection, error) {
	if len(patterns) == 0 {
		patterns = []string{"**"}
	}
	var s Selection
	wild := false
	for _, pattern := range patterns {
		g, err := sinks.ParseGlob(pattern)
		if err != nil {
			return Selection{}, fmt.Errorf("repository %q: %w", pattern, err)
		}
		wild = wild || strings.Contains(pattern, "*")
		s.globs = append(s.globs, g)
		s.literal = append(s.literal, pattern)
	}
	slices.Sort(s.literal)
	s.literal = slices.Compact(s.literal)
	if !wild {
		s.globs = nil
	}
	return s, nil
}

// repositories lists those that are meant, behind the one called after in the order of
// the list. Names without a wildcard need no catalog. Errors, the last thing in the list:
// ErrNoCatalog.
func (s Selection) repositories(ctx context.Context, c *registry.Client, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if len(s.globs) == 0 {
			for _, name := range s.literal {
				if name > after && !yield(name, nil) {
					return
				}
			}
			return
		}
		for name, err := range c.Repositories(ctx, &registry.ListOptions{After: after}) {
			if err != nil {
				yield("", catalogError(err))
				return
			}
			if s.match(name) && !yield(name, nil) {
				return
			}
		}
	}
}

func (s Selection) match(name string) bool {
	return slices.ContainsFunc(s.globs, func(g sinks.Glob) bool { return g.Match(name) })
}

func catalogError(err error) error {
	for _, no := range []error{registry.ErrUnauthorized, registry.ErrDenied, registry.ErrNotFound, registry.ErrUnsupported} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %w", ErrNoCatalog, err)
		}
	}
	return fmt.Errorf("listing repositories: %w", err)
}
