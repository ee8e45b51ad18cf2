package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// The files in a journal's folder; SQLite adds regcast.db-wal and regcast.db-shm.
const (
	dbFile      = "regcast.db"
	lockFile    = "regcast.lock"
	ballastFile = "regcast.ballast"
)

// OnFull says what to do when retention_bytes are stored and the oldest event is still
// wanted by a cursor.
type OnFull string

// The values of [Options.OnFull].
const (
	Evict  OnFull = "evict"  // the oldest are cut, loudly
	Refuse OnFull = "refuse" // new ones are refused with notifications.ErrFull
)

// Options tell [Open] how. nil, like a zero field, means the defaults.
type Options struct {
	RetentionAge    time.Duration // how long settled events are kept; 168 h
	RetentionBytes  int64         // of events, indexes included, before the oldest are cut; 10 GiB
	OnFull          OnFull        // Evict
	DeadBytes       int64         // of dead letters, before the oldest are cut; 1 GiB
	DeadAge         time.Duration // how long dead letters are kept; sinks.DeadAge
	QuarantineBytes int64         // of quarantined input, before the oldest is cut; 256 MiB

	History      sinks.HistoryMode // which attempts are kept; sinks.HistoryAll
	HistoryBytes int64             // of attempts, before the oldest are cut; 256 MiB

	// ReserveBytes have to stay free on the disk for events to be accepted, so that
	// delivery and retention can go on; 64 MiB, negative for none. BallastBytes are
	// written to a file that is removed when the disk is full all the same; 16 MiB,
	// negative for none.
	ReserveBytes int64
	BallastBytes int64

	TailBytes int // of the newest events, kept in memory for all cursors; 8 MiB. As much again may be kept of what was read back
	MaxPages  int // SQLite's limit of the file, in pages of 4 KiB; 0 for none

	Logger     *slog.Logger          // slog.Default()
	Registerer prometheus.Registerer // of the regcast_engine_… metrics; nil: none
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	setDefault(&out.RetentionAge, 168*time.Hour)
	setDefault(&out.RetentionBytes, 10<<30)
	setDefault(&out.OnFull, Evict)
	setDefault(&out.DeadBytes, 1<<30)
	setDefault(&out.DeadAge, sinks.DeadAge)
	setDefault(&out.QuarantineBytes, 256<<20)
	setDefault(&out.History, sinks.HistoryAll)
	setDefault(&out.HistoryBytes, 256<<20)
	setDefault(&out.ReserveBytes, 64<<20)
	setDefault(&out.BallastBytes, 16<<20)
	setDefault(&out.TailBytes, 8<<20)
	setDefault(&out.Logger, slog.Default())
	return out
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A Journal is an engine on one SQLite file; see the package comment for what it
// promises. It implements sinks.Engine. All methods are safe for concurrent use.
type Journal struct {
	dir     string
	opts    Options
	log     *slog.Logger
	lock    *lock
	disk    *disk
	writer  *appender
	readers chan *conn // idle ones
	opened  int        // how many readers there are
	tail    tail
	chunks  cache
	metrics *metrics
	history history
	dead    deadTally

	replaying sync.Map // names of open cursors over dead letters

	newest  atomic.Uint64 // last sequence that cursors may see
	oldest  atomic.Uint64 // first sequence still stored
	indexed atomic.Uint64 // last sequence that the indexes know
	written atomic.Int64  // bytes that commits have added to the WAL, roughly

	news struct { // closed and replaced at each commit with events
		sync.Mutex
		c chan struct{}
	}

	places struct {
		sync.Mutex // held while a cursor is made, deleted or retired
		byName     map[string]*place
	}

	stopping              chan struct{} // closed when Shutdown begins
	background, appending sync.WaitGroup
	stop                  sync.Once
	stopped               chan struct{} // closed when everything is released
	stopErr               error         // set before stopped is closed
}

var _ sinks.Engine = (*Journal)(nil)

// readConns bounds how many chunks are read from the file at once.
const readConns = 3

// Open opens the journal in dir, and creates both if need be. The caller shuts it down.
//
// Errors: ErrLocked if a process uses it, ErrNetworkFS, ErrNewer if a later version of
// regcast wrote it, ErrCorrupt; each says what to do. On an error nothing stays open.
func Open(dir string, opts *Options) (*Journal, error) {
	o := opts.withDefaults()
	if o.OnFull != Evict && o.OnFull != Refuse {
		return nil, fmt.Errorf("open journal: OnFull is %q, not %q or %q", o.OnFull, Evict, Refuse)
	}
	switch o.History {
	case sinks.HistoryAll, sinks.HistoryFailures, sinks.HistoryOff:
	default:
		return nil, fmt.Errorf("open journal: History is %q, not %q, %q or %q", o.History, sinks.HistoryAll, sinks.HistoryFailures, sinks.HistoryOff)
	}
	j, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j.start()
	return j, nil
}

func open(dir string, o Options) (_ *Journal, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := checkFS(dir); err != nil {
		return nil, err
	}
	j := &Journal{
		dir: dir, opts: o, log: o.Logger,
		disk:     newDisk(dir, o.ReserveBytes, o.BallastBytes),
		readers:  make(chan *conn, readConns),
		tail:     tail{limit: o.TailBytes},
		chunks:   cache{limit: o.TailBytes},
		stopping: make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	j.news.c = make(chan struct{})
	j.places.byName = make(map[string]*place)
	if j.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(damaged(dir, err), j.release())
		}
	}()
	db, err := j.openDB()
	if err != nil {
		return nil, err
	}
	j.writer = newAppender(j, db)
	for range readConns {
		c, err := dial(filepath.Join(dir, dbFile), reading)
		if err != nil {
			return nil, err
		}
		j.readers <- c
		j.opened++
	}
	if err := j.writer.restore(); err != nil {
		return nil, err
	}
	if err := j.restorePlaces(db); err != nil {
		return nil, err
	}
	if j.metrics, err = newMetrics(j, o.Registerer); err != nil {
		return nil, err
	}
	return j, nil
}

