package sqlite

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
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

// A corruptError says that a column holds what was never written there.
type corruptError struct{ column string }

func (e *corruptError) Error() string { return "the database is damaged: column " + e.column }

// fill reads a column of a fixed length.
func fill(dst []byte, column string, b []byte) error {
	if len(b) != len(dst) {
		return &corruptError{column}
	}
	copy(dst, b)
	return nil
}

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

// nullable keeps nil apart from no bytes.
func nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func nullableAddress(h *frame.KeyHash) any {
	if h == nil {
		return nil
	}
	return h[:]
}

func nullableHeight(height int32) any {
	if height < 0 {
		return nil
	}
	return int64(height)
}

// sortable maps time stamps to integers of the same order.
func sortable(timeStamp uint64) int64 { return int64(timeStamp ^ 1<<63) }

func unsortable(n int64) uint64 { return uint64(n) ^ 1<<63 }

func packOutputs(outputs []frame.KeyHash) []byte {
	b := make([]byte, 0, len(outputs)*len(frame.KeyHash{}))
	for _, h := range outputs {
		b = append(b, h[:]...)
	}
	return b
}

func unpackOutputs(b []byte) ([]frame.KeyHash, error) {
	const size = len(frame.KeyHash{})
	if len(b)%size != 0 {
		return nil, &corruptError{"outputs"}
	}
	var outputs []frame.KeyHash
	if len(b) > 0 {
		outputs = make([]frame.KeyHash, 0, len(b)/size)
	}
	for h := range slices.Chunk(b, size) {
		outputs = append(outputs, frame.KeyHash(h))
	}
	return outputs, nil
}

func packKeys(keys [][]byte) ([]byte, error) {
	b := []byte{}
	for _, key := range keys {
		if len(key) == 0 || len(key) > 255 {
			return nil, fmt.Errorf("a public key of %d bytes", len(key))
		}
		b = append(append(b, byte(len(key))), key...)
	}
	return b, nil
}

func unpackKeys(b []byte) ([][]byte, error) {
	var keys [][]byte
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || n > len(b)-1 {
			return nil, &corruptError{"input_keys"}
		}
		keys = append(keys, b[1:1+n:1+n])
		b = b[1+n:]
	}
	return keys, nil
}

const outpointSize = 36

func packSpends(spends []index.Outpoint) []byte {
	b := make([]byte, 0, len(spends)*outpointSize)
	for _, o := range spends {
		b = binary.LittleEndian.AppendUint32(append(b, o.TxID[:]...), o.Output)
	}
	return b
}

func unpackSpends(b []byte) ([]index.Outpoint, error) {
	if len(b)%outpointSize != 0 {
		return nil, &corruptError{"spends"}
	}
	var spends []index.Outpoint
	if len(b) > 0 {
		spends = make([]index.Outpoint, 0, len(b)/outpointSize)
	}
	for o := range slices.Chunk(b, outpointSize) {
		spends = append(spends, index.Outpoint{TxID: frame.Hash(o[:32]), Output: binary.LittleEndian.Uint32(o[32:])})
	}
	return spends, nil
}
