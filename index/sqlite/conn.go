package sqlite

import (
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/metaim/metaim/index"
)

const busyTimeout = 10 * time.Second

// A conn is a connection with the statements it has compiled, which stay for its
// life. One goroutine uses it at a time.
type conn struct {
	db         *sqlite.Conn
	statements map[string]*statement
	compiled   int
	held       *sqlite.Stmt
	bodies     int64 // of the writer: bytes of bodies saved since the words of some were indexed
}

// A statement is busy while its rows are read: who asks the same question in the
// middle of that gets another of the same text.
type statement struct {
	*sqlite.Stmt
	busy bool
	more *statement
}

// mostStatements bounds the statements of a connection. Listings have some
// hundred texts, a few of which are used.
const mostStatements = 200

// connect opens a file and runs statements that set the connection up.
func connect(path string, flags sqlite.OpenFlags, setup ...string) (*conn, error) {
	db, err := sqlite.OpenConn(path, flags|sqlite.OpenPrivateCache)
	if err != nil {
		return nil, err
	}
	db.SetBusyTimeout(busyTimeout)
	c := &conn{db: db, statements: map[string]*statement{}}
	for _, pragma := range append(setup, `PRAGMA temp_store = 2`) {
		if err := c.run(pragma); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// hold keeps memory that SQLite asks for, and gives back, each time it splits a
// page: the allocator returns the last block of a size to the system and asks for
// it again, which costs more than the rest. A statement that is never run holds a
// block of each size.
func (c *conn) hold() (err error) {
	if c.held, _, err = c.db.PrepareTransient(`SELECT ?, ?`); err == nil {
		c.held.BindBytes(1, make([]byte, 8_000))
		c.held.BindBytes(2, make([]byte, 16_000))
	}
	return err
}

func (c *conn) close() error {
	if c.held != nil {
		_ = c.held.Finalize()
	}
	c.forget()
	return c.db.Close()
}

// rollback ends a transaction. Also statements that were left in the middle, by a
// panic, hold its snapshot: they are ended first.
func (c *conn) rollback() error {
	for _, s := range c.statements {
		for ; s != nil; s = s.more {
			if s.busy {
				c.give(s)
			}
		}
	}
	if c.db.AutocommitEnabled() {
		return nil // SQLite has rolled back by itself, on a full disk
	}
	return c.run(`ROLLBACK`)
}

// take returns a statement with nothing bound, for give to take back.
//
// In statements a parameter doesn't stand alone after LIMIT, nor where it is compared
// with a column that is compared with a constant in the condition of an index: SQLite
// would take its value into account, and compile the statement anew for the next one.
// A sum with 0 is no such parameter.
func (c *conn) take(query string) (*statement, error) {
	for s := c.statements[query]; s != nil; s = s.more {
		if !s.busy {
			s.busy = true
			return s, nil
		}
	}
	prepare := c.db.Prepare
	if c.statements[query] != nil { // Prepare would give the same again
		prepare = func(query string) (*sqlite.Stmt, error) {
			s, _, err := c.db.PrepareTransient(query)
			return s, err
		}
	}
	stmt, err := prepare(query)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, query)
	}
	if c.compiled >= mostStatements {
		c.forget()
	}
	s := &statement{stmt, true, c.statements[query]}
	c.statements[query] = s
	c.compiled++
	return s, nil
}

// forget drops the statements that nobody uses.
func (c *conn) forget() {
	for query, s := range c.statements {
		var busy *statement
		for s != nil {
			next := s.more
			if s.busy {
				s.more, busy = busy, s
			} else {
				_ = s.Finalize() // repeats the error of its last step
				c.compiled--
			}
			s = next
		}
		if busy == nil {
			delete(c.statements, query)
		} else {
			c.statements[query] = busy
		}
	}
}

// give takes a statement back. What its last step failed with was told then.
func (c *conn) give(s *statement) {
	_ = s.Reset()
	s.busy = false
}

// A value is an argument of a statement: a number, or bytes.
type value struct {
	number int64
	bytes  []byte
	blob   bool
}

func number(n int64) value { return value{number: n} }

func blob(b []byte) value { return value{bytes: b, blob: true} }

func text(s string) value { return value{bytes: []byte(s), blob: true} }

func (s *statement) bind(args []value) {
	for i := range args {
		if a := &args[i]; a.blob {
			s.BindBytes(i+1, a.bytes)
		} else {
			s.BindInt64(i+1, a.number)
		}
	}
}

// read returns a copy of a column's bytes; of none it isn't nil.
func (s *statement) read(column int) []byte {
	b := make([]byte, s.ColumnLen(column))
	s.ColumnBytes(column, b)
	return b
}

// each calls scan for every row of a query.
func (c *conn) each(query string, scan func(*statement) error, args ...value) error {
	s, err := c.take(query)
	if err != nil {
		return err
	}
	defer c.give(s)
	s.bind(args)
	for {
		there, err := s.Step()
		if err != nil || !there {
			return err
		}
		if err := scan(s); err != nil {
			return err
		}
	}
}

// errEnough ends each before its end.
var errEnough = errors.New("enough")

// first calls scan for the first row of a query, or fails with index.ErrNotFound.
func (c *conn) first(query string, scan func(*statement) error, args ...value) error {
	s, err := c.take(query)
	if err != nil {
		return err
	}
	defer c.give(s)
	s.bind(args)
	there, err := s.Step()
	switch {
	case err != nil:
		return err
	case !there:
		return index.ErrNotFound
	}
	return scan(s)
}

// number returns the only column of a query's first row.
func (c *conn) number(query string, args ...value) (n int64, err error) {
	err = c.first(query, func(s *statement) error { n = s.ColumnInt64(0); return nil }, args...)
	return n, err
}

// run runs a statement without answer.
func (c *conn) run(query string, args ...value) error {
	return c.each(query, func(*statement) error { return nil }, args...)
}

// write runs a statement for each of the items.
func write[T any](c *conn, query string, items []T, bind func(*statement, *T)) error {
	if len(items) == 0 {
		return nil
	}
	s, err := c.take(query)
	if err != nil {
		return err
	}
	defer c.give(s)
	for i := range items {
		bind(s, &items[i])
		if _, err := s.Step(); err != nil {
			return err
		}
		if err := s.Reset(); err != nil {
			return err
		}
	}
	return nil
}
