package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/migrations"
)

const (
	// Every statement here is written to be answered by nested loops over indexes.
	// The planner is told so: left to itself, it reads tables through and sorts
	// them where statistics are missing or strangers have made them odd. Each
	// statement is planned by itself, and no time is lost with compiling it.
	readerSettings = `SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
		SET max_parallel_workers_per_gather = 0; SET random_page_cost = 1.1; SET plan_cache_mode = force_generic_plan; SET jit = off`

	connectTimeout = 10 * time.Second
	// How long an Open that isn't to wait tries for the lock: a process that was
	// killed may hold it for a moment longer.
	briefly = time.Second
)

// Open opens the index in a database, and makes or upgrades it unless it is
// read-only. The index is in the first schema of the search path, which it has
// for itself. What it refuses it leaves as it is: ErrLocked (the sentence names
// the process), ErrNewer, ErrOlder, ErrForeign, ErrNetwork, ErrDenied. With Wait
// it waits for the lock until ctx ends.
//
// The store runs a goroutine that tells listeners of commits; Close ends it.
func Open(ctx context.Context, url string, config Config) (*Store, error) {
	s, err := open(ctx, url, config)
	if err != nil {
		return nil, explain(ctx, "open the index in PostgreSQL", err)
	}
	return s, nil
}

func open(ctx context.Context, url string, config Config) (*Store, error) {
	if _, err := frame.ParseNetwork(string(config.Network)); err != nil {
		return nil, err
	}
	pooled, err := configure(url)
	if err != nil {
		return nil, err
	}
	pooled.ConnConfig.Tracer = config.Trace
	s := &Store{config: config, log: config.Logger, news: make(chan int64, 1)}
	s.life, s.end = context.WithCancel(context.Background())
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, pooled); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.end()
		s.pool.Close()
		return nil, err
	}
	s.log.Info("index opened", "network", string(config.Network), "read_only", config.ReadOnly)
	return s, nil
}

func configure(url string) (*pgxpool.Config, error) {
	pooled, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, ErrURL // the reason has parts of the URL in it
	}
	if !strings.Contains(url, "pool_max_conns") {
		pooled.MaxConns = int32(max(8, 2*runtime.GOMAXPROCS(0)))
	}
	c := pooled.ConnConfig
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "metaim"
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	// A peer that is gone without a word is noticed in under a minute.
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 4}}
	c.DialFunc = dialer.DialContext
	switch c.DefaultQueryExecMode {
	case pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec:
	default: // those give texts where we read binary
		c.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	}
	pooled.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, readerSettings)
		return err
	}
	return pooled, nil
}

func (s *Store) start(ctx context.Context) error {
	// Before anything is locked or written: what is refused stays as it is.
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	err = check(ctx, conn.Conn(), s.config)
	conn.Release()
	if err != nil || s.config.ReadOnly {
		return err
	}
	w := &writer{s: s}
	if err := s.lead(ctx, w); err != nil {
		return errors.Join(err, w.release())
	}
	s.turn = make(chan *writer, 1)
	s.turn <- w
	s.running.Go(s.notify)
	return nil
}

// lead takes the lock and makes the database ready to be written.
func (s *Store) lead(ctx context.Context, w *writer) error {
	patience := briefly
	if s.config.Wait {
		patience = 0
	}
	if err := w.lock(ctx, patience); err != nil {
		return err
	}
	if err := check(ctx, w.conn, s.config); err != nil { // again: who held the lock may have made it
		return err
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	_, err := w.conn.Exec(ctx, `INSERT INTO meta (key, value) VALUES ('network', $1), ('epoch', $2) ON CONFLICT (key) DO NOTHING`,
		string(s.config.Network), rand.Text())
	if err != nil {
		return err
	}
	if w.fence, w.epoch, err = w.raise(ctx); err != nil {
		return err
	}
	var durable string
	if err := w.conn.QueryRow(ctx, `SHOW synchronous_commit`).Scan(&durable); err != nil {
		return err
	}
	if durable == "off" {
		s.log.Warn("synchronous_commit is off: the last commits may be lost when the server ends")
	}
	return nil
}

// check tells why a database can't be used: another program's, a newer or (when
// read-only) an older version's, another network's.
func check(ctx context.Context, conn *pgx.Conn, config Config) error {
	known, err := migrations.Latest("postgres")
	if err != nil {
		return err
	}
	var schema *string
	var ours, versions bool
	var others int64
	err = conn.QueryRow(ctx, `
		SELECT current_schema(), coalesce(obj_description(to_regclass(quote_ident(current_schema()) || '.meta'), 'pg_class') = 'metaim index', false),
			to_regclass(quote_ident(current_schema()) || '.goose_db_version') IS NOT NULL,
			(SELECT count(*) FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
				AND relname <> 'goose_db_version')`).Scan(&schema, &ours, &versions, &others)
	switch {
	case err != nil:
		return err
	case schema == nil:
		return fmt.Errorf("%w: no schema of the search path exists", ErrForeign)
	case !ours && others > 0:
		return fmt.Errorf("%w: it holds another program's tables", ErrForeign)
	}
	var version int64
	if versions {
		if err := conn.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version); err != nil {
			return err
		}
	}
	switch {
	case version > known:
		return fmt.Errorf("%w: its format is %d, this program knows up to %d", ErrNewer, version, known)
	case !ours && version > 0:
		return fmt.Errorf("%w: its format is said to be %d, but its tables are not there", ErrForeign, version)
	case ours && version == 0:
		return fmt.Errorf("%w: its tables are there, but not their format", ErrForeign)
	case version < known && config.ReadOnly:
		return fmt.Errorf("%w (its format is %d, this program's %d)", ErrOlder, version, known)
	case version == 0:
		return nil
	}
	return checkNetwork(ctx, conn, config.Network)
}

func checkNetwork(ctx context.Context, conn *pgx.Conn, network frame.Network) error {
	var of string
	err := conn.QueryRow(ctx, `SELECT value FROM meta WHERE key = 'network'`).Scan(&of)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil // died while it was being made
	case err != nil:
		return err
	case of != string(network):
		return fmt.Errorf("%w: it is of %q, not of %q", ErrNetwork, of, network)
	}
	return nil
}

// migrate brings the database up to date, each file in a transaction of its own.
// The lock is held by a connection beside.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations.FS, "postgres")
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*s.pool.Config().ConnConfig)
	defer db.Close() //nolint:errcheck // what counts is what was committed
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("bring the database up to date: %w", plain(err))
	}
	for _, r := range results {
		s.log.Info("database migrated", "file", r.Source.Path, "took", r.Duration)
	}
	return nil
}
