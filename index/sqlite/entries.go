package sqlite

import (
	"database/sql"
	"math"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// A condition is text for WHERE with its arguments.
type condition struct {
	text string
	args []any
}

func (c *condition) and(text string, args ...any) {
	if c.text != "" {
		c.text += " AND "
	}
	c.text += text
	c.args = append(c.args, args...)
}

// A listing is an EntryQuery under way.
type listing struct {
	v     *view
	q     index.EntryQuery
	order string    // ASC or DESC
	kinds condition // on f, the same for every page: protocol, verdict, state, type
	peer  bool      // the listing is a conversation
	first map[frame.ID]int64
	sides []side
}

// A side is one of the ways in which frames concern an address. Frames of a
// transaction arrive together, so an index that ends with tx lists them by
// arrival, and a page takes what it shows and no more.
type side struct {
	from string // tables, joined
	tx   string // the column to bound and sort by
	condition
}

// Entries implements [index.View]. With a Peer, of occurrences of one message
// only the first of those between the two is listed.
func (v *view) Entries(q index.EntryQuery) ([]*index.Entry, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if q.Peer != nil && *q.Peer == *q.Address {
		return nil, nil // nobody is a recipient of what is their own
	}
	l := &listing{v: v, q: q, order: "ASC", peer: q.Peer != nil, first: map[frame.ID]int64{}}
	if q.Newest {
		l.order = "DESC"
	}
	if q.Before <= 0 {
		l.q.Before = math.MaxInt64
	}
	l.filter()
	if err := l.choose(); err != nil {
		return nil, err
	}
	arrivals, err := rows.Page(&l.q, l.take, l.shown)
	if err != nil {
		return nil, err
	}
	byArrival, err := v.entriesOf(arrivals)
	if err != nil {
		return nil, err
	}
	list := make([]*index.Entry, 0, len(arrivals))
	for _, a := range arrivals {
		list = append(list, byArrival[a])
	}
	return list, nil
}

func (l *listing) filter() {
	l.kinds.and(`f.protocol = 'im'`)
	if l.q.Refused {
		l.kinds.and(`f.verdict NOT IN ('valid', 'duplicate')`)
	} else {
		l.kinds.and(`f.verdict IN ('valid', 'duplicate')`)
	}
	states := l.q.States
	if len(states) == 0 {
		states = []index.State{index.Seen, index.Confirmed}
	}
	marks := make([]any, len(states))
	for i, s := range states {
		marks[i] = string(s)
	}
	l.kinds.and(`f.state IN (`+strings.TrimSuffix(strings.Repeat("?,", len(marks)), ",")+`)`, marks...)
	if l.q.Type != "" {
		l.kinds.and(`f.type = ?`, []byte(l.q.Type))
	}
}

// Tables of a side: by who sends, and by who is reached. CROSS JOIN keeps the
// order in which they are read.
const (
	sent     = `frames f`
	received = `parties p CROSS JOIN frames f`
)

// choose says through which indexes the listing goes.
func (l *listing) choose() error {
	if l.q.Address == nil {
		return nil
	}
	address := l.q.Address[:]
	if !l.peer {
		l.sides = []side{
			{from: sent, tx: "f.tx", condition: condition{`f.address = ?`, []any{address}}},
			{from: received, tx: "p.tx", condition: condition{`p.address = ? AND f.tx = p.tx AND f.address IS DISTINCT FROM ?`, []any{address, address}}},
		}
		return nil
	}
	for _, pair := range [][2][]byte{{address, l.q.Peer[:]}, {l.q.Peer[:], address}} {
		s, err := l.between(pair[0], pair[1])
		if err != nil {
			return err
		}
		l.sides = append(l.sides, s)
	}
	return nil
}

// between lists what one sent to the other, through the shorter of what the one
// sent and what the other received: a busy correspondent isn't read through.
func (l *listing) between(from, to []byte) (side, error) {
	const enough = 1_000
	var out, in int64
	err := l.v.one(`SELECT (SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.address = ? LIMIT ?)),
		(SELECT count(*) FROM (SELECT 1 FROM parties p WHERE p.address = ? LIMIT ?))`, []any{from, enough, to, enough}, &out, &in)
	if out <= in {
		return side{from: sent, tx: "f.tx", condition: condition{
			`f.address = ? AND EXISTS (SELECT 1 FROM parties p WHERE p.address = ? AND p.tx = f.tx)`, []any{from, to}}}, err
	}
	return side{from: received, tx: "p.tx", condition: condition{
		`p.address = ? AND f.tx = p.tx AND +f.address = ?`, []any{to, from}}}, err
}

// take reads the next candidates, each side by its index.
func (l *listing) take(n int) ([]rows.Candidate, error) {
	again := `0`
	if !l.q.Repeats && !l.q.Refused {
		again = `EXISTS (SELECT 1 FROM frames g WHERE g.frame_id = f.frame_id AND g.id < f.id)`
	}
	query := `SELECT f.tx AS tx, f.id AS id, f.frame_id AS frame_id, ` + again + ` AS again FROM `
	var args []any
	if len(l.sides) == 0 {
		where := condition{`f.id > ? AND f.id < ?`, []any{l.q.After, l.q.Before}}
		where.and(l.kinds.text, l.kinds.args...)
		query += sent + ` WHERE ` + where.text + ` ORDER BY f.id ` + l.order + ` LIMIT ?`
		args = append(where.args, n)
	} else {
		low, high, err := l.bounds()
		if err != nil {
			return nil, err
		}
		parts := make([]string, len(l.sides))
		for i, s := range l.sides {
			where := condition{s.text, append([]any{}, s.args...)}
			where.and(s.tx+` BETWEEN ? AND ? AND f.id > ? AND f.id < ?`, low, high, l.q.After, l.q.Before)
			where.and(l.kinds.text, l.kinds.args...)
			parts[i] = `SELECT * FROM (` + query + s.from + ` WHERE ` + where.text + ` ORDER BY ` + s.tx + ` ` + l.order + `, f.id ` + l.order + ` LIMIT ?)`
			args = append(append(args, where.args...), n)
		}
		query = strings.Join(parts, ` UNION ALL `) + ` ORDER BY id ` + l.order + ` LIMIT ?`
		args = append(args, n)
	}
	var list []rows.Candidate
	err := l.v.each(query, args, func(r *sql.Rows) error {
		var c rows.Candidate
		var tx int64
		var id []byte
		if err := r.Scan(&tx, &c.Arrival, &id, &c.Again); err != nil {
			return err
		}
		list = append(list, c)
		if id == nil {
			return nil
		}
		return rows.Fill(list[len(list)-1].ID[:], "frames.frame_id", id)
	})
	return list, err
}

// bounds returns the transactions between which the arrivals asked for are.
func (l *listing) bounds() (low, high int64, err error) {
	err = l.v.one(`SELECT coalesce((SELECT tx FROM frames WHERE id <= ? ORDER BY id DESC LIMIT 1), 0),
		coalesce((SELECT tx FROM frames WHERE id >= ? ORDER BY id LIMIT 1), ?)`,
		[]any{l.q.After, l.q.Before, int64(math.MaxInt64)}, &low, &high)
	return low, high, err
}

// shown tells whether a rows.Candidate is the first of the occurrences that the
// listing could show. Each message is asked about once, however many copies
// somebody made of it.
func (l *listing) shown(c rows.Candidate) (bool, error) {
	if !c.Again {
		return true, nil
	}
	first, ok := l.first[c.ID]
	if !ok {
		where := condition{`f.frame_id = ?`, []any{c.ID[:]}}
		where.and(l.kinds.text, l.kinds.args...)
		l.concerns(&where)
		if err := l.v.one(`SELECT f.id FROM frames f WHERE `+where.text+` ORDER BY f.id LIMIT 1`, where.args, &first); err != nil {
			return false, err
		}
		l.first[c.ID] = first
	}
	return first == c.Arrival, nil
}

func (l *listing) concerns(where *condition) {
	const reaches = `EXISTS (SELECT 1 FROM parties p WHERE p.address = ? AND p.tx = f.tx)`
	if l.q.Address == nil {
		return
	}
	address := l.q.Address[:]
	if !l.peer {
		where.and(`(+f.address = ? OR `+reaches+`)`, address, address)
		return
	}
	peer := l.q.Peer[:]
	where.and(`(+f.address = ? AND `+reaches+` OR +f.address = ? AND `+reaches+`)`, address, peer, peer, address)
}
