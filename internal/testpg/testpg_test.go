package testpg

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// ask returns the answer to a query, as text.
func ask(t *testing.T, url, query string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var answer string
	if err := conn.QueryRow(t.Context(), query).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestURLIsFresh(t *testing.T) {
	one, two := URL(t), URL(t)
	Exec(t, one, `CREATE TABLE mine (x int)`)
	if got := ask(t, two, `SELECT count(*)::text FROM pg_tables WHERE tablename = 'mine'`); got != "0" {
		t.Errorf("the second database has %s tables of the first", got)
	}
}

func TestServerStopsAndStarts(t *testing.T) {
	for _, c := range []struct {
		name      string
		opts      []Option
		immediate bool
		fsync     string
	}{
		{"in order", nil, false, "off"},
		{"at once, durable", []Option{Durable()}, true, "on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Start(t, c.opts...)
			url := s.URL(t)
			Exec(t, url, `CREATE TABLE kept (x int)`)
			s.Stop(t, c.immediate)
			if conn, err := pgx.Connect(t.Context(), url); err == nil {
				conn.Close(context.Background())
				t.Error("a stopped server answers")
			}
			s.Start(t)
			if got := ask(t, url, `SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'`); got != "1" {
				t.Errorf("got %s tables after the restart, want 1", got)
			}
			if got := ask(t, url, `SHOW fsync`); got != c.fsync {
				t.Errorf("fsync is %s, want %s", got, c.fsync)
			}
		})
	}
}

// A server whose test process is gone ends by itself, and its folder goes.
func TestServerEndsWithItsProcess(t *testing.T) {
	s := Start(t)
	if err := s.leash.Close(); err != nil { // as the kernel does when the process ends
		t.Fatal(err)
	}
	<-s.over
	if _, err := os.Stat(s.home); !os.IsNotExist(err) {
		t.Errorf("its folder: got %v, want that it doesn't exist", err)
	}
}

func TestFindNamed(t *testing.T) {
	t.Setenv("METAIM_PG_BIN", t.TempDir())
	if _, err := find(); err == nil || !strings.Contains(err.Error(), "METAIM_PG_BIN") {
		t.Errorf("an empty folder: got %v, want an error that names METAIM_PG_BIN", err)
	}
	bin, ok := installed()
	if !ok {
		t.Fatal(errMissing)
	}
	t.Setenv("METAIM_PG_BIN", bin)
	if got, err := find(); got != bin || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, bin)
	}
}

func TestVersion(t *testing.T) {
	for path, want := range map[string]int{"/usr/lib/postgresql/15/bin": 15, "/usr/pgsql-9/bin": 9, "/opt/homebrew/opt/postgresql@17/bin": 17, "/bin": 0} {
		if got := version(filepath.FromSlash(path)); got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}
