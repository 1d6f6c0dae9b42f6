package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// made makes an index and closes it.
func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index.db")
	s := openAt(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// alter runs SQL on a file as another program would.
func alter(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	write := func(text string) func(t *testing.T) string {
		return func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "index.db")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	altered := func(statements ...string) func(t *testing.T) string {
		return func(t *testing.T) string {
			path := made(t)
			alter(t, path, statements...)
			return path
		}
	}
	regtest, readOnly := Config{Network: frame.Regtest}, Config{Network: frame.Regtest, ReadOnly: true}
	for _, c := range []struct {
		name   string
		make   func(t *testing.T) string
		config Config
		want   error  // or nil
		text   string // part of the sentence
	}{
		{"a newer version's", altered(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (7, 1)`), regtest, ErrNewer, "its format is 7"},
		{"a newer version's, to read", altered(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (7, 1)`), readOnly, ErrNewer, "its format is 7"},
		{"an older version's, to read", altered(`DELETE FROM goose_db_version WHERE version_id > 0`), readOnly, ErrOlder, "its format is 0"},
		{"another network's", made, Config{Network: frame.Main}, ErrNetwork, `it is of "regtest", not of "main"`},
		{"another network's, to read", made, Config{Network: frame.Test, ReadOnly: true}, ErrNetwork, `it is of "regtest", not of "test"`},
		{"no network", made, Config{}, nil, "network"},
		{"a text", write("once upon a time there was a file"), regtest, ErrForeign, "isn't a SQLite database"},
		{"a short text", write("x"), regtest, ErrForeign, "isn't a SQLite database"},
		{"SQLite's first words and nothing more", write(magic), regtest, ErrForeign, ""},
		{"SQLite's first words and rubbish", write(magic + strings.Repeat("rubbish", 2_000)), regtest, ErrForeign, ""},
		{"an empty file, to read", write(""), readOnly, ErrForeign, ""},
		{"another program's tables", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "index.db")
			alter(t, path, `CREATE TABLE recipes (name TEXT)`)
			return path
		}, regtest, ErrForeign, "another program's"},
		{"another program's, that uses goose too", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "index.db")
			alter(t, path, `CREATE TABLE recipes (name TEXT)`, `CREATE TABLE goose_db_version (id INTEGER, version_id INTEGER, is_applied INTEGER)`,
				`INSERT INTO goose_db_version VALUES (1, 1, 1)`)
			return path
		}, regtest, ErrForeign, "another program's"},
		{"another program's mark", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "index.db")
			alter(t, path, `PRAGMA application_id = 5`, `CREATE TABLE x (y)`, `DROP TABLE x`)
			return path
		}, regtest, ErrForeign, "another program's"},
		{"a folder", func(t *testing.T) string { return t.TempDir() }, regtest, nil, "it is a folder"},
		{"in no folder", func(t *testing.T) string { return filepath.Join(t.TempDir(), "no", "index.db") }, regtest, os.ErrNotExist, "its folder"},
		{"nothing there, to read", func(t *testing.T) string { return filepath.Join(t.TempDir(), "index.db") }, readOnly, os.ErrNotExist, ""},
		{"inside a file", func(t *testing.T) string { return filepath.Join(write("x")(t), "index.db") }, regtest, nil, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := c.make(t)
			before := contents(t, path)
			s, err := Open(t.Context(), path, c.config)
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %q, want %q in it", err, c.text)
			}
			if got := contents(t, path); got != before {
				t.Error("the file was changed")
			}
			if _, err := os.Stat(path + lockSuffix); err == nil && !ours(before) {
				t.Error("a lock file was left")
			}
		})
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// ours tells whether a file was an index before, which has its lock file.
func ours(contents string) bool { return strings.Contains(contents, "state_hash") }

func TestOpenUnwritable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("nothing is unwritable to root")
	}
	for _, c := range []struct {
		name string
		lock func(path string) string // what to make unwritable
	}{
		{"the file", func(path string) string { return path }},
		{"the folder", filepath.Dir},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := made(t)
			if err := os.Remove(path + lockSuffix); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(c.lock(path), 0o500); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(c.lock(path), 0o700) })
			before := contents(t, path)
			s, err := Open(t.Context(), path, Config{Network: frame.Regtest})
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			if !errors.Is(err, os.ErrPermission) {
				t.Errorf("got %v, want permission denied", err)
			}
			if contents(t, path) != before {
				t.Error("the file was changed")
			}
		})
	}
}

func TestOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	s := openAt(t, path)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		_, err := Open(t.Context(), p, Config{Network: frame.Regtest})
		if want := fmt.Sprint("process ", os.Getpid()); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) {
			t.Errorf("a second writer: got %v, want ErrLocked with %q", err, want)
		}
	}
	reader, err := Open(t.Context(), path, Config{Network: frame.Regtest, ReadOnly: true})
	if err != nil {
		t.Fatalf("a reader beside the writer: %v", err)
	}
	defer reader.Close()
	putName(t, s, "before")
	if err := reader.Update(t.Context(), func(index.Tx) error { return nil }); !errors.Is(err, ErrReadOnly) {
		t.Errorf("update of a reader: got %v, want ErrReadOnly", err)
	}
	if got := names(t, reader); got != "before" {
		t.Errorf("the reader sees %q, want what the writer wrote", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	defer s.Close()
	putName(t, s, "later")
	if got := names(t, reader); got != "before later" {
		t.Errorf("the reader sees %q after the writer came back", got)
	}
}

func TestReadOnlyAlone(t *testing.T) {
	path := made(t)
	s, err := Open(t.Context(), path, Config{Network: frame.Regtest, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, s); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if err := s.View(t.Context(), func(index.View) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestOddPaths(t *testing.T) {
	for _, name := range []string{"a b.db", "100%25.db", "what?.db", "#1.db", "a&b=c;d.db", "\u00e9\u4e2d.db", "q'uote\".db", "+.db"} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, name)
			s := openAt(t, path)
			putName(t, s, "x")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			files, err := os.ReadDir(folder)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range files {
				got = append(got, f.Name())
			}
			if len(got) != 2 || got[0] != name || got[1] != name+lockSuffix {
				t.Errorf("got the files %q, want %q and its lock", got, name)
			}
			s = openAt(t, path)
			defer s.Close()
			if got := names(t, s); got != "x" {
				t.Errorf("got %q, want x", got)
			}
		})
	}
	t.Run("relative", func(t *testing.T) {
		t.Chdir(t.TempDir())
		s := openAt(t, "index.db")
		defer s.Close()
		putName(t, s, "x")
	})
	t.Run("an empty file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "index.db")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openAt(t, path)
		defer s.Close()
		putName(t, s, "x")
	})
}

// A database whose making was cut short after the tables is finished.
func TestOpenFinishes(t *testing.T) {
	path := made(t)
	alter(t, path, `DELETE FROM meta`)
	s := openAt(t, path)
	defer s.Close()
	if s.epoch == "" {
		t.Error("no epoch")
	}
}

func putName(t testing.TB, s *Store, name string) {
	t.Helper()
	err := s.Update(context.Background(), func(tx index.Tx) error {
		return tx.PutNames([]*nprotocol.Name{{Name: name}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func names(t testing.TB, s *Store) string {
	t.Helper()
	var list []string
	err := s.View(context.Background(), func(v index.View) error {
		return v.AllNames(func(n *nprotocol.Name) error { list = append(list, n.Name); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}
