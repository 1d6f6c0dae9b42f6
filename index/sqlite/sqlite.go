// Package sqlite keeps an index in one SQLite file, through
// zombiezen.com/go/sqlite and modernc.org/sqlite: pure Go, nothing to install.
//
// The database is in WAL mode with synchronous=FULL: what Update committed
// survives a loss of power, and nothing but SQLite's own journal is relied on.
// One process writes, which a lock file beside the database makes sure of; any
// number read, each View in a snapshot of its own that waits for nobody.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"zombiezen.com/go/sqlite"

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
	readers  *pool
	turn     chan *conn // holds the writing connection while nobody writes; nil when read-only
	lock     *lockFile
	once     sync.Once
	closeErr error
}

var _ index.Store = (*Store)(nil)

// View implements [index.Store].
func (s *Store) View(ctx context.Context, read func(index.View) error) (err error) {
	c, err := s.readers.take(ctx)
	if err != nil {
		return err
	}
	defer s.readers.give(c)
	if done := ctx.Done(); done != nil {
		c.db.SetInterrupt(done)
	}
	defer func() {
		if err != nil && sqlite.ErrCode(err) == sqlite.ResultInterrupt && ctx.Err() != nil {
			err = fmt.Errorf("read the index: %w", ctx.Err())
		}
	}()
	if err := c.run(`BEGIN`); err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	// SQLite takes its snapshot with the first read, not with BEGIN.
	if err := c.run(`SELECT 1 FROM meta LIMIT 1`); err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	return read(&view{conn: c, epoch: s.epoch})
}

// Update implements [index.Store]. A write that has begun is not interrupted by
// the end of ctx, but it isn't committed then. A store that can't write (a full
// disk) returns the error and can be used again.
func (s *Store) Update(ctx context.Context, write func(index.Tx) error) (err error) {
	if s.turn == nil {
		return ErrReadOnly
	}
	if err := ctx.Err(); err != nil { // select would toss a coin
		return err
	}
	var c *conn
	select {
	case <-ctx.Done():
		return ctx.Err()
	case conn, ok := <-s.turn:
		if !ok {
			return ErrClosed
		}
		c = conn
	}
	defer func() { s.turn <- c }()
	if err := c.run(`BEGIN IMMEDIATE`); err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	committed := false
	defer func() { // also when write panics
		if !committed {
			_ = c.rollback()
		}
	}()
	t := &tx{view: view{conn: c, epoch: s.epoch}}
	if err := write(t); err != nil {
		return err
	}
	if err := t.check(); err != nil { // what was written is not whole, and write went on
		return err
	}
	fed, err := t.feed(c.bodies + t.bodies)
	if err != nil {
		return fmt.Errorf("index words: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.run(`COMMIT`); err != nil {
		return fmt.Errorf("commit to the index: %w", err)
	}
	committed = true
	if c.bodies += t.bodies; fed {
		c.bodies = 0
	}
	return nil
}

// Close implements [index.Store]. It waits for an Update under way.
func (s *Store) Close() error {
	s.once.Do(func() {
		var errs []error
		var writer *conn
		if s.turn != nil {
			writer = <-s.turn
			close(s.turn)
		}
		errs = append(errs, s.readers.close())
		if writer != nil { // last, so that it is the one to fold the journal in
			errs = append(errs, writer.close(), s.lock.release())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}
