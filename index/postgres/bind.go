package postgres

import (
	"fmt"
	"strings"

	"github.com/metaim/metaim/index/rows"
)

// A table is what is inserted into, and how.
type table struct {
	name     string
	columns  []string
	types    []string // of the columns: bytea, bigint, integer, smallint, text or boolean
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
	framesTable = columnsOf("frames", "", "id bigint", "tx_key bigint", "frame_key bigint", "content_key bigint", "time_order bigint",
		"address_key bigint", "to_key bigint", "name_key bigint", "height integer", "place integer", "kind integer", "verdict smallint",
		"decided bytea", "data bytea", "body bytea")
	partiesTable = columnsOf("parties", "", "key bigint", "lead bigint", "frames bigint")
	formerTable  = columnsOf("former_sources", "ON CONFLICT (address, frame) DO NOTHING", "address bytea", "frame bigint")
	touchedTable = columnsOf("touched", "", "key bigint", "lead bigint")
	spendsTable  = columnsOf("spends", "", "key bigint", "lead bigint")
	renamedTable = columnsOf("renamed", "ON CONFLICT (key, frame) DO NOTHING", "key bigint", "frame bigint")
	namesTable   = columnsOf("names", `ON CONFLICT (sha256(name)) DO UPDATE SET address = excluded.address, since_height = excluded.since_height,
			since_position = excluded.since_position, since_output = excluded.since_output,
			registered_at = excluded.registered_at, expires_at = excluded.expires_at, deleted = excluded.deleted`,
		"name bytea", "address bytea", "since_height integer", "since_position bigint", "since_output bigint",
		"registered_at bigint", "expires_at bigint", "deleted boolean")
	peersTable = columnsOf("peers", `ON CONFLICT (address, sha256(ip)) DO UPDATE SET registered_at = excluded.registered_at,
			expires_at = excluded.expires_at, deleted = excluded.deleted`,
		"address bytea", "ip bytea", "registered_at bigint", "expires_at bigint", "deleted boolean")
	verdictsTable = columnsOf("verdicts", "ON CONFLICT (verdict) DO NOTHING", "verdict text", "frames bigint")
	eventsTable   = columnsOf("events", "", "last bigint", "frame bigint", "count integer", "height integer", "kind smallint",
		"verdict smallint", "from_verdict smallint", "reason smallint", "block bytea")
)

// Arrays are cut at about this many bytes: a message to the server has 1 GB at
// most.
const arrayBytes = 4 << 20

// insert writes the rows that bind makes of the items, a few of them.
func insert[T any](t *tx, to table, items []T, bind func(T) []any) error {
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
				switch value := value.(type) {
				case []byte:
					size += len(value)
				case string:
					size += len(value)
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

// A column is a column of rows. Its values are of one kind, and never null.
type column struct {
	bytes   [][]byte
	numbers []int64
	texts   []string
	flags   []bool
}

func (c *column) append(value any) {
	switch value := value.(type) {
	case []byte:
		c.bytes = append(c.bytes, value)
	case int64:
		c.numbers = append(c.numbers, value)
	case string:
		c.texts = append(c.texts, value)
	case bool:
		c.flags = append(c.flags, value)
	}
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

func bindFrame(r rows.Row) []any {
	return []any{r.Arrival, r.TxKey, r.FrameKey, r.ContentKey, r.TimeOrder, r.AddressKey, r.ToKey, r.NameKey,
		int64(r.Height), int64(r.Place), int64(r.Kind), int64(r.Verdict), r.Decided, r.Data, r.Body}
}

func bindParty(p rows.Party) []any { return []any{p.Key, p.Lead, p.Frames} }

func bindRun(r rows.Run) []any {
	return []any{r.Last, r.Frame, int64(r.Count), int64(r.Height), int64(r.Kind), int64(r.Verdict), int64(r.From), int64(r.Reason), r.Block}
}
