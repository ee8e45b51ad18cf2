package cache

import (
	"context"
	"errors"
	"time"
)

// ErrFull says that a Store takes nothing now, as it has no room: it is well otherwise.
var ErrFull = errors.New("the cache's store is full")

// A Generation is a time in the life of a repository between two changes. No two are
// equal, be it after a loss of all that a Store had.
type Generation string

// A Store keeps values by repository and key, and the repositories' generations. It is
// safe for concurrent use, and returns soon after ctx ends. Any error says that nothing is
// known; one of Get or Set may be ErrFull.
type Store interface {
	// Get returns the repository's generation, and the value of the first of keys that has
	// one which was set in that generation; nil if none has.
	Get(ctx context.Context, repository string, keys ...string) (Generation, []byte, error)
	// Set keeps value for life, and for the TTL of the Store at most, in the generation in
	// which it was asked for, which may be over. Nobody changes value afterwards.
	Set(ctx context.Context, repository, key string, in Generation, value []byte, life time.Duration) error
	// Bump begins another generation of a repository, or with "" of all of them; at the latest
	// with the next Get, if there is no room now.
	Bump(ctx context.Context, repository string) error
}
