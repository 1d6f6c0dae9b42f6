package sqlite

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// The verdicts that count and the others; two indexes have the conditions.
const (
	isCounted = `f.address_key <> 0 AND f.verdict IN (7, 11)`
	isRefused = `f.address_key <> 0 AND f.verdict NOT IN (7, 11)`
)

// A listing is an EntryQuery under way. Sides give rows that may belong to it;
// what a key can't tell is looked at in the rows.
type listing struct {
	v     *view
	q     index.EntryQuery
	kinds string                       // condition on f, the same for every side: protocol, verdict, state, type
	sides []side                       // none of them: all frames
	txs   map[int64]*index.Transaction // by lead, of transactions met
	first map[frame.ID]int64           // of messages that came more than once
}

// A side is one of the ways in which frames concern an address, through the
// index which lists them by arrival: a page takes what it shows and no more.
type side struct {
	from, where string // tables, joined, and a condition
	id          string // what tells a frame's id in the first table, where that isn't f.id
	bounds      string // of the id, where they aren't those of the query
	parties     bool   // from parties p
	args        []value
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
	if q.Before <= 0 {
		q.Before = math.MaxInt64
	}
	l := &listing{v: v, q: q, txs: map[int64]*index.Transaction{}}
	l.filter()
	if err := l.choose(); err != nil {
		return nil, err
	}
	list := make([]*index.Entry, 0, min(q.Limit, 128))
	err := l.merge(func(f *rows.Found) error {
		ok, err := l.shown(f)
		if err != nil || !ok {
			return err
		}
		if list = append(list, f.Entry); len(list) == q.Limit {
			return errEnough
		}
		return nil
	})
	if err != nil && err != errEnough {
		return nil, err
	}
	for _, e := range list {
		if err := v.place(e); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// filter writes the condition with its numbers: the verdicts and states are a
// few, and so are the statements.
func (l *listing) filter() {
	verdicts := `f.verdict IN (7, 11)`
	if l.q.Refused {
		verdicts = `f.verdict NOT IN (7, 11)`
	}
	l.kinds = `f.kind & 3 = 0 AND ` + verdicts
	states := l.q.States
	if len(states) == 0 {
		states = []index.State{index.Seen, index.Confirmed}
	}
	var or []string
	for _, s := range []struct {
		state index.State
		text  string
	}{{index.Confirmed, `f.height >= 0`}, {index.Seen, `f.height = -1`}, {index.Dropped, `f.height = -2`}} {
		if slices.Contains(states, s.state) {
			or = append(or, s.text)
		}
	}
	if len(or) == 0 {
		or = []string{`0`}
	}
	l.kinds += ` AND +(` + strings.Join(or, ` OR `) + `)`
	if l.q.Type != "" {
		l.kinds += ` AND f.kind & 16776960 = ?4` // rows.TypeMask
	}
}

// sent lists what an address sent, of the verdicts asked for.
func (l *listing) sent(h frame.KeyHash) side {
	where := `f.address_key = ?3 AND ` + isCounted
	if l.q.Refused {
		where = `f.address_key = ?3 AND ` + isRefused
	}
	return side{from: `frames f`, where: where, args: []value{number(rows.AddressKey(h))}}
}

// reached lists what reaches an address first, and what reaches it beside others.
func (l *listing) reached(h frame.KeyHash) []side {
	key := []value{number(rows.AddressKey(h))}
	return []side{
		{from: `frames f`, where: `f.to_key = ?3 AND f.to_key <> 0`, args: key},
		{from: `parties p CROSS JOIN frames f`, where: `p.key = ?3`, parties: true, args: key},
	}
}

// choose says through which indexes the listing goes.
func (l *listing) choose() error {
	switch {
	case len(l.q.Words) > 0:
		return l.searchSides()
	case l.q.Address == nil:
		l.sides = []side{{from: `frames f`, where: `1`, args: []value{number(0)}}}
	case l.q.Peer == nil:
		l.sides = append(l.reached(*l.q.Address), l.sent(*l.q.Address))
	default:
		for _, pair := range [][2]frame.KeyHash{{*l.q.Address, *l.q.Peer}, {*l.q.Peer, *l.q.Address}} {
			sides, err := l.between(pair[0], pair[1])
			if err != nil {
				return err
			}
			l.sides = append(l.sides, sides...)
		}
	}
	return nil
}

// between lists what one sent to the other, through the shorter of what the one
// sent and what the other received: a busy correspondent isn't read through.
func (l *listing) between(from, to frame.KeyHash) ([]side, error) {
	const enough = 1_000
	out := l.sent(from)
	sender, receiver := rows.AddressKey(from), rows.AddressKey(to)
	sent, err := l.v.number(`SELECT count(*) FROM (SELECT 1 FROM frames f WHERE `+strings.Replace(out.where, `?3`, `?1`, 1)+` LIMIT ?2 + 0)`, number(sender), number(enough))
	if err != nil {
		return nil, err
	}
	received, err := l.v.number(`SELECT (SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.to_key = ?1 AND f.to_key <> 0 LIMIT ?2 + 0))
		+ (SELECT count(*) FROM (SELECT 1 FROM parties p WHERE p.key = ?1 LIMIT ?2 + 0))`, number(receiver), number(enough))
	if err != nil {
		return nil, err
	}
	if sent <= received {
		// Of the parties of one key those before a frame end before it, but the last.
		out.where += ` AND (+f.to_key = ?5 OR (SELECT p.lead + p.frames FROM parties p WHERE p.key = ?5 AND p.lead <= f.id ORDER BY p.lead DESC LIMIT 1) > f.id)`
		out.args = append(out.args, number(receiver))
		return []side{out}, nil
	}
	in := l.reached(to)
	for i := range in {
		in[i].where += ` AND +f.address_key = ?5`
		in[i].args = append(in[i].args, number(sender))
	}
	return in, nil
}

// statement returns the question of a side: 1 and 2 are the bounds, 3 the key, 4
// the type, 5 the other key.
func (l *listing) statement(s *side) string {
	bounds, order := `f.id > ?1 AND f.id < ?2`, `f.id`
	if s.id != "" {
		bounds, order = s.id+` > ?1 AND `+s.id+` < ?2`, s.id
	}
	if s.bounds != "" {
		bounds = s.bounds
	}
	if s.parties {
		// The frames after a bound may be of a transaction that begins before it.
		bounds = `p.lead >= coalesce((SELECT max(b.lead) FROM parties b WHERE b.key = ?3 AND b.lead <= ?1), ?1) AND p.lead < ?2
			AND f.id >= p.lead AND f.id < p.lead + p.frames AND ` + bounds
		order = `p.lead, f.id`
	}
	if l.q.Newest {
		order = strings.ReplaceAll(order, `,`, ` DESC,`) + ` DESC`
	}
	return `SELECT ` + rowColumns + `f.body FROM ` + s.from + ` WHERE ` + s.where + ` AND ` + bounds + ` AND ` + l.kinds + ` ORDER BY ` + order
}

// A cursor is a side being read: it stands on a row.
type cursor struct {
	*statement
	id int64
}

// merge calls yield with the frames of all sides in the order of the listing,
// each once, until it fails.
func (l *listing) merge(yield func(*rows.Found) error) (err error) {
	var open []*cursor
	defer func() {
		for _, c := range open {
			l.v.give(c.statement)
		}
	}()
	for i := range l.sides {
		c, err := l.open(&l.sides[i])
		if err != nil {
			return err
		}
		open = append(open, c)
	}
	last := int64(0)
	for {
		next := l.next(open)
		if next == nil {
			return nil
		}
		if next.id != last { // two sides may have it
			last = next.id
			f, err := next.found()
			if err != nil {
				return err
			}
			if err := yield(f); err != nil {
				return err
			}
		}
		if err := next.step(); err != nil {
			return err
		}
	}
}

func (l *listing) open(s *side) (*cursor, error) {
	stmt, err := l.v.take(l.statement(s))
	if err != nil {
		return nil, err
	}
	c := &cursor{statement: stmt}
	args := [5]value{number(l.q.After), number(l.q.Before), s.args[0], number(int64(rows.TypeBits(l.q.Type)))}
	if len(s.args) > 1 {
		args[4] = s.args[1]
	}
	c.bind(args[:stmt.BindParamCount()])
	if err := c.step(); err != nil {
		l.v.give(stmt)
		return nil, err
	}
	return c, nil
}

// step goes to the next row; after the last id is 0.
func (c *cursor) step() error {
	c.id = 0
	there, err := c.Step()
	if there {
		c.id = c.ColumnInt64(0)
	}
	return err
}

// next returns the cursor whose row comes first, and nil when none has one.
func (l *listing) next(open []*cursor) (next *cursor) {
	for _, c := range open {
		if c.id != 0 && (next == nil || l.q.Newest && c.id > next.id || !l.q.Newest && c.id < next.id) {
			next = c
		}
	}
	return next
}

// shown tells whether a frame belongs to the listing: also when another of its id
// could, it has arrived first.
func (l *listing) shown(f *rows.Found) (bool, error) {
	ok, err := l.belongs(f)
	if err != nil || !ok || !f.Again || l.q.Repeats || l.q.Refused {
		return ok, err
	}
	first, err := l.firstOf(f.ID)
	return first == f.Arrival, err
}

// belongs tells whether a frame of a kind asked for does, and joins it to its
// transaction.
func (l *listing) belongs(f *rows.Found) (bool, error) {
	if l.q.Type != "" && (f.Message == nil || f.Message.Type != l.q.Type) || len(l.q.Words) > 0 && !index.HasWords(f.Message, l.q.Words) {
		return false, nil
	}
	if err := l.join(f); err != nil {
		return false, err
	}
	switch e := f.Entry; {
	case l.q.Address == nil:
		return true, nil
	case l.q.Peer == nil:
		return rows.Concerned(e, *l.q.Address), nil
	default:
		return rows.Sent(e, *l.q.Address) && rows.Received(e, *l.q.Peer) || rows.Sent(e, *l.q.Peer) && rows.Received(e, *l.q.Address), nil
	}
}

func (l *listing) join(f *rows.Found) error {
	if f.Tx == nil {
		if f.Tx = l.txs[f.Lead]; f.Tx == nil {
			lead, err := l.v.lead(f.Lead)
			if err != nil {
				return err
			}
			f.Tx = lead.Tx
		}
	}
	l.txs[f.Lead] = f.Tx
	return nil
}

// firstOf returns the first of the occurrences of a message that the listing could
// show. Each message is asked about once, however many copies somebody made of it.
func (l *listing) firstOf(id frame.ID) (int64, error) {
	if first, known := l.first[id]; known {
		return first, nil
	}
	first := int64(math.MaxInt64)
	for _, kind := range []string{isFact, isNoFact} {
		query := fmt.Sprintf(`%sWHERE f.frame_key = ?3 AND %s AND %s AND f.id < ?1 ORDER BY f.id`, whole, kind, l.kinds)
		args := []value{number(first), number(0), number(rows.KeyOf(id)), number(int64(rows.TypeBits(l.q.Type)))}
		if l.q.Type == "" {
			args = args[:3]
		}
		err := l.v.each(query, func(s *statement) error {
			f, err := s.found()
			if err != nil || f.ID != id {
				return err
			}
			if ok, err := l.belongs(f); err != nil || !ok {
				return err
			}
			first = f.Arrival
			return errEnough
		}, args...)
		if err != nil && err != errEnough {
			return 0, err
		}
	}
	if l.first == nil {
		l.first = map[frame.ID]int64{}
	}
	l.first[id] = first
	return first, nil
}
