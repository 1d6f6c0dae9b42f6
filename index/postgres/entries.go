package postgres

import (
	"fmt"
	"math"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// A statement is SQL in the making, with its arguments.
type statement struct {
	strings.Builder
	args []any
}

// add appends SQL in which each ? stands for an argument.
func (s *statement) add(text string, args ...any) *statement {
	for i, part := range strings.Split(text, "?") {
		if i > 0 {
			s.args = append(s.args, args[i-1])
			fmt.Fprintf(s, "$%d", len(s.args))
		}
		s.WriteString(part)
	}
	return s
}

// A listing is an EntryQuery under way.
type listing struct {
	v     *view
	q     index.EntryQuery
	order string // ASC or DESC
	first map[frame.ID]int64
	sides []side
}

// A side is one of the ways in which frames concern an address.
type side struct {
	from string // table and condition on f, or on p and f, with a ? for each argument
	args []any
	by   string // what lists it by arrival
	tx   bool   // read by the transactions of p, which are bounded too
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
	l := &listing{v: v, q: q, order: "ASC", first: map[frame.ID]int64{}}
	if q.Newest {
		l.order = "DESC"
	}
	if q.Before <= 0 {
		l.q.Before = math.MaxInt64
	}
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

// kinds adds the conditions on f that are the same for every page.
func (l *listing) kinds(s *statement) {
	verdicts := `f.verdict IN ('valid', 'duplicate')`
	if l.q.Refused {
		verdicts = `f.verdict NOT IN ('valid', 'duplicate')`
	}
	states := []string{string(index.Seen), string(index.Confirmed)}
	if len(l.q.States) > 0 {
		states = states[:0]
		for _, state := range l.q.States {
			states = append(states, string(state))
		}
	}
	s.add(`f.protocol = 'im' AND `+verdicts+` AND f.state = ANY (?::text[])`, states)
	if l.q.Type != "" {
		s.add(` AND f.type = ?`, []byte(l.q.Type))
	}
}

// Tables of a side: by who sends, and by who is reached. OFFSET 0 keeps the
// planner from turning around the order in which they are read: each side by its
// own index, and only as far as the page needs.
const (
	sent     = `frames f WHERE f.address = ?`
	received = `parties p CROSS JOIN LATERAL (SELECT * FROM frames f WHERE f.tx = p.tx OFFSET 0) f WHERE p.address = ?`
	reaches  = `EXISTS (SELECT 1 FROM parties p WHERE p.address = ? AND p.tx = f.tx OFFSET 0)`
)

// choose says through which indexes the listing goes.
func (l *listing) choose() error {
	if l.q.Address == nil {
		l.sides = []side{{from: `frames f WHERE true`, by: "f.id"}}
		return nil
	}
	address := l.q.Address[:]
	if l.q.Peer == nil {
		l.sides = []side{
			{from: sent, args: []any{address}, by: "f.id"},
			{from: received + ` AND f.address IS DISTINCT FROM ?`, args: []any{address, address}, by: "p.tx", tx: true},
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
	less, err := l.v.one(`SELECT (SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.address = $1 LIMIT $3) x)
		- (SELECT count(*) FROM (SELECT 1 FROM parties p WHERE p.address = $2 LIMIT $3) x)`, from, to, enough)
	if less <= 0 {
		return side{from: sent + ` AND ` + reaches, args: []any{from, to}, by: "f.id"}, err
	}
	return side{from: received + ` AND f.address = ?`, args: []any{to, from}, by: "p.tx", tx: true}, err
}

// take reads the next candidates, each side by its index. Frames of a transaction
// arrive together, so what is listed by transaction is listed by arrival.
func (l *listing) take(n int) ([]rows.Candidate, error) {
	again := `false`
	if !l.q.Repeats && !l.q.Refused {
		again = `EXISTS (SELECT 1 FROM frames g WHERE g.frame_id = f.frame_id AND g.id < f.id OFFSET 0)`
	}
	s := &statement{}
	for i, side := range l.sides {
		if i > 0 {
			s.add(` UNION ALL `)
		}
		s.add(`(SELECT f.id, f.frame_id, `+again+` AS again FROM `).add(side.from, side.args...)
		if side.tx {
			s.add(` AND p.tx >= coalesce((SELECT tx FROM frames WHERE id <= ? ORDER BY id DESC LIMIT 1), 0)
				AND p.tx <= coalesce((SELECT tx FROM frames WHERE id >= ? ORDER BY id LIMIT 1), ?::bigint)`, l.q.After, l.q.Before, int64(math.MaxInt64))
		}
		s.add(` AND f.id > ? AND f.id < ? AND `, l.q.After, l.q.Before)
		l.kinds(s)
		s.add(` ORDER BY `+side.by+` `+l.order+`, f.id `+l.order+` LIMIT ?)`, n)
	}
	if len(l.sides) > 1 {
		s.add(` ORDER BY id `+l.order+` LIMIT ?`, n)
	}
	var list []rows.Candidate
	err := l.v.each(s.String(), s.args, func(r *row) error {
		c := rows.Candidate{Arrival: r.integer()}
		r.fill(c.ID[:], "frames.frame_id")
		c.Again = r.flag()
		list = append(list, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, l.firsts(list)
}

// shown tells whether a candidate is the first of the occurrences that the
// listing could show.
func (l *listing) shown(c rows.Candidate) (bool, error) {
	return !c.Again || l.first[c.ID] == c.Arrival, nil
}

// firsts finds, for candidates that are not the first of their message, the first
// that the listing could show. Each message is asked about once, however many
// copies somebody made of it.
func (l *listing) firsts(candidates []rows.Candidate) error {
	var ids []frame.ID
	for _, c := range candidates {
		if _, known := l.first[c.ID]; c.Again && !known {
			l.first[c.ID] = 0
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	s := &statement{}
	s.add(`SELECT need.id, (SELECT f.id FROM frames f WHERE f.frame_id = need.id AND `)
	l.kinds(s)
	l.concerns(s)
	s.add(` ORDER BY f.id LIMIT 1) FROM unnest(?::bytea[]) AS need (id)`, idBytes(ids))
	return l.v.each(s.String(), s.args, func(r *row) error {
		var id frame.ID
		r.must(id[:], "frames.frame_id")
		l.first[id] = r.integer()
		return nil
	})
}

func (l *listing) concerns(s *statement) {
	if l.q.Address == nil {
		return
	}
	address := l.q.Address[:]
	if l.q.Peer == nil {
		s.add(` AND (f.address = ? OR `+reaches+`)`, address, address)
		return
	}
	peer := l.q.Peer[:]
	s.add(` AND (f.address = ? AND `+reaches+` OR f.address = ? AND `+reaches+`)`, address, peer, peer, address)
}
