package journal

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	"modernc.org/sqlite"
)

// conn is one SQLite connection with the statements that were prepared on it. It is the
// driver's own connection, without database/sql around it: a commit of one event is a
// few tens of microseconds of work, and a pool's locks and reflection would show. A conn
// is used by one goroutine at a time.
type conn struct {
	raw   driver.Conn
	stmts map[string]driver.Stmt
}

// A row's columns are int64, string, []byte or nil; blobs are the caller's to keep.
type row []driver.Value

func (r row) int(i int) int64   { v, _ := r[i].(int64); return v }
func (r row) uint(i int) uint64 { return uint64(r.int(i)) }
func (r row) text(i int) string { v, _ := r[i].(string); return v }
func (r row) blob(i int) []byte { v, _ := r[i].([]byte); return v }

// mode says what a connection is for.
type mode string

const (
	writing  mode = "rwc"
	reading  mode = "ro"
	checking mode = "rw" // checkpoints
)

func dial(file string, m mode, pragmas ...string) (*conn, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	q := url.Values{"mode": {string(m)}}
	u := url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}
	connector, err := sqlite.NewConnector(u.String())
	if err != nil {
		return nil, err
	}
	raw, err := connector.Connect(context.Background())
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, stmts: make(map[string]driver.Stmt)}
	// Not in the DSN: the driver sorts what it finds there, and the order matters.
	for _, p := range append([]string{"busy_timeout(10000)"}, pragmas...) {
		if err := c.script(context.Background(), "PRAGMA "+p); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

func (c *conn) prepare(query string) (driver.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.raw.(driver.ConnPrepareContext).PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// exec runs a statement and returns how many rows it changed. Statements are cached:
// queries are constants of this package.
func (c *conn) exec(query string, args ...any) (int, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := s.(driver.StmtExecContext).ExecContext(context.Background(), named(args))
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// insert runs an INSERT and returns the row's id.
func (c *conn) insert(query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := s.(driver.StmtExecContext).ExecContext(context.Background(), named(args))
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// script runs statements without parameters, uncached.
func (c *conn) script(ctx context.Context, text string, args ...any) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(ctx, text, named(args))
	return err
}

// errStop ends a query early; query returns nil for it.
var errStop = errors.New("stop")

// query calls each for every row. A row is valid until each returns.
func (c *conn) query(ctx context.Context, each func(row) error, query string, args ...any) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(ctx, named(args))
	if err != nil {
		return err
	}
	dst := make([]driver.Value, len(rows.Columns()))
	for err == nil {
		if err = rows.Next(dst); err == nil {
			err = each(dst)
		}
	}
	if closeErr := rows.Close(); err == io.EOF || err == errStop {
		err = closeErr
	}
	return err
}

// get reads one row; false if there is none.
func (c *conn) get(query string, args ...any) (found row, ok bool, err error) {
	err = c.query(context.Background(), func(r row) error {
		found, ok = append(row(nil), r...), true
		return errStop
	}, query, args...)
	return found, ok, err
}

// transact runs f in a transaction that is there from its first statement on.
func (c *conn) transact(f func() error) error {
	if _, err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		_, err = c.exec("COMMIT")
	}
	if err != nil {
		// SQLite has rolled back by itself after some errors; then this one says so,
		// and that is no news.
		_, _ = c.exec("ROLLBACK")
	}
	return err
}

func named(args []any) []driver.NamedValue {
	if len(args) == 0 {
		return nil
	}
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case uint64:
			a = int64(v)
		case int:
			a = int64(v)
		case bool:
			a = int64(0)
			if v {
				a = int64(1)
			}
		case nil, int64, string, []byte:
		default:
			panic(fmt.Sprintf("journal: no column takes a %T", a))
		}
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return out
}

// code returns SQLite's primary result code of err, 0 if it has none.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}
