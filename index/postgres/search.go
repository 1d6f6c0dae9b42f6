package postgres

import (
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// How a tsquery is written. Words are of ASCII: databases of any encoding take
// them.
var tsquery = rows.Syntax{Quote: `'`, Prefix: `:*`, And: ` & `, Or: ` | `, Word: rows.ASCII}

// What is found by words: along the ids, which is quick for words that many
// messages have, and by the index of words, which is quick for others.
const (
	walk   = `SELECT s.id FROM search s WHERE s.words @@ $4::text::tsquery AND s.id > $1 AND s.id < $2 ORDER BY s.id `
	byWord = `SELECT s.id FROM search s WHERE s.words @@ $4::text::tsquery AND s.id + 0 > $1 AND s.id + 0 < $2 ORDER BY s.id `

	walked = 4_000 // ids, at most

	// Words are found with bitmaps only, and with these settings with nothing else.
	byBitmap = `SET LOCAL enable_bitmapscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off`
	asBefore = `SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on`

	// The messages that arrived after the words of others were indexed; 16776963 is
	// rows.TypeMask and rows.ProtocolMask.
	isText  = `f.kind & 16776963 = $4::integer`
	unfed   = `SELECT f.id FROM frames f WHERE f.id > $1 AND f.id < $2 AND ` + isText + ` ORDER BY f.id `
	renamed = `SELECT r.frame FROM renamed r WHERE r.key = $4 AND r.frame > $1 AND r.frame < $2 ORDER BY r.frame `
)

var textBits = rows.TypeBits(improtocol.Text)

// find returns the arrivals of the next n messages that may have the words of the
// query, in the order of the listing; fewer only when there are no more.
func (l *listing) find(n int) ([]int64, error) {
	mark, err := l.v.one(`SELECT frame FROM searched`)
	if err != nil {
		return nil, err
	}
	limit := l.order() + ` LIMIT $3`
	list, err := l.words(mark, n)
	if err != nil {
		return nil, err
	}
	gather := func(r *row) error {
		list = append(list, r.integer())
		return nil
	}
	questions := []question{{unfed + limit, []any{max(l.q.After, mark), l.q.Before, n, textBits}, gather}}
	for _, h := range []*frame.KeyHash{l.q.Address, l.q.Peer} {
		if h != nil {
			questions = append(questions, question{renamed + limit, []any{l.q.After, l.q.Before, n, rows.AddressKey(*h)}, gather})
		}
	}
	if err := l.v.ask(questions...); err != nil {
		return nil, err
	}
	slices.Sort(list)
	list = slices.Compact(list)
	if l.newest {
		slices.Reverse(list)
	}
	return list[:min(n, len(list))], nil
}

// words asks for what is indexed.
func (l *listing) words(mark int64, n int) (list []int64, err error) {
	ask := tsquery.Question(&l.q)
	gather := func(r *row) error {
		list = append(list, r.integer())
		return nil
	}
	after, before := l.q.After, min(l.q.Before, mark+1)
	from, to := after, min(before, after+walked)
	if l.newest {
		from, to = max(after, before-walked), before
	}
	limit := l.order() + ` LIMIT $3`
	if err := l.v.each(walk+limit, []any{from, to, n, ask}, gather); err != nil || len(list) >= n {
		return list, err
	}
	if from, to = to-1, before; l.newest {
		from, to = after, max(after, before-walked)+1
	}
	if to-from < 2 {
		return list, nil
	}
	if err := l.v.set(byBitmap); err != nil {
		return nil, err
	}
	if err := l.v.each(byWord+limit, []any{from, to, n - len(list), ask}, gather); err != nil {
		return nil, err
	}
	return list, l.v.set(asBefore)
}

// set changes settings of the transaction.
func (v *view) set(statements string) error {
	if err := v.flush(); err != nil {
		return err
	}
	_, err := v.q.Exec(v.ctx, statements)
	return v.explain(err)
}

// takeFound is take for a listing by words. What is found is compared whole.
func (l *listing) takeFound(n int) ([]rows.Candidate, error) {
	const readAtOnce = 100
	arrivals, err := l.find(n)
	if err != nil {
		return nil, err
	}
	candidates := make([]rows.Candidate, 0, len(arrivals))
	for part := range slices.Chunk(arrivals, readAtOnce) {
		byArrival, err := l.whole(part)
		if err != nil {
			return nil, err
		}
		var list []*rows.Found
		var more []rows.Candidate
		for _, a := range part {
			c := rows.Candidate{Arrival: a}
			if f := byArrival[a]; f != nil && l.says(f) {
				c.ID, c.Again = f.ID, f.Again && !l.q.Repeats && !l.refused
				l.keep(f)
				list, more = append(list, f), append(more, c)
			}
			candidates = append(candidates, c)
		}
		if err := l.firsts(list, more); err != nil {
			return nil, err
		}
	}
	return candidates, nil
}

// whole reads frames with their bodies.
func (l *listing) whole(arrivals []int64) (map[int64]*rows.Found, error) {
	list, err := l.v.entries(withBodies+`FROM frames f`+inBlock+`WHERE f.id = ANY ($1::bigint[])`, arrivals)
	byArrival := make(map[int64]*rows.Found, len(list))
	for _, f := range list {
		byArrival[f.Arrival] = f
	}
	return byArrival, err
}

// says tells whether a message is of the states and verdicts asked for and has the
// words.
func (l *listing) says(f *rows.Found) bool {
	states := l.q.States
	if len(states) == 0 {
		states = []index.State{index.Seen, index.Confirmed}
	}
	counts := f.Verdict == frame.Valid || f.Verdict == frame.Duplicate
	return counts != l.refused && slices.Contains(states, f.State) && index.HasWords(f.Message, l.q.Words)
}

// keep holds a frame for the page, a long body not: it is read again if the frame
// is shown.
func (l *listing) keep(f *rows.Found) {
	l.read[f.Arrival] = f
	if len(f.Message.Body) > rows.ShortBody {
		f.Message.Body, l.short[f.Arrival] = nil, true
	}
}

// A document is the words of a message.
type document struct {
	arrival int64
	words   string
}

// feed gives the index of words what has arrived since it was last given some, when
// that is a batch or the bodies are long.
func (t *tx) feed(bodies int64) (fed bool, err error) {
	if len(t.fresh) == 0 {
		return false, nil
	}
	first, last := t.fresh[0].Arrival, t.fresh[len(t.fresh)-1].Arrival
	if last-t.mark < rows.SearchBatch && bodies < rows.SearchBytes {
		return false, nil
	}
	err = t.write("index words", func() error {
		if err := t.feedOld(t.mark, first); err != nil {
			return err
		}
		for part := range slices.Chunk(t.fresh, rows.SearchBatch) {
			documents := make([]document, 0, len(part))
			for i := range part {
				documents = append(documents, document{part[i].Arrival, part[i].Document()})
			}
			if err := t.put(documents); err != nil {
				return err
			}
		}
		return t.exec(`UPDATE searched SET frame = $1`, last)
	})
	return true, err
}

// feedOld gives frames between two arrivals.
func (t *tx) feedOld(after, before int64) error {
	const atOnce = 100
	for {
		list, err := t.entries(withBodies+`FROM frames f`+inBlock+`WHERE f.id > $1 AND f.id < $2 AND f.kind & 16776963 = $3::integer ORDER BY f.id LIMIT $4`,
			after, before, textBits, atOnce)
		if err != nil {
			return err
		}
		documents := make([]document, 0, len(list))
		for _, f := range list {
			after = f.Arrival
			documents = append(documents, document{f.Arrival, f.Document()})
		}
		if err := t.put(documents); err != nil || len(list) < atOnce {
			return err
		}
	}
}

var searchTypes = []string{"bigint", "text"}

func (t *tx) put(documents []document) error {
	documents = slices.DeleteFunc(documents, func(d document) bool { return d.words == "" })
	return update(t, `INSERT INTO search (id, words) SELECT d.id, array_to_tsvector(string_to_array(d.words, ' '))
		FROM unnest(%s) AS d (id, words)`, searchTypes, documents, func(d document) []any { return []any{d.arrival, rows.ASCII(d.words)} })
}
