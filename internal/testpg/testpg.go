// Package testpg gives tests a real PostgreSQL: a server of their own in a
// temporary folder, reached through a socket there, gone when the test ends.
//
// It is an installed server, found as METAIM_PG_BIN (the folder of initdb and
// postgres), in PATH or where Debian and others put it. Where there is none and
// this may be done (root on Debian), the package "postgresql" is installed,
// without a cluster of its own. Else the test fails: it is never skipped.
package testpg

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience is how long the server may take for anything. It is much longer than
// it takes on a machine that does nothing else.
const patience = time.Minute

// superuser is the role that made the server.
const superuser = "postgres"

// shared is the server of all tests of a process. It ends with the process.
var shared = sync.OnceValues(func() (*Server, error) {
	s := &Server{}
	if err := s.create(); err != nil {
		return nil, err
	}
	return s, s.launch()
})

// URL returns the URL of a fresh database, on a server that the tests of this
// process share. The database is dropped when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.URL(t)
}

// An Option changes how a server runs.
type Option func(*Server)

// Durable makes a server keep what it committed whatever happens to the machine,
// as servers do: the others here don't wait for the disk.
func Durable() Option { return func(s *Server) { s.durable = true } }

// Start starts a server for one test, which may stop it. It ends with the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := &Server{}
	for _, o := range opts {
		o(s)
	}
	if err := s.create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Errorf("remove the PostgreSQL server: %v", err)
		}
	})
	s.Start(t)
	return s
}

var databases atomic.Int64

// URL makes a fresh database and returns its URL. It is dropped when the test
// ends, if the server runs then.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := s.exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !s.running() {
			return
		}
		if err := s.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return s.url(name)
}

func (s *Server) url(database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: url.Values{
		"host": {s.home}, "user": {superuser}, "sslmode": {"disable"}}.Encode()}
	return u.String()
}

// exec runs a statement as the superuser.
func (s *Server) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // what counts is the statement
	_, err = conn.Exec(ctx, statement)
	return err
}

// Exec runs statements in the database of a URL, as somebody else would.
func Exec(t testing.TB, url string, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // what counts are the statements
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
