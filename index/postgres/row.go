package postgres

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/metaim/metaim/index/rows"
)

// A row reads the columns of a row in their order, as the server sent them. The
// first fault stops it; the methods give nothing from then on.
type row struct {
	values   [][]byte
	readable []bool // whether a column is sent as it is read here
	at       int
	err      error
}

// reset makes the row that of what rows is at. What the methods return is the
// caller's.
func (r *row) reset(rows pgx.Rows) {
	r.values, r.at, r.err = rows.RawValues(), 0, nil
	if r.readable == nil {
		r.readable = []bool{}
		for _, f := range rows.FieldDescriptions() {
			r.readable = append(r.readable, f.Format == pgtype.BinaryFormatCode || f.DataTypeOID == pgtype.TextOID)
		}
	}
}

func (r *row) next() []byte {
	if r.err != nil {
		return nil
	}
	if r.at >= len(r.values) || !r.readable[r.at] {
		r.err = errors.New("a column that isn't there, or isn't in binary")
		return nil
	}
	r.at++
	return r.values[r.at-1]
}

func (r *row) fault(column string) {
	if r.err == nil {
		r.err = &rows.CorruptError{Column: column}
	}
}

// bytes returns a column of bytes, nil when it is null.
func (r *row) bytes() []byte { return slices.Clone(r.next()) }

// text returns a column of text or bytes, empty when it is null.
func (r *row) text() string { return string(r.next()) }

// number returns a column of an integer type. It is false when the column is
// null.
func (r *row) number() (int64, bool) {
	switch b := r.next(); len(b) {
	case 0:
		return 0, false
	case 2:
		return int64(int16(binary.BigEndian.Uint16(b))), true
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b))), true
	case 8:
		return int64(binary.BigEndian.Uint64(b)), true
	}
	r.fault("a number")
	return 0, false
}

// integer returns a column that is never null.
func (r *row) integer() int64 {
	n, _ := r.number()
	return n
}

// integer4 returns a column of four bytes, integer2 one of two.
func (r *row) integer4() int32 {
	n := r.integer()
	if n < math.MinInt32 || n > math.MaxInt32 {
		r.fault("a number")
	}
	return int32(n)
}

func (r *row) integer2() int16 {
	n := r.integer()
	if n < math.MinInt16 || n > math.MaxInt16 {
		r.fault("a number")
	}
	return int16(n)
}

// height returns a column with a height, -1 when it is null.
func (r *row) height() int32 {
	n, ok := r.number()
	if !ok {
		return -1
	}
	if n < 0 || n > math.MaxInt32 {
		r.fault("height")
	}
	return int32(n)
}

// unsigned returns a column with an output or a position.
func (r *row) unsigned() uint32 {
	n := r.integer()
	if n < 0 || n > math.MaxUint32 {
		r.fault("output or position")
	}
	return uint32(n)
}

func (r *row) flag() bool {
	b := r.next()
	return len(b) == 1 && b[0] == 1
}

// fill reads a column of a fixed length. It is false when the column is null.
func (r *row) fill(dst []byte, column string) bool {
	b := r.next()
	if b == nil {
		return false
	}
	if len(b) != len(dst) {
		r.fault(column)
		return false
	}
	copy(dst, b)
	return true
}

// must reads a column of a fixed length that is never null.
func (r *row) must(dst []byte, column string) {
	if !r.fill(dst, column) {
		r.fault(column)
	}
}

// A question is a query with what is to be done with each row of the answer.
type question struct {
	query string
	args  []any
	scan  func(*row) error
}

// A put is a statement that was put off: it goes with the next question, or with
// the commit.
type put struct {
	query string
	args  []any
}

// mostPuts bounds the statements that wait.
const mostPuts = 32

// each calls scan for every row of a query.
func (v *view) each(query string, args []any, scan func(*row) error) error {
	if len(v.puts) > 0 {
		return v.ask(question{query, args, scan})
	}
	rows, err := v.q.Query(v.ctx, query, args...)
	if err != nil {
		return v.explain(err)
	}
	return v.explain(drain(rows, scan))
}

// ask puts several questions in one round trip, after what was put off.
func (v *view) ask(questions ...question) error {
	batch := &pgx.Batch{}
	puts := v.puts
	v.puts = nil
	for _, p := range puts {
		batch.Queue(p.query, p.args...)
	}
	for _, q := range questions {
		batch.Queue(q.query, q.args...)
	}
	results := v.q.SendBatch(v.ctx, batch)
	for range puts {
		if _, err := results.Exec(); err != nil {
			err = v.explain(errors.Join(err, results.Close()))
			v.failed = cmp.Or(v.failed, err)
			return err
		}
	}
	for _, q := range questions {
		rows, err := results.Query()
		if err == nil {
			err = drain(rows, q.scan)
		}
		if err != nil {
			return v.explain(errors.Join(err, results.Close()))
		}
	}
	return v.explain(results.Close())
}

// flush sends what was put off.
func (v *view) flush() error {
	if len(v.puts) == 0 {
		return nil
	}
	return v.ask()
}

func drain(rows pgx.Rows, scan func(*row) error) error {
	defer rows.Close()
	var r row
	for rows.Next() {
		r.reset(rows)
		if err := scan(&r); err != nil {
			return err
		}
		if r.err != nil {
			return r.err
		}
	}
	return rows.Err()
}

func (v *view) explain(err error) error {
	if err == nil {
		return nil
	}
	if v.q.IsClosed() {
		err = errors.Join(err, errLost)
	}
	return explain(v.ctx, "ask the index", err)
}
