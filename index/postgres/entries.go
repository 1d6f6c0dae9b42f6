package postgres

import (
	"fmt"
	"math"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// endless is a bound of arrivals and seqs that isn't one.
const endless = math.MaxInt64

// A listing is an EntryQuery under way.
type listing struct {
	v *view
	shape
	q     index.EntryQuery
	limit int
	first map[frame.ID]int64
	read  map[int64]*rows.Found // what was taken, by arrival
	short map[int64]bool        // read without its body
	last  int64                 // arrival looked at
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
	l := &listing{v: v, shape: shape{newest: q.Newest, refused: q.Refused}, q: q, limit: q.Limit,
		first: map[frame.ID]int64{}, read: make(map[int64]*rows.Found, q.Limit), short: map[int64]bool{}}
	if q.Before <= 0 {
		l.q.Before = endless
	}
	if err := l.choose(); err != nil {
		return nil, err
	}
	take := l.take
	if len(q.Words) > 0 {
		take = l.takeFound
	}
	arrivals, err := rows.Page(&l.q, take, l.shown)
	if err != nil {
		return nil, err
	}
	return l.entries(arrivals)
}

// entries returns what was read of the page, and reads the bodies that are
// missing.
func (l *listing) entries(arrivals []int64) ([]*index.Entry, error) {
	var missing []int64
	list := make([]*index.Entry, len(arrivals))
	for i, a := range arrivals {
		if list[i] = l.read[a].Entry; l.short[a] {
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return list, nil
	}
	byArrival, err := l.v.entriesOf(missing)
	for i, a := range arrivals {
		if e := byArrival[a]; e != nil {
			list[i] = e
		}
	}
	return list, err
}

// choose says through which indexes the listing goes.
func (l *listing) choose() error {
	switch {
	case l.q.Address == nil:
		l.sides = [4]side{everything}
		return nil
	case len(l.q.Words) > 0 && l.q.Peer != nil: // what the first of copies depends on
		l.sides = [4]side{sentTo}
		return nil
	case l.q.Peer == nil:
		l.sides = [4]side{sent, received, receivedToo}
		return nil
	}
	return l.between()
}

// between lists what two sent to each other, each way through the shorter of what
// the one sent and what the other received: a busy correspondent isn't read
// through.
func (l *listing) between() error {
	const (
		enough   = 1_000
		sentLess = `(SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.address_key = %[1]s AND f.address_key <> 0 AND %[3]s LIMIT $3) x)
			<= (SELECT count(*) FROM (SELECT 1 FROM frames f WHERE f.to_key = %[2]s AND f.to_key <> 0 LIMIT $3) x)
			+ (SELECT count(*) FROM (SELECT 1 FROM parties p WHERE p.key = %[2]s LIMIT $3) x)`
		mine, theirs = `$1`, `$2`
	)
	which := counts
	if l.refused {
		which = refused
	}
	query := `SELECT ` + fmt.Sprintf(sentLess, mine, theirs, which) + `, ` + fmt.Sprintf(sentLess, theirs, mine, which)
	bySent, byAnswers := false, false
	err := l.v.each(query, []any{rows.AddressKey(*l.q.Address), rows.AddressKey(*l.q.Peer), enough}, func(r *row) error {
		bySent, byAnswers = r.flag(), r.flag()
		return nil
	})
	l.sides = [4]side{receivedBack, receivedTooBack, receivedFrom, receivedTooFrom}
	if bySent {
		l.sides[0], l.sides[1] = sentTo, 0
	}
	if byAnswers {
		l.sides[2], l.sides[3] = sentBack, 0
	}
	return err
}

// arguments are those of every statement.
func (l *listing) arguments(limit int) []any {
	from, to, but := heights(l.q.States)
	mask, kind := rows.ProtocolMask, int32(0)
	if l.q.Type != "" {
		mask, kind = mask|rows.TypeMask, rows.TypeBits(l.q.Type)
	}
	args := []any{l.q.After, l.q.Before, int64(limit), from, to, but, mask, kind}
	if l.q.Address != nil {
		args = append(args, rows.AddressKey(*l.q.Address))
	}
	if l.q.Peer != nil {
		args = append(args, rows.AddressKey(*l.q.Peer))
	}
	return args
}

// heights returns the bounds of the column that says a state, and what in between
// isn't asked for.
func heights(states []index.State) (from, to, but int32) {
	asked := map[index.State]bool{}
	for _, s := range states {
		asked[s] = true
	}
	if len(states) == 0 {
		asked[index.Seen], asked[index.Confirmed] = true, true
	}
	from, to, but = 0, rows.DroppedHeight-1, rows.DroppedHeight-1 // nothing
	if asked[index.Confirmed] {
		to = math.MaxInt32
	}
	if asked[index.Seen] {
		from, to = rows.SeenHeight, max(to, rows.SeenHeight)
	}
	if asked[index.Dropped] {
		from, to = rows.DroppedHeight, max(to, rows.DroppedHeight)
		if !asked[index.Seen] {
			but = rows.SeenHeight
		}
	}
	return from, to, but
}

// take reads the next candidates. The first are likely the page; where they
// aren't, more are read, without long bodies, to find what counts.
func (l *listing) take(n int) ([]rows.Candidate, error) {
	l.light = n > l.limit
	list, err := l.v.entries(l.text(), l.arguments(n)...)
	if err != nil {
		return nil, err
	}
	candidates := make([]rows.Candidate, len(list))
	for i, f := range list {
		candidates[i] = rows.Candidate{Arrival: f.Arrival, ID: f.ID, Again: f.Again && !l.q.Repeats && !l.refused}
		l.read[f.Arrival], l.short[f.Arrival] = f, l.light
	}
	return candidates, l.firsts(list, candidates)
}

// matches tells whether the listing could show a frame that was found by keys.
func (l *listing) matches(f *rows.Found) bool {
	switch {
	case l.q.Type != "" && (f.Message == nil || f.Message.Type != l.q.Type):
		return false
	case l.q.Address == nil:
		return true
	case l.q.Peer == nil:
		return rows.Concerned(f.Entry, *l.q.Address)
	}
	a, b := *l.q.Address, *l.q.Peer
	return rows.Sent(f.Entry, a) && rows.Received(f.Entry, b) || rows.Sent(f.Entry, b) && rows.Received(f.Entry, a)
}

// shown tells whether a candidate is listed: it is what was asked for, and the
// first of the occurrences that the listing could show.
func (l *listing) shown(c rows.Candidate) (bool, error) {
	f := l.read[c.Arrival]
	again := c.Arrival == l.last // two sides have it
	l.last = c.Arrival
	return f != nil && !again && l.matches(f) && (!c.Again || l.first[c.ID] == c.Arrival), nil
}

// firsts finds, for candidates that are not the first of their message, the first
// that the listing could show. Each message is asked about once, however many
// copies somebody made of it.
func (l *listing) firsts(list []*rows.Found, candidates []rows.Candidate) error {
	asked := map[frame.ID]bool{}
	for i, c := range candidates {
		if _, known := l.first[c.ID]; c.Again && !known && l.matches(list[i]) {
			asked[c.ID] = true
		}
	}
	if len(asked) == 0 {
		return nil
	}
	keys := make([]int64, 0, len(asked))
	for id := range asked {
		keys = append(keys, rows.KeyOf(id))
	}
	found, err := l.occurrences(keys, 0, 1)
	if err != nil {
		return err
	}
	l.note(found, asked)
	for id := range asked { // the key's first is another's
		if err := l.firstOf(id); err != nil {
			return err
		}
	}
	return nil
}

// note takes the ids out of those asked for that are among the frames.
func (l *listing) note(found []*rows.Found, asked map[frame.ID]bool) {
	for _, f := range found {
		if asked[f.ID] && l.matches(f) {
			l.first[f.ID] = f.Arrival
			delete(asked, f.ID)
		}
	}
}

// firstOf looks at all frames of an id's key, in the order of arrival.
func (l *listing) firstOf(id frame.ID) error {
	const some = 100
	asked := map[frame.ID]bool{id: true}
	for after := int64(0); asked[id]; {
		found, err := l.occurrences([]int64{rows.KeyOf(id)}, after, some)
		if err != nil {
			return err
		}
		l.note(found, asked)
		if len(found) < some {
			break
		}
		after = found[len(found)-1].Arrival
	}
	if asked[id] {
		return &rows.CorruptError{Column: "frames.frame_key"} // the candidate itself has it
	}
	return nil
}

// occurrences reads, for each key of a frame id, the first frames of it that the
// listing could show as far as keys tell.
func (l *listing) occurrences(keys []int64, after int64, limit int) ([]*rows.Found, error) {
	args := append(l.arguments(limit), keys)
	args[0], args[1] = after, int64(endless)
	return l.v.entries(l.shape.first(), args...)
}
