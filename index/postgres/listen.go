package postgres

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// sendNews notifies and loses nothing that matters when the server ends.
	sendNews = `SELECT set_config('synchronous_commit', 'off', true), pg_notify('metaim', $1)`
	newsTime = 10 * time.Second
	// A listener asks whether its connection still lives this often, and wakes
	// whoever listens: a message may have been lost with one that didn't.
	heartbeat = 30 * time.Second
	// A replica takes no LISTEN: it is asked for the last event this often.
	replicaBeat   = time.Second
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second
)

// tell hands the last seq of a transaction to the notifier, which may be busy:
// then it sends the newest.
func (s *Store) tell(t *tx) {
	if t.last.event == t.had.event {
		return
	}
	for {
		select {
		case s.news <- t.last.event:
			return
		default:
		}
		select {
		case <-s.news:
		default:
		}
	}
}

// notify sends what was committed to the listeners of all processes: the seq
// alone, and after the commit, because NOTIFY makes commits wait for each other.
// When it fails, they hear of it later.
func (s *Store) notify() {
	for {
		var seq int64
		select {
		case <-s.life.Done():
			return
		case seq = <-s.news:
		}
		ctx, cancel := context.WithTimeout(context.Background(), newsTime)
		if _, err := s.pool.Exec(ctx, sendNews, strconv.FormatInt(seq, 10)); err != nil {
			s.log.Warn("notify of the events of the index", "error", plain(err))
		}
		cancel()
	}
}

// Listen wakes when there may be new events: after each commit that left some, on
// whatever machine, and after each loss of its connection. Wakes that nobody took
// yet are one. On a replica, which can't be told, it asks each second. The
// channel is closed when ctx or the store ends. A wake may be late but isn't
// lost; which events there are is for Events to say.
func (s *Store) Listen(ctx context.Context) (<-chan struct{}, error) {
	const what = "listen to the index"
	if s.life.Err() != nil {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &listener{s: s, wakes: make(chan struct{}, 1)}
	if err := l.connect(ctx); err != nil {
		err = explain(ctx, what, err)
		cancel()
		return nil, err
	}
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.life.Err() != nil {
		l.drop()
		cancel()
		return nil, ErrClosed
	}
	context.AfterFunc(s.life, cancel)
	s.running.Go(func() {
		defer cancel()
		l.run(ctx)
	})
	return l.wakes, nil
}

// A listener is a connection that listens.
type listener struct {
	s       *Store
	conn    *pgx.Conn
	replica bool
	last    int64 // seq, of a replica
	wakes   chan struct{}
}

func (l *listener) connect(ctx context.Context) error {
	config := l.s.pool.Config().ConnConfig
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	l.replica = false
	_, err = conn.Exec(ctx, `LISTEN metaim`)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == "25006" {
		l.replica, err = true, nil
	}
	if err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	l.conn = conn
	return nil
}

func (l *listener) wake() {
	select {
	case l.wakes <- struct{}{}:
	default: // the one before isn't taken yet
	}
}

func (l *listener) run(ctx context.Context) {
	defer close(l.wakes)
	pause := shortestPause
	for {
		for l.conn != nil && !l.conn.IsClosed() {
			if err := l.wait(ctx); err != nil && ctx.Err() == nil {
				l.s.log.Warn("the connection that listens to the index was lost", "error", plain(err))
				l.drop()
			}
			if ctx.Err() != nil {
				l.drop()
				return
			}
			pause = shortestPause
		}
		if err := l.connect(ctx); err == nil {
			l.wake() // for all that was said meanwhile
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
	}
}

func (l *listener) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.conn.Close(ctx)
}

// wait waits for a message, or for the time to ask whether there is anybody.
func (l *listener) wait(ctx context.Context) error {
	if l.replica {
		return l.ask(ctx)
	}
	beat, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	_, err := l.conn.WaitForNotification(beat)
	switch {
	case err == nil:
		l.wake()
		return nil
	case ctx.Err() == nil && beat.Err() != nil && !l.conn.IsClosed():
		l.wake()
		return l.ping(ctx)
	}
	return err
}

func (l *listener) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, newsTime)
	defer cancel()
	return l.conn.Ping(ctx)
}

func (l *listener) ask(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(replicaBeat):
	}
	ctx, cancel := context.WithTimeout(ctx, newsTime)
	defer cancel()
	var last int64
	if err := l.conn.QueryRow(ctx, lastSeq).Scan(&last); err != nil {
		return err
	}
	if last != l.last {
		l.last = last
		l.wake()
	}
	return nil
}
