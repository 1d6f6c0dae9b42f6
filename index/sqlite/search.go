package sqlite

import (
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/index/rows"
)

// How FTS5 is asked.
var fts5 = rows.Syntax{Quote: `"`, Prefix: `*`, And: ` AND `, Or: ` OR `}

// isText is the condition of what may be searched; the argument is
// [textBits].
const isText = `f.kind & 16776963 = ` // rows.TypeMask and rows.ProtocolMask

var textBits = number(int64(rows.TypeBits(improtocol.Text)))

// searchSides are those of a listing by words: what the engine finds, what has
// arrived since it was last given some, and what was renamed after.
func (l *listing) searchSides() error {
	mark, err := l.v.searched()
	if err != nil {
		return err
	}
	question := text(fts5.Question(&l.q))
	l.sides = []side{
		{from: `search s CROSS JOIN frames f`, where: `s.search MATCH CAST(?3 AS TEXT) AND f.id = s.rowid`, id: `s.rowid`, args: []value{question}},
		{from: `frames f`, where: isText + `?5`, bounds: `f.id > max(?1, ?3) AND f.id < ?2`, args: []value{number(mark), textBits}},
	}
	if a := l.q.Address; a != nil {
		l.sides = append(l.sides, side{from: `renamed r CROSS JOIN frames f`, where: `r.key = ?3 AND f.id = r.frame`, id: `r.frame`,
			args: []value{number(rows.AddressKey(*a))}})
	}
	if p := l.q.Peer; p != nil {
		l.sides = append(l.sides, side{from: `renamed r CROSS JOIN frames f`, where: `r.key = ?3 AND f.id = r.frame`, id: `r.frame`,
			args: []value{number(rows.AddressKey(*p))}})
	}
	return nil
}

// searched returns the arrival up to which the engine has the messages.
func (v *view) searched() (int64, error) { return v.number(`SELECT frame FROM searched`) }

// feed gives the engine what has arrived since it was last given some, when that
// is a batch or the bodies are long.
func (t *tx) feed(bodies int64) (fed bool, err error) {
	if len(t.fresh) == 0 {
		return false, nil
	}
	first, last := t.fresh[0].Arrival, t.fresh[len(t.fresh)-1].Arrival
	mark, err := t.searched()
	if err != nil || last-mark < rows.SearchBatch && bodies < rows.SearchBytes {
		return false, err
	}
	put, err := t.take(`INSERT INTO search (rowid, words) VALUES (?, CAST(? AS TEXT))`)
	if err != nil {
		return false, err
	}
	defer t.give(put)
	if err := t.feedOld(put, mark, first); err != nil {
		return false, err
	}
	for i := range t.fresh {
		if err := put.insert(t.fresh[i].Arrival, t.fresh[i].Document()); err != nil {
			return false, err
		}
	}
	return true, t.run(`UPDATE searched SET frame = ?`, number(last))
}

// feedOld gives the engine frames between two arrivals.
func (t *tx) feedOld(put *statement, after, before int64) error {
	var lead *rows.Found
	return t.each(whole+`WHERE f.id > ? AND f.id < ? AND `+isText+`? ORDER BY f.id`, func(s *statement) error {
		f, err := s.found()
		if err != nil {
			return err
		}
		if f.Tx == nil {
			if lead == nil || lead.Arrival != f.Lead {
				if lead, err = t.lead(f.Lead); err != nil {
					return err
				}
			}
			f.Tx = lead.Tx
		}
		return put.insert(f.Arrival, f.Document())
	}, number(after), number(before), textBits)
}

func (s *statement) insert(arrival int64, document string) error {
	if document == "" {
		return nil
	}
	s.BindInt64(1, arrival)
	s.BindText(2, document)
	if _, err := s.Step(); err != nil {
		return err
	}
	return s.Reset()
}
