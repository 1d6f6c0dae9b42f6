package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// A table is what is inserted into, and how.
type table struct {
	name     string
	columns  []string
	types    []string // of the columns: bytea, bigint, integer, text or boolean
	conflict string   // ON CONFLICT ..., or ""
}

// columnsOf makes a table of "column type" pairs.
func columnsOf(name, conflict string, columns ...string) table {
	t := table{name: name, conflict: conflict}
	for _, c := range columns {
		column, kind, _ := strings.Cut(c, " ")
		t.columns, t.types = append(t.columns, column), append(t.types, kind)
	}
	return t
}

var (
	txsTable = columnsOf("txs", "", "id bigint", "txid bytea", "state text", "height integer", "position bigint",
		"coinbase boolean", "outputs bytea", "input_keys bytea", "spends bytea")
	partiesTable = columnsOf("parties", "", "address bytea", "tx bigint")
	framesTable  = columnsOf("frames", "", "id bigint", "tx bigint", "output bigint", "state text", "height integer", "position bigint",
		"verdict text", "protocol text", "operation text", "malformed bytea", "frame_id bytea", "content_id bytea", "address bytea",
		"source bytea", "type bytea", "encryption bytea", "name bytea", "ip bytea", "holder bytea", "new_address bytea", "other bytea",
		"time_stamp bytea", "time_order bigint", "signature bytea", "signature2 bytea", "proved_key bytea", "proved_key2 bytea",
		"signed_key bytea", "signed_key2 bytea", "needs_body boolean", "body bytea")
	formerTable = columnsOf("former_sources", "ON CONFLICT (address, frame) DO NOTHING", "address bytea", "frame bigint")
	namesTable  = columnsOf("names", `ON CONFLICT (sha256(name)) DO UPDATE SET address = excluded.address, since_height = excluded.since_height,
			since_position = excluded.since_position, since_output = excluded.since_output,
			registered_at = excluded.registered_at, expires_at = excluded.expires_at, deleted = excluded.deleted`,
		"name bytea", "address bytea", "since_height integer", "since_position bigint", "since_output bigint",
		"registered_at bigint", "expires_at bigint", "deleted boolean")
	peersTable = columnsOf("peers", `ON CONFLICT (address, sha256(ip)) DO UPDATE SET registered_at = excluded.registered_at,
			expires_at = excluded.expires_at, deleted = excluded.deleted`,
		"address bytea", "ip bytea", "registered_at bigint", "expires_at bigint", "deleted boolean")
	verdictsTable = columnsOf("verdicts", "ON CONFLICT (verdict) DO NOTHING", "verdict text", "frames bigint")
	eventsTable   = columnsOf("events", "", "seq bigint", "kind text", "frame bigint", "height integer", "block bytea",
		"verdict text", "from_verdict text", "reason text")
)

const (
	// As many rows or more are copied: it costs a round trip more than a statement
	// and less for each row.
	manyRows = 500
	// Arrays are cut at about this many bytes: a message to the server has 1 GB
	// at most.
	arrayBytes = 16 << 20
)

// insert writes the rows that bind makes of the items.
func insert[T any](t *tx, to table, items []T, bind func(T) []any) error {
	if len(items) >= manyRows && to.conflict == "" {
		_, err := t.q.CopyFrom(t.ctx, pgx.Identifier{to.name}, to.columns, pgx.CopyFromSlice(len(items), func(i int) ([]any, error) { return bind(items[i]), nil }))
		return t.explain(err)
	}
	statement := fmt.Sprintf(`INSERT INTO %s (%s) SELECT * FROM unnest(%s) %s`, to.name, strings.Join(to.columns, ", "), parameters(to.types), to.conflict)
	return inArrays(to.types, items, bind, func(arrays []any) error { return t.exec(statement, arrays...) })
}

// update runs a statement for the rows that bind makes; %s stands for them, as
// arguments of unnest.
func update[T any](t *tx, statement string, types []string, items []T, bind func(T) []any) error {
	statement = fmt.Sprintf(statement, parameters(types))
	return inArrays(types, items, bind, func(arrays []any) error { return t.exec(statement, arrays...) })
}

