package registry

import "context"

type repositoryKey struct{}

// WithRepository names the repository that a request is about, for whoever below a
// [Client] has to know it (the scope of a token, for package auth), where the path does
// not: an upload session may have any address
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs).
func WithRepository(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, repositoryKey{}, name)
}

// RepositoryFrom returns the name that [WithRepository] put into a context, "" for none.
func RepositoryFrom(ctx context.Context) string {
	name, _ := ctx.Value(repositoryKey{}).(string)
	return name
}
