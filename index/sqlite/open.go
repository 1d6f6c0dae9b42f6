package sqlite

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/migrations"
)

const (
	applicationID = 0x6d65746d // "metm", in the header of every index
	magic         = "SQLite format 3\x00"
	lockSuffix    = ".lock"

	// The journal is folded into the database after this many pages of 4 kB, and
	// cut to the size below when it had to grow beyond.
	checkpointPages = 4_000
	journalBytes    = 64 << 20
	writerCache     = 64 << 10 // kB
	readerCache     = 8 << 10  // kB, of each connection
)

// Open opens the index in a file, and makes or upgrades it unless it is
// read-only. What it refuses it leaves as it is: ErrLocked (the sentence names
// the process), ErrNewer, ErrOlder, ErrForeign, ErrNetwork.
func Open(ctx context.Context, path string, config Config) (*Store, error) {
	s, err := open(ctx, path, config)
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, config Config) (*Store, error) {
	if _, err := frame.ParseNetwork(string(config.Network)); err != nil {
		return nil, err
	}
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	exists, err := checkFile(path, config.ReadOnly)
	if err != nil {
		return nil, err
	}
	if exists {
		// Before anything is locked or written: what is refused stays as it is.
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, err
		}
		if !config.ReadOnly {
			if err := checkBeside(path); err != nil {
				return nil, err
			}
		}
		if err := inspect(ctx, path, config); err != nil {
			return nil, err
		}
	}
	s := &Store{closed: make(chan struct{}), turn: make(chan *sql.Conn, 1)}
	if !config.ReadOnly {
		if err := s.openWriter(ctx, path, config, log); err != nil {
			return nil, err
		}
	}
	if err := s.openReader(ctx, path); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	log.Info("index opened", "path", path, "network", string(config.Network), "epoch", s.epoch, "read_only", config.ReadOnly)
	return s, nil
}

// checkBeside tells why nothing can be written beside the file, where SQLite
// keeps its journal: it would say so in words that fit a damaged file.
func checkBeside(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".metaim-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// checkFile tells whether the file is there, and why it can't be an index.
func checkFile(path string, readOnly bool) (exists bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !readOnly:
		return false, checkFolder(filepath.Dir(path))
	case err != nil:
		return false, err
	case info.IsDir():
		return false, errors.New("it is a folder, not a file")
	case !info.Mode().IsRegular():
		return false, errors.New("it is not a regular file")
	}
	flag := os.O_RDWR
	if readOnly {
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	head := make([]byte, len(magic))
	n, err := io.ReadFull(f, head)
	switch {
	case n == 0 && errors.Is(err, io.EOF) && !readOnly:
		return false, nil // SQLite makes a database of an empty file
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return false, err
	case !bytes.Equal(head, []byte(magic)):
		return false, fmt.Errorf("%w: it isn't a SQLite database", ErrForeign)
	}
	return true, nil
}

func checkFolder(folder string) error {
	info, err := os.Stat(folder)
	switch {
	case err != nil:
		return fmt.Errorf("its folder: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", folder)
	}
	return nil
}

// source writes the name under which the driver opens a file.
func source(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_pragma": append(pragmas, "busy_timeout(10000)", "foreign_keys(1)", "temp_store(2)")}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	return u.String()
}

// inspect looks at a database through a connection that can't write.
func inspect(ctx context.Context, path string, config Config) error {
	db, err := sql.Open("sqlite", source(path, "ro"))
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // nothing was written
	db.SetMaxOpenConns(1)
	return check(ctx, db, config)
}

// check tells why a database can't be used: another program's, a newer or (when
// read-only) an older version's, another network's.
func check(ctx context.Context, db *sql.DB, config Config) error {
	known, err := migrations.Latest("sqlite")
	if err != nil {
		return err
	}
	var id, tables, versions int64
	err = db.QueryRowContext(ctx, `
		SELECT (SELECT application_id FROM pragma_application_id),
			(SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND tbl_name <> 'goose_db_version'),
			(SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version')`).Scan(&id, &tables, &versions)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if id != applicationID && (tables > 0 || id != 0) {
		return fmt.Errorf("%w: another program's database", ErrForeign)
	}
	var version int64
	if versions > 0 {
		err := db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
		if err != nil {
			return err
		}
	}
	switch {
	case version > known:
		return fmt.Errorf("%w: its format is %d, this program knows up to %d", ErrNewer, version, known)
	case version < known && config.ReadOnly:
		return fmt.Errorf("%w (its format is %d, this program's %d)", ErrOlder, version, known)
	case version == 0:
		return nil
	}
	return checkNetwork(ctx, db, config.Network)
}

func checkNetwork(ctx context.Context, db *sql.DB, network frame.Network) error {
	var of string
	err := db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'network'`).Scan(&of)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil // died while it was being made
	case err != nil:
		return err
	case of != string(network):
		return fmt.Errorf("%w: it is of %q, not of %q", ErrNetwork, of, network)
	}
	return nil
}

func (s *Store) openWriter(ctx context.Context, path string, config Config, log *slog.Logger) (err error) {
	if s.lock, err = acquire(path + lockSuffix); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.abandon())
		}
	}()
	s.writer, err = sql.Open("sqlite", source(path, "rwc", "journal_mode(wal)", "synchronous(full)",
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages), fmt.Sprintf("journal_size_limit(%d)", journalBytes),
		fmt.Sprintf("cache_size(-%d)", writerCache)))
	if err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if err := check(ctx, s.writer, config); err != nil {
		return err
	}
	if err := migrate(ctx, s.writer, log); err != nil {
		return err
	}
	_, err = s.writer.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('network', ?), ('epoch', ?) ON CONFLICT (key) DO NOTHING`,
		string(config.Network), rand.Text())
	if err != nil {
		return err
	}
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return err
	}
	s.turn <- conn
	return nil
}

func migrate(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	files, err := fs.Sub(migrations.FS, "sqlite")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	for _, r := range results {
		log.Info("database migrated", "file", r.Source.Path, "took", r.Duration)
	}
	return nil
}

func (s *Store) openReader(ctx context.Context, path string) (err error) {
	s.reader, err = sql.Open("sqlite", source(path, "ro", fmt.Sprintf("cache_size(-%d)", readerCache)))
	if err != nil {
		return err
	}
	readers := max(8, 2*runtime.GOMAXPROCS(0))
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	return s.reader.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'epoch'`).Scan(&s.epoch)
}

// abandon closes what a failed Open had opened.
func (s *Store) abandon() error {
	var errs []error
	select {
	case conn := <-s.turn:
		errs = append(errs, conn.Close())
	default:
	}
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}
