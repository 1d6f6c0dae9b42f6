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
	_ "modernc.org/sqlite" // the driver "sqlite" of database/sql, for goose
	"zombiezen.com/go/sqlite"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/migrations"
)

const (
	applicationID = 0x6d65746d // "metm", in the header of every index
	magic         = "SQLite format 3\x00"
	lockSuffix    = ".lock"

	// Of a new file. Larger ones hold rows with less waste, a fifteenth of the file,
	// but most pages that a block touches are of indexes, each for one of its keys:
	// these are written and summed up whole.
	pageBytes = 4 << 10

	// The journal is folded into the database when it has this many bytes of
	// pages, and cut to the size below when it had to grow beyond. Pages that many
	// blocks touch are folded in once for all of them.
	checkpointBytes = 64 << 20
	journalBytes    = 128 << 20

	writerCache = 64 << 10 // kB
	readerCache = 8 << 10  // kB, of each connection
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
		if err := inspect(path, config); err != nil {
			return nil, err
		}
	}
	s := &Store{}
	if !config.ReadOnly {
		if err := s.openWriter(ctx, path, config, log); err != nil {
			return nil, err
		}
	}
	if err := s.openReaders(path); err != nil {
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

// inspect looks at a database through a connection that can't write.
func inspect(path string, config Config) error {
	c, err := connect(path, sqlite.OpenReadOnly)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	_, err = check(c, config)
	return errors.Join(err, c.close())
}

// check tells why a database can't be used: another program's, a newer or (when
// read-only) an older version's, another network's. It returns the number of its
// last migration.
func check(c *conn, config Config) (version int64, err error) {
	known, err := migrations.Latest("sqlite")
	if err != nil {
		return 0, err
	}
	var id, tables, versions int64
	err = c.first(`
		SELECT (SELECT application_id FROM pragma_application_id),
			(SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND tbl_name <> 'goose_db_version'),
			(SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version')`, func(s *statement) error {
		id, tables, versions = s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnInt64(2)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if id != applicationID && (tables > 0 || id != 0) {
		return 0, fmt.Errorf("%w: another program's database", ErrForeign)
	}
	if versions > 0 {
		if version, err = c.number(`SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`); err != nil {
			return 0, err
		}
	}
	switch {
	case version > known:
		return 0, fmt.Errorf("%w: its format is %d, this program knows up to %d", ErrNewer, version, known)
	case version < known && config.ReadOnly:
		return 0, fmt.Errorf("%w (its format is %d, this program's %d)", ErrOlder, version, known)
	case version == 0:
		return 0, nil
	}
	return version, checkNetwork(c, config.Network)
}

func checkNetwork(c *conn, network frame.Network) error {
	of, err := c.meta("network")
	switch {
	case errors.Is(err, index.ErrNotFound):
		return nil // died while it was being made
	case err != nil:
		return err
	case of != string(network):
		return fmt.Errorf("%w: it is of %q, not of %q", ErrNetwork, of, network)
	}
	return nil
}

// meta returns a value of the table meta.
func (c *conn) meta(key string) (value string, err error) {
	err = c.first(`SELECT value FROM meta WHERE key = CAST(? AS TEXT)`, func(s *statement) error { value = s.ColumnText(0); return nil }, text(key))
	return value, err
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
	if err := migrate(ctx, path, config, log); err != nil {
		return err
	}
	c, err := connect(path, sqlite.OpenReadWrite, `PRAGMA journal_mode = wal`, `PRAGMA synchronous = full`,
		fmt.Sprintf(`PRAGMA wal_autocheckpoint = %d`, checkpointBytes/pageBytes), fmt.Sprintf(`PRAGMA journal_size_limit = %d`, journalBytes),
		fmt.Sprintf(`PRAGMA cache_size = -%d`, writerCache))
	if err != nil {
		return err
	}
	s.turn = make(chan *conn, 1)
	s.turn <- c
	if err := c.hold(); err != nil {
		return err
	}
	return c.run(`INSERT INTO meta (key, value) VALUES ('network', CAST(? AS TEXT)), ('epoch', CAST(? AS TEXT)) ON CONFLICT (key) DO NOTHING`,
		text(string(config.Network)), text(rand.Text()))
}

// migrate makes the tables, or brings them up to date. goose asks for a connection
// of database/sql, which is closed before the store has its own.
func migrate(ctx context.Context, path string, config Config, log *slog.Logger) (err error) {
	known, err := migrations.Latest("sqlite")
	if err != nil {
		return err
	}
	c, err := connect(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return err
	}
	version, err := check(c, config)
	if err := errors.Join(err, c.close()); err != nil || version == known {
		return err
	}
	db, err := sql.Open("sqlite", source(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
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

// source writes the name under which database/sql opens a file. The size of pages
// is for a file that is empty yet, and must come before its journal is chosen: the
// driver sorts these by name, so the writing connection chooses that later.
func source(path string) string {
	q := url.Values{"mode": {"rwc"}, "_pragma": {fmt.Sprintf("page_size(%d)", pageBytes), "synchronous(full)",
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "temp_store(2)"}}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	return u.String()
}

func (s *Store) openReaders(path string) error {
	s.readers = newPool(max(8, 2*runtime.GOMAXPROCS(0)), func() (*conn, error) {
		return connect(path, sqlite.OpenReadOnly, fmt.Sprintf(`PRAGMA cache_size = -%d`, readerCache))
	})
	c, err := s.readers.take(context.Background())
	if err != nil {
		return err
	}
	defer s.readers.give(c)
	s.epoch, err = c.meta("epoch")
	return err
}

// abandon closes what a failed Open had opened.
func (s *Store) abandon() error {
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.close())
	}
	if s.turn != nil {
		c := <-s.turn
		errs = append(errs, c.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}
