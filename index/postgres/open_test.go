package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/testpg"
	"github.com/metaim/metaim/nprotocol"
)

// made makes an index and closes it.
func made(t *testing.T) string {
	t.Helper()
	url := testpg.URL(t)
	s := openAt(t, url)
	putName(t, s, "made")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return url
}

func putName(t testing.TB, s *Store, name string) {
	t.Helper()
	if err := tryName(s, name); err != nil {
		t.Fatal(err)
	}
}

func tryName(s *Store, name string) error {
	return s.Update(context.Background(), func(tx index.Tx) error {
		return tx.PutNames([]*nprotocol.Name{{Name: name}})
	})
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

// ask returns the answer to a query as somebody else asks it.
func ask(t testing.TB, url, query string) string {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var answer string
	if err := conn.QueryRow(context.Background(), query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

// contents tells what a database holds, as far as opening it could change it.
func contents(t testing.TB, url string) string {
	t.Helper()
	s := ask(t, url, `SELECT coalesce(string_agg(relname || relkind::text || relfilenode, ' ' ORDER BY relname), '') FROM pg_class WHERE relnamespace = 'public'::regnamespace`)
	for _, table := range []string{"writer", "meta", "goose_db_version", "names"} {
		if ask(t, url, `SELECT coalesce(to_regclass('public.`+table+`')::text, '')`) != "" {
			s += ask(t, url, `SELECT coalesce(string_agg(x::text, ' '), '') FROM `+table+` x`)
		}
	}
	return s
}

func TestOpenRefuses(t *testing.T) {
	altered := func(statements ...string) func(t *testing.T) string {
		return func(t *testing.T) string {
			url := made(t)
			testpg.Exec(t, url, statements...)
			return url
		}
	}
	fresh := func(statements ...string) func(t *testing.T) string {
		return func(t *testing.T) string {
			url := testpg.URL(t)
			testpg.Exec(t, url, statements...)
			return url
		}
	}
	const goose = `CREATE TABLE goose_db_version (id int, version_id bigint, is_applied boolean)`
	newer := altered(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (7, true)`)
	regtest, readOnly := Config{Network: frame.Regtest}, Config{Network: frame.Regtest, ReadOnly: true}
	for _, c := range []struct {
		name   string
		make   func(t *testing.T) string
		config Config
		want   error  // or nil
		text   string // part of the sentence
	}{
		{"a newer version's", newer, regtest, ErrNewer, "its format is 7"},
		{"a newer version's, to read", newer, readOnly, ErrNewer, "its format is 7"},
		{"an empty one, to read", fresh(), readOnly, ErrOlder, "its format is 0"},
		{"another network's", made, Config{Network: frame.Main}, ErrNetwork, `it is of "regtest", not of "main"`},
		{"another network's, to read", made, Config{Network: frame.Test, ReadOnly: true}, ErrNetwork, `it is of "regtest", not of "test"`},
		{"no network", made, Config{}, nil, "network"},
		{"another program's tables", fresh(`CREATE TABLE recipes (name text)`), regtest, ErrForeign, "another program's"},
		{"another program's, that uses goose too", fresh(`CREATE TABLE recipes (name text)`, goose, `INSERT INTO goose_db_version VALUES (1, 1, true)`), regtest, ErrForeign, "another program's"},
		{"another program's, that calls a table meta", fresh(`CREATE TABLE meta (key text, value text)`), regtest, ErrForeign, "another program's"},
		{"a format without tables", fresh(goose, `INSERT INTO goose_db_version VALUES (1, 1, true)`), regtest, ErrForeign, "its tables are not there"},
		{"tables without a format", altered(`DROP TABLE goose_db_version`), regtest, ErrForeign, "not their format"},
		{"no schema", altered(`ALTER SCHEMA public RENAME TO elsewhere`), regtest, ErrForeign, "no schema"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := c.make(t)
			look := c.name != "no schema"
			before := ""
			if look {
				before = contents(t, url)
			}
			s, err := Open(t.Context(), url, c.config)
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
			if look {
				if after := contents(t, url); after != before {
					t.Errorf("the database was changed:\n got %s\nwant %s", after, before)
				}
			}
		})
	}
}

func TestOpenSaysNoSecrets(t *testing.T) {
	const secret = "hunter2"
	for _, c := range []struct {
		name, url string
		want      error
	}{
		{"no URL", "postgres://alice:hunter2@host:port/db", ErrURL},
		{"a bad escape", "postgres://alice:hunter2%zz@dbhost/db", ErrURL},
		{"not a URL", "password=hunter2 = alice", ErrURL},
		{"nobody listens", "postgres://alice:hunter2@127.0.0.1:1/dbname?sslmode=disable", ErrUnavailable},
		{"no such socket", "postgres://alice:hunter2@/dbname?host=/nowhere/dbhost", ErrUnavailable},
		{"no such host", "postgres://alice:hunter2@dbhost.invalid/dbname", ErrUnavailable},
		{"no such database", strings.Replace(testpg.URL(t), "/test", "/nothing", 1), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(t.Context(), c.url, Config{Network: frame.Regtest})
			if err == nil {
				t.Fatal("no error")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			for _, word := range []string{secret, "alice", "dbhost", "127.0.0.1", "host=", "metaim-pg"} {
				if strings.Contains(err.Error(), word) {
					t.Errorf("got %q, which says %q", err, word)
				}
			}
		})
	}
}

func TestOpenUnwritable(t *testing.T) {
	role := func(t *testing.T, url string, grants ...string) string {
		t.Helper()
		name := fmt.Sprintf("reader%d", rand.Uint32())
		testpg.Exec(t, url, `CREATE ROLE `+name+` LOGIN`)
		for _, g := range grants {
			testpg.Exec(t, url, g+` TO `+name)
		}
		t.Cleanup(func() { testpg.Exec(t, url, `DROP OWNED BY `+name, `DROP ROLE `+name) })
		return strings.Replace(url, "user=postgres", "user="+name, 1)
	}
	const granted = `GRANT SELECT ON ALL TABLES IN SCHEMA public`
	t.Run("a role that may only read", func(t *testing.T) {
		url := made(t)
		reader := role(t, url, granted)
		before := contents(t, url)
		if _, err := Open(t.Context(), reader, Config{Network: frame.Regtest}); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("got %v, want ErrDenied and why", err)
		}
		if after := contents(t, url); after != before {
			t.Errorf("the database was changed: got %s, want %s", after, before)
		}
		s, err := Open(t.Context(), reader, Config{Network: frame.Regtest, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if got := names(t, s); got != "made" {
			t.Errorf("it reads %q, want made", got)
		}
	})
	t.Run("an empty database", func(t *testing.T) {
		url := testpg.URL(t)
		testpg.Exec(t, url, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
		if _, err := Open(t.Context(), role(t, url), Config{Network: frame.Regtest}); !errors.Is(err, ErrDenied) {
			t.Errorf("got %v, want ErrDenied", err)
		}
	})
	t.Run("transactions are read-only", func(t *testing.T) {
		url := made(t)
		if _, err := Open(t.Context(), url+"&default_transaction_read_only=on", Config{Network: frame.Regtest}); !errors.Is(err, ErrDenied) {
			t.Errorf("got %v, want ErrDenied", err)
		}
	})
}

// What died while it was being made is finished.
func TestOpenFinishes(t *testing.T) {
	for _, c := range []struct {
		name       string
		statements []string
	}{
		{"before the first table", []string{`DROP SCHEMA public CASCADE`, `CREATE SCHEMA public`}},
		{"before its meaning", []string{`DELETE FROM meta`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := made(t)
			testpg.Exec(t, url, c.statements...)
			s := openAt(t, url)
			defer s.Close()
			err := s.View(t.Context(), func(v index.View) error {
				epoch, err := v.Epoch()
				if epoch == "" {
					t.Error("no epoch")
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A schema of its own makes a database hold more than one index.
func TestSchemas(t *testing.T) {
	url := testpg.URL(t)
	testpg.Exec(t, url, `CREATE SCHEMA "a b"`, `CREATE TABLE recipes (name text)`)
	s := openAt(t, url+`&search_path=%22a%20b%22`)
	defer s.Close()
	putName(t, s, "x")
	if got := ask(t, url, `SELECT count(*)::text FROM "a b".names`); got != "1" {
		t.Errorf("got %s names, want 1", got)
	}
}

func TestOneWriter(t *testing.T) {
	url := testpg.URL(t)
	s := openAt(t, url)
	defer s.Close()
	_, err := Open(t.Context(), url, Config{Network: frame.Regtest})
	if want := fmt.Sprint("process ", os.Getpid()); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) {
		t.Errorf("a second writer: got %v, want ErrLocked with %q", err, want)
	}
	brief, cancel := context.WithTimeout(t.Context(), 2*betweenTries)
	defer cancel()
	if _, err := Open(brief, url, Config{Network: frame.Regtest, Wait: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that waits till its context ends: got %v, want deadline exceeded", err)
	}
	reader, err := Open(t.Context(), url, Config{Network: frame.Regtest, ReadOnly: true})
	if err != nil {
		t.Fatalf("a reader beside the writer: %v", err)
	}
	defer reader.Close()
	putName(t, s, "before")
	if err := tryName(reader, "x"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("update of a reader: got %v, want ErrReadOnly", err)
	}
	opened := make(chan *Store)
	go func() {
		next, err := Open(t.Context(), url, Config{Network: frame.Regtest, Wait: true})
		if err != nil {
			t.Errorf("the writer that waits: %v", err)
		}
		opened <- next
	}()
	select {
	case <-opened:
		t.Fatal("two writers")
	case <-time.After(2 * betweenTries):
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := <-opened
	if next == nil {
		return
	}
	defer next.Close()
	putName(t, next, "later")
	if got := names(t, reader); got != "before later" {
		t.Errorf("the reader sees %q, want what both wrote", got)
	}
}

// Names and IPs may be longer than a key of an index; what can't be compressed
// shows it.
func TestLongTexts(t *testing.T) {
	s := openAt(t, testpg.URL(t))
	defer s.Close()
	noise := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(noise) //nolint:errcheck // it never fails
	long, other := string(noise), string(noise[:len(noise)-1])+"\x00"
	address := frame.KeyHash{7}
	record := func(protocol frame.Protocol, text string, n uint32) *index.Frame {
		r := &nprotocol.Record{Protocol: protocol, Operation: nprotocol.Register, Address: address, TimeStamp: "5", Other: long, Signatures: [][]byte{{}}}
		if protocol == frame.P {
			r.IP = text
		} else {
			r.Name = text
		}
		return &index.Frame{Output: n, Protocol: protocol, Record: r, ID: frame.IDOf([]byte{byte(n)}), Proofs: make([]frame.Proof, 1)}
	}
	valid := index.Decision{Verdict: frame.Valid, Address: &address}
	err := s.Update(t.Context(), func(tx index.Tx) error {
		b := &index.Block{Hash: frame.HashOf(nil)}
		if err := tx.PutBlock(b, [32]byte{}); err != nil {
			return err
		}
		_, err := tx.Save([]*index.Placed{{State: index.Confirmed, Decisions: []index.Decision{valid, valid, valid},
			Tx: &index.Transaction{Frames: []*index.Frame{record(frame.N, long, 0), record(frame.P, long, 1), record(frame.N, other, 2)}}}})
		return errors.Join(err, tx.PutNames([]*nprotocol.Name{{Name: long, ExpiresAt: 1}, {Name: other, ExpiresAt: 2}, {Name: other, ExpiresAt: 3}}),
			tx.PutPeers([]*nprotocol.Peer{{PeerKey: nprotocol.PeerKey{Address: address, IP: long}, ExpiresAt: 4}}))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(v index.View) error {
		for _, c := range []struct {
			name    string
			expires int64
		}{{long, 1}, {other, 3}} {
			if n, err := v.Name(c.name); err != nil || n.Name != c.name || n.ExpiresAt != c.expires {
				t.Errorf("name: got %v, want it until %d", err, c.expires)
			}
			if list, err := v.NameEntries(c.name, 9); err != nil || len(list) != 1 || list[0].Record.Name != c.name {
				t.Errorf("frames of the name: got %d, %v, want 1", len(list), err)
			}
		}
		subjects := []nprotocol.Subject{{Protocol: frame.N, Address: address, Text: long}, {Protocol: frame.P, Address: address, Text: long}, {Protocol: frame.P, Address: address, Text: other}}
		facts, err := v.Facts(index.Need{Names: []string{long}, Subjects: subjects, Peers: []nprotocol.PeerKey{{Address: address, IP: long}}})
		if err != nil {
			return err
		}
		if got := len(facts.Ledger.TimeStamps); got != 2 || facts.Ledger.TimeStamps[subjects[0]] != 5 || facts.Ledger.TimeStamps[subjects[1]] != 5 {
			t.Errorf("got %d time stamps, want 5 for the two subjects that are there", got)
		}
		if len(facts.Ledger.Names) != 1 || len(facts.Ledger.Peers) != 1 {
			t.Errorf("got %d names and %d peers, want 1 and 1", len(facts.Ledger.Names), len(facts.Ledger.Peers))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
