package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaim/metaim/index"
)

// A writer is the connection that holds the lock, and the fencing number that it
// was taken with. One goroutine at a time has it.
type writer struct {
	s     *Store
	conn  *pgx.Conn // nil or closed: the lock is to be taken again
	fence int64
	epoch string

	bodies int64 // bytes of bodies saved since the words of some were indexed
}

const (
	lockClass = 0x6d65746d // "metm": the first half of the lock's name; the second is the schema's

	// Between two tries for the lock while another holds it. A statement that
	// waits would hold a snapshot all that time, and vacuum up with it.
	betweenTries = 250 * time.Millisecond
	// How long the server may take to notice that our former connection is gone.
	lingering = 5 * time.Second
)

// The writer's connection: it may be idle as long as it likes, and the server
// notices within a minute when we are gone.
const (
	writerSettings = readerSettings + `;
		SET lock_timeout = 0; SET statement_timeout = 0; SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = 0;
		SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3`
	tryLock = `SELECT pg_try_advisory_lock($1::integer, hashtext(current_schema()))`
	// Names the process that holds the lock, as far as we may see it.
	holder = `SELECT coalesce(nullif(a.application_name, ''), 'a program without a name'), l.pid
		FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = $1::integer::oid
			AND l.objid = hashtext(current_schema())::oid
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1`
	nextFence = `UPDATE writer SET fence = fence + 1 RETURNING fence, (SELECT value FROM meta WHERE key = 'epoch')`
)

// signature is how the holder of the lock is named: with the process, for people.
func signature() string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	return fmt.Sprintf("metaim, process %d on %.30s", os.Getpid(), host)
}

// connect makes the writer's connection.
func (w *writer) connect(ctx context.Context) error {
	config := w.s.pool.Config().ConnConfig
	config.RuntimeParams["application_name"] = signature()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, writerSettings); err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	w.conn = conn
	return nil
}

// lock connects and takes the lock. It tries until patience ends, or with none,
// until ctx does; then it also outlives a server that is down for a while.
func (w *writer) lock(ctx context.Context, patience time.Duration) error {
	started, waiting := time.Now(), false
	for {
		got, err := w.try(ctx)
		switch {
		case err == nil && got:
			return nil
		case ctx.Err() != nil && waiting:
			return fmt.Errorf("%w: %w", ErrLocked, ctx.Err())
		case err != nil && (patience > 0 || !waiting):
			return err
		case err == nil && patience > 0 && time.Since(started) >= patience:
			return fmt.Errorf("%w: %s", ErrLocked, w.holder(ctx))
		case err == nil && patience == 0 && !waiting:
			waiting = true
			w.s.log.Info("waiting for the lock of the index", "holder", w.holder(ctx))
		}
		select {
		case <-ctx.Done():
		case <-time.After(betweenTries):
		}
	}
}

func (w *writer) try(ctx context.Context) (got bool, err error) {
	if w.lost() {
		if err := w.connect(ctx); err != nil {
			return false, err
		}
	}
	err = w.conn.QueryRow(ctx, tryLock, lockClass).Scan(&got)
	return got, err
}

func (w *writer) holder(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var name string
	var pid int32
	switch err := w.conn.QueryRow(ctx, holder, lockClass).Scan(&name, &pid); {
	case errors.Is(err, pgx.ErrNoRows):
		return "it has just ended"
	case err != nil:
		return "which one couldn't be asked"
	}
	return fmt.Sprintf("%s (server process %d)", name, pid)
}

func (w *writer) lost() bool { return w.conn == nil || w.conn.IsClosed() }

// raise takes the next fencing number: whoever wrote before can't any more.
func (w *writer) raise(ctx context.Context) (fence int64, epoch string, err error) {
	err = w.conn.QueryRow(ctx, nextFence).Scan(&fence, &epoch)
	return fence, epoch, err
}

// regain takes the lock again after the connection was lost.
func (w *writer) regain(ctx context.Context) error {
	if err := w.lock(ctx, lingering); err != nil {
		return errors.Join(err, w.release()) // a connection without the lock is not to be written through
	}
	if err := check(ctx, w.conn, w.s.config); err != nil {
		return errors.Join(err, w.release())
	}
	fence, epoch, err := w.raise(ctx)
	if err != nil {
		return errors.Join(err, w.release())
	}
	alone := fence == w.fence+1 && epoch == w.epoch
	w.fence, w.epoch = fence, epoch
	w.s.log.Info("lock of the index taken again", "fence", fence, "alone", alone)
	if !alone {
		return ErrFenced
	}
	return nil
}

func (w *writer) release() error {
	if w.lost() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return w.conn.Close(ctx)
}