// start begins what runs beside the callers; Shutdown ends and joins it.
func (j *Journal) start() {
	j.appending.Go(j.writer.run)
	j.background.Go(j.checkpoint)
	j.background.Go(j.retain)
	j.background.Go(j.index)
	j.background.Go(j.remember)
}

// Write stores a batch as [Journal.Record] does.
func (j *Journal) Write(ctx context.Context, batch []*notifications.Event) error {
	_, err := j.Record(ctx, batch, nil)
	return err
}

// Record stores events and bad in one transaction and returns once it is synced. A batch
// that was stored before is acknowledged without one.
//
// Errors: notifications.ErrClosed; notifications.ErrFull when the disk, the file or
// retention_bytes leave no room; ctx's, and then the batch may or may not be stored; any
// other is an I/O error, and trying again may succeed.
func (j *Journal) Record(ctx context.Context, events []*notifications.Event, bad []notifications.Quarantined) (notifications.Receipt, error) {
	if len(events) == 0 && len(bad) == 0 {
		return notifications.Receipt{}, j.open(ctx)
	}
	r := newRequest()
	r.encode(j.writer, events, bad)
	if err := j.writer.do(ctx, r); err != nil {
		return notifications.Receipt{}, fmt.Errorf("store %d events: %w", len(events), err)
	}
	return r.receipt, nil
}

// open says whether calls may still be made.
func (j *Journal) open(ctx context.Context) error {
	select {
	case <-j.stopping:
		return notifications.ErrClosed
	default:
		return ctx.Err()
	}
}

// Healthy says why the journal does not work, and nil if it does: it is closed, or its
// last commit failed by damage or an I/O error. One that only has no room is healthy: it
// delivers and settles.
func (j *Journal) Healthy() error {
	if err := j.Accepting(); !errors.Is(err, notifications.ErrFull) {
		return err
	}
	return nil
}

// Accepting says why the journal cannot store events now, and nil if it can: it is not
// healthy, or the disk, the file or what is required leave no room. It tries by itself
// whether that is over, about once a second.
func (j *Journal) Accepting() error {
	if err := j.open(context.Background()); err != nil {
		return err
	}
	return j.writer.health()
}

// Shutdown commits what has gathered, ends waiting Claims with notifications.ErrClosed,
// writes the WAL back into the file and lets go of everything. When ctx ends first, that
// goes on in the background.
func (j *Journal) Shutdown(ctx context.Context) error {
	j.stop.Do(func() {
		close(j.stopping)
		j.writer.close()
		go j.shutdown() // ends by closing stopped, which Shutdown waits for
	})
	select {
	case <-j.stopped:
		return j.stopErr
	case <-ctx.Done():
		return fmt.Errorf("shut down journal: %w", ctx.Err())
	}
}

func (j *Journal) shutdown() {
	defer close(j.stopped)
	j.background.Wait() // may still have the appender do something
	j.appending.Wait()
	j.writer.remind(true)
	err := errors.Join(j.writer.unwritten, j.lastHistory(), j.release())
	if err != nil {
		j.stopErr = fmt.Errorf("shut down journal: %w", err)
	}
}

// release lets go of what open took. The last connection to be closed writes the WAL
// back and removes it.
func (j *Journal) release() error {
	var errs []error
	if j.metrics != nil {
		j.metrics.unregister()
	}
	for range j.opened {
		c := <-j.readers // waits for those that are being used
		errs = append(errs, c.close())
	}
	if j.writer != nil {
		errs = append(errs, j.writer.db.close())
	}
	return errors.Join(append(errs, j.lock.release())...)
}

// read lends a reading connection to f.
func (j *Journal) read(ctx context.Context, f func(*conn) error) error {
	if err := j.open(ctx); err != nil {
		return err
	}
	select {
	case c := <-j.readers:
		defer func() { j.readers <- c }()
		return damaged(j.dir, f(c))
	case <-j.stopping:
		return notifications.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
