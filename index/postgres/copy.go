package postgres

import (
	"encoding/binary"
	"io"
	"strings"

	"github.com/metaim/metaim/index/rows"
)

// As many rows or more are copied: it costs a round trip more than a statement
// and less for each row.
const manyRows = 32

// Rows of more bytes than this are copied however few they are: a copy is read
// by the server as it is made.
const muchData = 1 << 20

// A copier is rows on their way to the server in the binary form of COPY. Each is
// made when the one before has gone: of all of them there is never more in memory
// than the driver sends at once.
type copier struct {
	rows   int
	append func(b []byte, row int) []byte // adds one
	next   int
	buffer []byte
	sent   int // of the buffer
}

const copyChunk = 64 << 10

// Every binary copy begins with this: a signature, no flags, no further header.
const copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// Read implements [io.Reader].
func (c *copier) Read(p []byte) (int, error) {
	if c.sent == len(c.buffer) {
		if c.next > c.rows {
			return 0, io.EOF
		}
		c.fill()
	}
	n := copy(p, c.buffer[c.sent:])
	c.sent += n
	return n, nil
}

func (c *copier) fill() {
	c.buffer, c.sent = c.buffer[:0], 0
	if c.next == 0 {
		c.buffer = append(c.buffer, copyHeader...)
	}
	for c.next < c.rows && len(c.buffer) < copyChunk {
		c.buffer = c.append(c.buffer, c.next)
		c.next++
	}
	if c.next == c.rows {
		c.buffer = binary.BigEndian.AppendUint16(c.buffer, 0xffff) // the end
		c.next++
	}
}

// copyIn copies rows into a table: append adds one to the bytes. What was put off
// goes before.
func (t *tx) copyIn(to table, rows int, append func(b []byte, row int) []byte) error {
	if err := t.flush(); err != nil {
		return err
	}
	c := &copier{rows: rows, append: append, buffer: make([]byte, 0, 2*copyChunk)}
	_, err := t.q.PgConn().CopyFrom(t.ctx, c, `COPY `+to.name+` (`+strings.Join(to.columns, ", ")+`) FROM STDIN BINARY`)
	return t.explain(err)
}

func appendBigint(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), uint64(n))
}

func appendInteger(b []byte, n int32) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0, 0, 0, 4), uint32(n))
}

func appendSmallint(b []byte, n int16) []byte {
	return binary.BigEndian.AppendUint16(append(b, 0, 0, 0, 2), uint16(n))
}

func appendBytea(b, value []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(value))), value...)
}

func fieldsOf(b []byte, to *table) []byte {
	return binary.BigEndian.AppendUint16(b, uint16(len(to.columns)))
}

func appendFrame(b []byte, r *rows.Row) []byte {
	b = fieldsOf(b, &framesTable)
	for _, n := range [...]int64{r.Arrival, r.TxKey, r.FrameKey, r.ContentKey, r.TimeOrder, r.AddressKey, r.ToKey, r.NameKey} {
		b = appendBigint(b, n)
	}
	for _, n := range [...]int32{r.Height, r.Place, r.Kind} {
		b = appendInteger(b, n)
	}
	b = appendSmallint(b, r.Verdict)
	return appendBytea(appendBytea(appendBytea(b, r.Decided), r.Data), r.Body)
}

func appendParty(b []byte, p *rows.Party) []byte {
	return appendBigint(appendBigint(appendBigint(fieldsOf(b, &partiesTable), p.Key), p.Lead), p.Frames)
}

func appendLink(b []byte, to *table, l *rows.Link) []byte {
	return appendBigint(appendBigint(fieldsOf(b, to), l.Key), l.Arrival)
}

func appendRun(b []byte, r *rows.Run) []byte {
	b = appendBigint(appendBigint(fieldsOf(b, &eventsTable), r.Last), r.Frame)
	b = appendInteger(appendInteger(b, r.Count), r.Height)
	for _, n := range [...]int16{r.Kind, r.Verdict, r.From, r.Reason} {
		b = appendSmallint(b, n)
	}
	return appendBytea(b, r.Block)
}
