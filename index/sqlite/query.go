package sqlite

import (
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// The driver compiles a statement each time, and for each parameter looks
// through all before it: about this many in one statement cost the least for
// each row. Statements that write narrow rows are quick to compile, so fewer.
const parameters = 256

func writeParameters(columns int) int { return min(parameters, 96+8*columns) }

// values writes (?,?),(?,?): rows of parameters.
func values(rows, columns int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	return strings.TrimSuffix(strings.Repeat(row+",", rows), ",")
}

// inChunks calls run for some of the items at a time, as rows of parameters: the
// text for VALUES and the arguments.
func inChunks[T any](items []T, columns int, bind func(args []any, item T) []any, run func(rows string, args []any) error) error {
	return chunks(items, columns, parameters, bind, run)
}

func chunks[T any](items []T, columns, most int, bind func(args []any, item T) []any, run func(rows string, args []any) error) error {
	for chunk := range slices.Chunk(items, max(1, most/columns)) {
		args := make([]any, 0, len(chunk)*columns)
		for _, item := range chunk {
			args = bind(args, item)
		}
		if err := run(values(len(chunk), columns), args); err != nil {
			return err
		}
	}
	return nil
}

func bindID(args []any, id frame.ID) []any { return append(args, id[:]) }

func bindHash(args []any, h frame.Hash) []any { return append(args, h[:]) }

func bindAddress(args []any, h frame.KeyHash) []any { return append(args, h[:]) }

func bindNumber(args []any, n int64) []any { return append(args, n) }

func bindText(args []any, s string) []any { return append(args, []byte(s)) }

// each calls scan for every row of a query.
func (v *view) each(query string, args []any, scan func(*sql.Rows) error) (err error) {
	rows, err := v.q.QueryContext(v.ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// one scans the only row of a query, or fails with index.ErrNotFound.
func (v *view) one(query string, args []any, dest ...any) error {
	err := v.q.QueryRowContext(v.ctx, query, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return index.ErrNotFound
	}
	return err
}
