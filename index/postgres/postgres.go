// Package postgres keeps an index in a PostgreSQL database (14 or later),
// through pgx.
//
// One process writes. It holds an advisory lock on the connection that it writes
// through, so that the lock and the writing end together; and because a process
// can lose its connection without knowing, every transaction that writes first
// checks a fencing number, which grows each time the lock is taken. Any number
// of processes read, on the server itself or on a replica, each View in a
// snapshot of its own that waits for nobody.
//
// What Update committed survives as the server's settings say: fsync and
// synchronous_commit, which PostgreSQL has on unless told otherwise.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/jackc/pgx/v5"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Config says how a database is opened.
type Config struct {
	Network  frame.Network   // that the index is of
	ReadOnly bool            // read what another process writes; the index must be there
	Wait     bool            // wait for the process that writes to end; else ErrLocked
	Logger   *slog.Logger    // nil: no log
	Trace    pgx.QueryTracer // is told of every statement; nil: nobody is
}

// Errors of Open and of a store. They arrive wrapped in a sentence, which never
// has the URL in it.
var (
	ErrURL     = errors.New("not a PostgreSQL URL like postgres://user@host:5432/database")
	ErrLocked  = errors.New("another process writes this index")
	ErrNewer   = errors.New("the index was written by a newer version of metaim")
	ErrOlder   = errors.New("the index was written by an older version of metaim: let the process that writes it start first")
	ErrForeign = errors.New("the database is not an index of metaim")
	ErrNetwork = errors.New("the index is of another network")
	ErrDenied  = errors.New("PostgreSQL does not allow it")

	ErrReadOnly = errors.New("the index is open for reading only")
	ErrClosed   = errors.New("the index is closed")
	// ErrFenced says that another process has written since this one last did.
	// Nothing of the Update was written; the next is tried with a new lock.
	ErrFenced = errors.New("another process has taken over writing this index")
	// ErrUnavailable says that the server can't be reached, is starting or ending,
	// or that the connection was lost. The next call is tried with a new one.
	ErrUnavailable = errors.New("PostgreSQL is not available")
	// ErrUncertain says that the connection was lost during the commit and that
	// the server couldn't be asked whether it went through.
	ErrUncertain = errors.New("it is not known whether the commit went through")
)

// grace is how long an Update under way may go on after its context has ended.
const grace = 10 * time.Second

// A Store is an open database. It implements [index.Store].
type Store struct {
	config   Config
	log      *slog.Logger
	pool     *pgxpool.Pool
	turn     chan *writer    // holds the writer while nobody writes; nil when read-only
	news     chan int64      // the last seq committed, for the notifier
	life     context.Context // ends with Close
	end      context.CancelFunc
	starting sync.Mutex     // held to start a listener, or to end the life
	running  sync.WaitGroup // the notifier and the listeners
	once     sync.Once
	closeErr error
}

var _ index.Store = (*Store)(nil)

// A View begins with these two. The first alone takes no snapshot.
const (
	begin = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`
	// What most who read want to know first.
	head = `SELECT m.value, (SELECT coalesce(max(last), 0) FROM events), t.* FROM (SELECT 1) one LEFT JOIN meta m ON m.key = 'epoch'
		LEFT JOIN (` + blockColumns + `ORDER BY height DESC LIMIT 1) t ON true`
)

// View implements [index.Store].
func (s *Store) View(ctx context.Context, read func(index.View) error) error {
	if s.life.Err() != nil {
		return ErrClosed
	}
	const what = "read the index"
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		if s.life.Err() != nil { // meanwhile
			return ErrClosed
		}
		return explain(ctx, what, err)
	}
	defer conn.Release() // a connection still in a transaction is thrown away
	v := &view{ctx: ctx, q: conn.Conn(), puts: []put{{query: begin}}}
	defer func() { // also when read panics; nothing was written
		if !v.q.IsClosed() {
			_, _ = v.q.Exec(ctx, `ROLLBACK`)
		}
	}()
	if err := v.open(); err != nil {
		return err
	}
	return read(v)
}

// open begins the view and reads what it is of.
func (v *view) open() error {
	return v.each(head, nil, func(r *row) error {
		v.head = &viewHead{epoch: r.text(), lastSeq: r.integer(), tip: index.Tip{Height: -1}}
		if len(r.values) > r.at && r.values[r.at] != nil {
			v.head.tip = scanTip(r)
		}
		return nil
	})
}

// Update implements [index.Store]. A write that has begun is interrupted 10
// seconds after the end of ctx, and in any case isn't committed then. It is never
// called twice: what it reads and writes in memory may not stand that. When the
// connection was lost before, a new one is made and the lock taken again; with
// ErrFenced, if somebody else held it meanwhile: all that the caller knows of the
// index may be old then.
func (s *Store) Update(ctx context.Context, write func(index.Tx) error) error {
	if s.config.ReadOnly {
		return ErrReadOnly
	}
	if err := ctx.Err(); err != nil { // select would toss a coin
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case w, ok := <-s.turn:
		if !ok {
			return ErrClosed
		}
		defer func() { s.turn <- w }()
		return w.update(ctx, write)
	}
}

// lastingBeyond returns a context that ends a while after ctx.
func lastingBeyond(ctx context.Context) (context.Context, context.CancelFunc) {
	quiet, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var timer *time.Timer
	started := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		timer = time.AfterFunc(grace, cancel)
		close(started)
	})
	return quiet, func() {
		if !stop() {
			<-started
			timer.Stop()
		}
		cancel()
	}
}

// Close implements [index.Store]. It waits for an Update and for the Views under
// way, and ends the listeners.
func (s *Store) Close() error {
	s.once.Do(func() {
		var w *writer
		if s.turn != nil {
			w = <-s.turn
			close(s.turn)
		}
		s.starting.Lock()
		s.end()
		s.starting.Unlock()
		s.running.Wait()
		s.pool.Close()
		if w != nil { // last, so that nobody writes while we still read
			s.closeErr = w.release()
		}
	})
	if s.closeErr != nil {
		return fmt.Errorf("close the index: %w", s.closeErr)
	}
	return nil
}