func (w *writer) update(ctx context.Context, write func(index.Tx) error) (err error) {
	const what = "write the index"
	quiet, stop := lastingBeyond(ctx)
	defer stop()
	t, err := w.begin(quiet)
	if err != nil {
		if w.conn != nil && w.conn.IsClosed() && !errors.Is(err, ErrFenced) {
			err = errors.Join(errLost, err)
		}
		return explain(ctx, what, err)
	}
	committed := false
	defer func() { // also when write panics
		if !committed {
			w.rollback(quiet)
		}
	}()
	if err := write(t); err != nil {
		return err
	}
	if t.failed != nil { // and write went on: it is not whole
		return t.failed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	fed, err := t.feed(w.bodies + t.bodies)
	if err != nil {
		return err
	}
	if err := w.commit(quiet, t); err != nil {
		return explain(quiet, "commit to the index", err)
	}
	committed = true
	if w.bodies += t.bodies; fed {
		w.bodies = 0
	}
	w.s.tell(t)
	return nil
}

// rollback ends a transaction that failed. A connection that can't even do that
// is given up.
func (w *writer) rollback(ctx context.Context) {
	if w.lost() {
		return
	}
	if _, err := w.conn.Exec(ctx, `ROLLBACK`); err != nil {
		_ = w.release() // the server ends the transaction with it
	}
}

// begin begins a transaction with the fence checked. When the connection was lost
// since the last one, or the fence raised, the lock is taken again, once: regain
// tells whether somebody else had it.
func (w *writer) begin(ctx context.Context) (*tx, error) {
	if !w.lost() {
		t, err := w.enter(ctx)
		if !w.lost() || err == nil {
			return t, err
		}
		w.s.log.Warn("the lock of the index was lost", "error", plain(err))
	}
	if err := w.regain(ctx); err != nil {
		return nil, err
	}
	return w.enter(ctx)
}

func (w *writer) enter(ctx context.Context) (*tx, error) {
	t := &tx{view: view{ctx: ctx, q: w.conn}, top: -1}
	batch := &pgx.Batch{}
	batch.Queue(`BEGIN`)
	batch.Queue(`SELECT fence, last_frame, last_event, pg_current_xact_id()::text, (SELECT frame FROM searched) FROM writer FOR UPDATE`)
	results := w.conn.SendBatch(ctx, batch)
	_, err := results.Exec()
	var fence int64
	if err == nil {
		err = results.QueryRow().Scan(&fence, &t.had.frame, &t.had.event, &t.xact, &t.mark)
	}
	err = errors.Join(err, results.Close())
	if err == nil && fence == w.fence {
		t.last = t.had
		return t, nil
	}
	w.rollback(ctx)
	if err == nil {
		// Whoever raised the fence has the lock: ours is worth nothing.
		err = errors.Join(ErrFenced, w.release())
	}
	return nil, err
}

// commit sends what was put off and the last numbers given, and commits, in one
// round trip. When the connection is lost meanwhile, the server is asked what became of it.
func (w *writer) commit(ctx context.Context, t *tx) error {
	if err := t.settled(); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	for _, p := range t.puts {
		batch.Queue(p.query, p.args...)
	}
	if t.last != t.had {
		batch.Queue(`UPDATE writer SET last_frame = $1, last_event = $2`, t.last.frame, t.last.event)
	}
	batch.Queue(`COMMIT`)
	results := w.conn.SendBatch(ctx, batch)
	var err error
	for range batch.Len() {
		tag, failed := results.Exec()
		if err == nil { // after the first the rest is skipped
			err = failed
		}
		if failed == nil && tag.String() == "ROLLBACK" {
			err = errors.New("a statement of the transaction had failed")
		}
	}
	err = errors.Join(err, results.Close())
	if err == nil || !w.lost() {
		return err
	}
	return w.inquire(ctx, t.xact, errors.Join(errLost, err))
}

// inquire asks what became of a transaction whose commit got no answer.
func (w *writer) inquire(ctx context.Context, xact string, lost error) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for {
		var status *string
		err := w.s.pool.QueryRow(ctx, `SELECT pg_xact_status($1::text::xid8)`, xact).Scan(&status)
		switch {
		case err == nil && status != nil && *status == "committed":
			w.s.log.Warn("the connection was lost after a commit", "transaction", xact)
			return nil
		case err == nil && status != nil && *status == "aborted":
			return lost
		}
		select {
		case <-ctx.Done():
			return &failure{fmt.Sprintf("%v: %v", ErrUncertain, plain(lost)), []error{ErrUncertain, ErrUnavailable, lost}}
		case <-time.After(betweenTries):
		}
	}
}