// parameters writes $1::bigint[], $2::text[].
func parameters(types []string) string {
	list := make([]string, len(types))
	for i, kind := range types {
		list[i] = fmt.Sprintf("$%d::%s[]", i+1, kind)
	}
	return strings.Join(list, ", ")
}

// inArrays calls run with the columns of some of the rows at a time.
func inArrays[T any](types []string, items []T, bind func(T) []any, run func(arrays []any) error) error {
	for len(items) > 0 {
		columns := make([]column, len(types))
		for size := 0; len(items) > 0 && size < arrayBytes; items = items[1:] {
			for i, value := range bind(items[0]) {
				columns[i].append(value)
				if b, ok := value.([]byte); ok {
					size += len(b)
				}
			}
		}
		arrays := make([]any, len(columns))
		for i, kind := range types {
			arrays[i] = columns[i].array(kind)
		}
		if err := run(arrays); err != nil {
			return err
		}
	}
	return nil
}

// A column is a column of rows. Its values are of one kind, or null.
type column struct {
	bytes   [][]byte
	numbers []pgtype.Int8
	texts   []string
	flags   []bool
}

func (c *column) append(value any) {
	b, _ := value.([]byte)
	n, isNumber := value.(int64)
	s, _ := value.(string)
	f, _ := value.(bool)
	c.bytes, c.numbers = append(c.bytes, b), append(c.numbers, pgtype.Int8{Int64: n, Valid: isNumber})
	c.texts, c.flags = append(c.texts, s), append(c.flags, f)
}

func (c *column) array(kind string) any {
	switch kind {
	case "bytea":
		return c.bytes
	case "text":
		return c.texts
	case "boolean":
		return c.flags
	}
	return c.numbers
}

// fields are the columns of a frame that its kind decides; nil where it has none.
type fields struct {
	malformed, id, content, source, kind, encryption, name, ip, holder, newAddress any
	other, timeStamp, timeOrder, signature, signature2, proved, proved2, body      any
	needsBody                                                                      bool
}

func bindFrame(n rows.Frame) []any {
	v := fieldsOf(n.Frame)
	p, d := n.Placed, n.Decision
	key, key2 := rows.SignedKeys(d)
	return []any{n.Arrival, n.Tx, int64(n.Frame.Output), string(p.State), rows.NullableHeight(p.Height), rows.Position(p),
		string(d.Verdict), string(n.Frame.Protocol), n.Frame.Operation(), v.malformed, v.id, v.content,
		rows.NullableAddress(d.Address), v.source, v.kind, v.encryption, v.name, v.ip, v.holder, v.newAddress, v.other,
		v.timeStamp, v.timeOrder, v.signature, v.signature2, v.proved, v.proved2, key, key2, v.needsBody, v.body}
}

func fieldsOf(f *index.Frame) (v fields) {
	if f.Malformed != "" {
		v.malformed = []byte(f.Malformed)
		return v
	}
	v.id, v.timeStamp, v.timeOrder = f.ID[:], []byte(f.TimeStamp()), rows.TimeOrder(f)
	v.proved = rows.Nullable(f.Proofs[0].Key)
	if m := f.Message; m != nil {
		v.content, v.source, v.kind, v.encryption = f.ContentID[:], []byte(m.Source), []byte(m.Type), []byte(m.Encryption)
		v.other, v.signature, v.body = []byte(m.Other), rows.Present(m.Signature), rows.Present(m.Body)
		v.needsBody = rows.NeedsBody(f)
		return v
	}
	r := f.Record
	if r.Protocol == frame.P {
		v.ip = []byte(r.IP)
	} else {
		v.name = []byte(r.Name)
	}
	v.holder, v.other, v.signature = r.Address[:], []byte(r.Other), rows.Present(r.Signatures[0])
	if r.Operation == nprotocol.Transfer {
		v.newAddress, v.signature2, v.proved2 = r.NewAddress[:], rows.Present(r.Signatures[1]), rows.Nullable(f.Proofs[1].Key)
	}
	return v
}
