package distribution

import (
	"context"

	cncf "github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
)

// WrapRemover returns a remover of repositories that reports what it removes.
//
// Distribution has no route that removes a repository: only Go code in its process does,
// with the namespace of storage.NewRegistry or of a registry middleware. A registry that
// names the Middleware under middleware.registry hands a namespace that reports already
// to the registry middlewares after it; that must not be wrapped again.
func (m *Middleware) WrapRemover(remover cncf.RepositoryRemover) cncf.RepositoryRemover {
	return removerFunc(func(ctx context.Context, name reference.Named) error {
		last := m.last.Load()
		if last == nil {
			return m.reporter(ctx).remove(ctx, remover, name)
		}
		return reporter{m, last.bridge}.remove(ctx, remover, name) // ctx is hardly that of a registry
	})
}

type removerFunc func(ctx context.Context, name reference.Named) error

// Remove calls f.
func (f removerFunc) Remove(ctx context.Context, name reference.Named) error { return f(ctx, name) }

func (p reporter) remove(ctx context.Context, remover cncf.RepositoryRemover, name reference.Named) error {
	err := remover.Remove(ctx, name)
	if err == nil {
		p.done(p.listener(ctx).RepositoryDeleted(ctx, name))
	}
	return err
}

// wrapNamespace returns inner with a remover that reports, if it has one. Its repositories
// are left alone: they are decorated for requests, and what a pull-through cache stores in
// them nobody pushes.
func wrapNamespace(inner cncf.Namespace, p reporter) cncf.Namespace {
	removes, ok := inner.(cncf.RepositoryRemover)
	if !ok {
		return inner
	}
	remover := removerFunc(func(ctx context.Context, name reference.Named) error {
		return p.remove(ctx, removes, name)
	})
	if e, ok := inner.(cncf.RepositoryEnumerator); ok {
		return struct {
			cncf.Namespace
			cncf.RepositoryRemover
			cncf.RepositoryEnumerator
		}{inner, remover, e}
	}
	return struct {
		cncf.Namespace
		cncf.RepositoryRemover
	}{inner, remover}
}
