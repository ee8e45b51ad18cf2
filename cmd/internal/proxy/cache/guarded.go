package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxOwed is of how many repositories it is remembered that the store could not be
	// told of a change. Of more, all are thought to have changed.
	maxOwed = 10_000
	// retryEvery is how long a store that has failed is left alone.
	retryEvery = time.Second
	// unsure is how long a change whose outcome nobody knows may still be made.
	unsure = time.Minute
	// maxRepaid is how many of them it is told of at a time.
	maxRepaid = 64
)

// A guarded is a store that may fail, and what must not be believed because it has.
type guarded struct {
	store   Store
	metrics *metrics
	log     *slog.Logger

	mu       sync.Mutex
	down     time.Time       // until when it is left alone
	failing  bool            // it was so the last time
	owed     map[string]debt // generations to begin, by repository; "" is all of them
	debts    uint64          // there were
	repaying bool
}

// A debt is a generation that has to begin, no sooner than from. One that is owed anew
// while it is being paid has another number.
type debt struct {
	number uint64
	from   time.Time
}

func newGuarded(store Store, m *metrics, log *slog.Logger) *guarded {
	return &guarded{store: store, metrics: m, log: log, owed: make(map[string]debt)}
}

// get is Store.Get; trusted is false if nothing may be made of the store now.
func (g *guarded) get(ctx context.Context, repository string, keys []string) (in Generation, value []byte, trusted bool) {
	if !g.believed(repository) {
		return "", nil, false
	}
	in, value, err := g.store.Get(ctx, repository, keys...)
	switch {
	case errors.Is(err, ErrFull):
		g.metrics.errors[operationGet].Inc()
		return "", nil, false
	case err != nil:
		if ctx.Err() == nil {
			g.failed(operationGet, err)
		}
		return "", nil, false
	}
	g.worked()
	return in, value, true
}

// believed tells whether what the store says of a repository may be used.
func (g *guarded) believed(repository string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, owed := g.owed[repository]
	_, all := g.owed[""]
	return !owed && !all && (g.down.IsZero() || time.Now().After(g.down))
}

// set is Store.Set.
func (g *guarded) set(ctx context.Context, repository, key string, in Generation, value []byte, life time.Duration) {
	err := g.store.Set(context.WithoutCancel(ctx), repository, key, in, value, life)
	switch {
	case errors.Is(err, ErrFull):
		g.metrics.unkept[reasonFull].Inc()
	case err != nil:
		g.failed(operationSet, err)
	}
}

// bump is Store.Bump. If that fails, it is owed, and the repository is not believed until
// it is made up for. It is tried even where the store has just failed: others who use it
// may find it well.
func (g *guarded) bump(ctx context.Context, repository string) {
	if err := g.store.Bump(context.WithoutCancel(ctx), repository); err != nil {
		g.owe(repository, time.Time{})
		g.failed(operationBump, err)
		return
	}
	g.worked()
}

// announce is bump for a change that is about to be made, and will be bumped again.
func (g *guarded) announce(ctx context.Context, repository string) {
	g.mu.Lock()
	down := time.Now().Before(g.down)
	g.mu.Unlock()
	if !down {
		g.bump(ctx, repository)
	}
}

// suspect is bump for a change that may still be made: the repository is not believed for
// a while, and then begins a generation.
func (g *guarded) suspect(ctx context.Context, repository string) {
	g.owe(repository, time.Now().Add(unsure))
	if err := g.store.Bump(context.WithoutCancel(ctx), repository); err != nil {
		g.failed(operationBump, err)
	}
}

// owe remembers to begin a generation, from a time on.
func (g *guarded) owe(repository string, from time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.owed[repository]; !known && len(g.owed) >= maxOwed {
		repository = ""
	}
	was := g.owed[repository]
	if was.from.After(from) {
		from = was.from
	}
	g.debts++
	g.owed[repository] = debt{g.debts, from}
	g.metrics.distrusted.Set(float64(len(g.owed)))
}

// repay begins generations that are owed, if the store is there again. Of several calls at
// one time one does it, and the others return.
func (g *guarded) repay(ctx context.Context) {
	g.mu.Lock()
	if len(g.owed) == 0 { // which is so for almost all requests
		g.mu.Unlock()
		return
	}
	now := time.Now()
	if g.repaying || now.Before(g.down) {
		g.mu.Unlock()
		return
	}
	due := make(map[string]debt)
	for repository, d := range g.owed {
		if !now.Before(d.from) && len(due) < maxRepaid {
			due[repository] = d
		}
	}
	g.repaying = true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.repaying = false
		g.metrics.distrusted.Set(float64(len(g.owed)))
		g.mu.Unlock()
	}()
	for repository, d := range due {
		if err := g.store.Bump(context.WithoutCancel(ctx), repository); err != nil {
			g.failed(operationBump, err)
			return
		}
		g.mu.Lock()
		if g.owed[repository] == d { // else it is owed anew
			delete(g.owed, repository)
		}
		g.mu.Unlock()
	}
	g.worked()
}

// failed has the store left alone for a while.
func (g *guarded) failed(o operation, err error) {
	g.metrics.errors[o].Inc()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = time.Now().Add(retryEvery)
	if !g.failing {
		g.failing = true
		g.log.Warn("the cache is bypassed: its store fails", "operation", string(o), "error", err)
	}
}

// worked is when the store has done what it was told.
func (g *guarded) worked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failing {
		g.failing = false
		g.log.Info("the cache is used again")
	}
}
