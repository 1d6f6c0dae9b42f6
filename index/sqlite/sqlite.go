// Package sqlite keeps an index in one SQLite file, through
// modernc.org/sqlite: pure Go, nothing to install.
//
// The database is in WAL mode with synchronous=FULL: what Update committed
// survives a loss of power, and nothing but SQLite's own journal is relied on.
// One process writes, which a lock file beside the database makes sure of; any
// number read, each View in a snapshot of its own that waits for nobody.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Config says how a database is opened.
type Config struct {
	Network  frame.Network // that the index is of
	ReadOnly bool          // read what another process writes; the file must be there
	Logger   *slog.Logger  // nil: no log
}

// Errors of Open and of a store. They arrive wrapped in a sentence that names
// the file.
var (
	ErrLocked  = errors.New("another process writes this index")
	ErrNewer   = errors.New("the index was written by a newer version of metaim")
	ErrOlder   = errors.New("the index was written by an older version of metaim: let the process that writes it start first")
	ErrForeign = errors.New("the file is not an index of metaim")
	ErrNetwork = errors.New("the index is of another network")

	ErrReadOnly = errors.New("the index is open for reading only")
	ErrClosed   = errors.New("the index is closed")
)

// A Store is an open database. It implements [index.Store].
type Store struct {
	epoch    string
	reader   *sql.DB
	writer   *sql.DB        // nil when read-only
	turn     chan *sql.Conn // holds the writing connection while nobody writes
	lock     *lockFile
	once     sync.Once
	closed   chan struct{}
	closeErr error
}

var _ index.Store = (*Store)(nil)

// A querier is a connection inside a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// View implements [index.Store].
func (s *Store) View(ctx context.Context, read func(index.View) error) error {
	select {
	case <-s.closed:
		return ErrClosed
	default:
	}
	conn, err := s.reader.Conn(ctx)
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	defer release(ctx, conn)
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	// SQLite takes its snapshot with the first read, not with BEGIN.
	if _, err := tx.ExecContext(ctx, `SELECT key FROM meta LIMIT 1`); err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	return read(&view{ctx: ctx, q: tx, epoch: s.epoch})
}

// release gives a reader back to the pool. One whose context ended may have been
// interrupted in the middle of a statement, and would keep its old snapshot for
// whoever gets it next: it is thrown away.
func release(ctx context.Context, conn *sql.Conn) {
	if ctx.Err() != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // says so to the pool
	}
	_ = conn.Close() // only returns it
}

// Update implements [index.Store]. A write that has begun is not interrupted by
// the end of ctx, but it isn't committed then. A store that can't write (a full
// disk) returns the error and can be used again.
func (s *Store) Update(ctx context.Context, write func(index.Tx) error) (err error) {
	if s.writer == nil {
		return ErrReadOnly
	}
	if err := ctx.Err(); err != nil { // select would toss a coin
		return err
	}
	var conn *sql.Conn
	select {
	case <-ctx.Done():
		return ctx.Err()
	case c, ok := <-s.turn:
		if !ok {
			return ErrClosed
		}
		conn = c
	}
	defer func() { s.turn <- conn }()
	quiet := context.WithoutCancel(ctx)
	if _, err := conn.ExecContext(quiet, `BEGIN IMMEDIATE`); err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	committed := false
	defer func() { // also when write panics
		if !committed {
			// It fails where SQLite has rolled back by itself, on a full disk.
			_, _ = conn.ExecContext(quiet, `ROLLBACK`)
		}
	}()
	t := &tx{view: view{ctx: quiet, q: conn, epoch: s.epoch}}
	if err := write(t); err != nil {
		return err
	}
	if t.failed != nil { // and write went on: it is not whole
		return t.failed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := conn.ExecContext(quiet, `COMMIT`); err != nil {
		return fmt.Errorf("commit to the index: %w", err)
	}
	committed = true
	return nil
}

// Close implements [index.Store]. It waits for an Update under way.
func (s *Store) Close() error {
	s.once.Do(func() {
		var errs []error
		if s.writer != nil {
			conn := <-s.turn
			close(s.turn)
			errs = append(errs, conn.Close())
		}
		close(s.closed)
		errs = append(errs, s.reader.Close())
		if s.writer != nil { // last, so that it is the one to fold the journal in
			errs = append(errs, s.writer.Close(), s.lock.release())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}
