package sqlite

import (
	"encoding/binary"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// What is read of a frame. Judging again reads a long body only where it takes
// it; the least number here is rows.ShortBody, the bit rows.NeedsBody.
const (
	rowColumns = `f.id, f.height, f.place, f.verdict, f.kind, f.time_order, f.decided, f.data, `
	whole      = `SELECT ` + rowColumns + `f.body FROM frames f `
	light      = `SELECT ` + rowColumns + `CASE WHEN length(f.body) <= 512 OR f.kind & 16 <> 0 THEN f.body END FROM frames f `
	bodyColumn = 8
)

// found reads the row that a statement stands on. Its bytes are one copy.
func (s *statement) found() (*rows.Found, error) {
	r := rows.Row{Arrival: s.ColumnInt64(0), Height: s.ColumnInt32(1), Place: s.ColumnInt32(2), Verdict: int16(s.ColumnInt32(3)), //nolint:gosec // as written
		Kind: s.ColumnInt32(4), TimeOrder: s.ColumnInt64(5)}
	decided, data, body := s.ColumnLen(6), s.ColumnLen(7), s.ColumnLen(bodyColumn)
	b := make([]byte, decided+data+body)
	r.Decided, r.Data = b[:decided:decided], b[decided:decided+data:decided+data]
	s.ColumnBytes(6, r.Decided)
	s.ColumnBytes(7, r.Data)
	if !s.ColumnIsNull(bodyColumn) {
		r.Body = b[decided+data:]
		s.ColumnBytes(bodyColumn, r.Body)
	}
	return rows.Unpack(&r)
}

// list reads frames, joined to their transactions and blocks, up to a limit of
// those that are wanted; 0 is none, and nil wants all.
func (v *view) list(query string, limit int, wanted func(*rows.Found) bool, args ...value) ([]*rows.Found, error) {
	var list []*rows.Found
	err := v.each(query, func(s *statement) error {
		f, err := s.found()
		if err != nil {
			return err
		}
		if wanted != nil && !wanted(f) {
			return nil
		}
		if list = append(list, f); len(list) == limit {
			return errEnough
		}
		return nil
	}, args...)
	if err != nil && err != errEnough {
		return nil, err
	}
	return list, v.join(list)
}

// join gives frames their transactions and blocks.
func (v *view) join(list []*rows.Found) error {
	for _, f := range list {
		if err := v.place(f.Entry); err != nil {
			return err
		}
	}
	return rows.Join(list, v.leads)
}

// leads reads the first frames of transactions.
func (v *view) leads(arrivals []int64) ([]*rows.Found, error) {
	list := make([]*rows.Found, 0, len(arrivals))
	for _, a := range arrivals {
		f, err := v.lead(a)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// lead reads a frame that others name as the first of their transaction.
func (v *view) lead(arrival int64) (f *rows.Found, err error) {
	err = v.first(light+`WHERE f.id = ?`, func(s *statement) error { f, err = s.found(); return err }, number(arrival))
	if err == nil && f.Tx != nil {
		return f, nil
	}
	if err == nil || err == index.ErrNotFound {
		err = &rows.CorruptError{Column: "data: a transaction is missing"}
	}
	return nil, err
}

// A block's hash and the time in its header.
type blockMark struct {
	hash frame.Hash
	time int64
}

// place sets the block of an entry.
func (v *view) place(e *index.Entry) error {
	if e.Height < 0 {
		return nil
	}
	m, known := v.blocks[e.Height]
	if !known {
		err := v.first(`SELECT hash, substr(header, 69, 4) FROM blocks WHERE height = ?`, func(s *statement) error {
			var t [4]byte
			s.ColumnBytes(1, t[:])
			m.time = int64(binary.LittleEndian.Uint32(t[:]))
			return s.fill(0, m.hash[:], "blocks.hash")
		}, number(int64(e.Height)))
		if err != nil && err != index.ErrNotFound { // a transaction may be saved before its block
			return err
		}
		if err == nil {
			v.mark(e.Height, m)
		}
	}
	e.Block, e.Time = m.hash, m.time
	return nil
}

func (v *view) mark(height int32, m blockMark) {
	if v.blocks == nil {
		v.blocks = map[int32]blockMark{}
	}
	v.blocks[height] = m
}

// fill reads a column of a fixed length, or fails with a *[rows.CorruptError].
func (s *statement) fill(column int, dst []byte, name string) error {
	if s.ColumnLen(column) != len(dst) {
		return &rows.CorruptError{Column: name}
	}
	s.ColumnBytes(column, dst)
	return nil
}

// entry returns what was found as entries.
func entries(list []*rows.Found) []*index.Entry {
	out := make([]*index.Entry, len(list))
	for i, f := range list {
		out[i] = f.Entry
	}
	return out
}

// entriesOf reads the frames with the arrivals given, whole, by arrival.
func (v *view) entriesOf(arrivals []int64) (map[int64]*index.Entry, error) {
	list := make([]*rows.Found, 0, len(arrivals))
	s, err := v.take(whole + `WHERE f.id = ?`)
	if err != nil {
		return nil, err
	}
	defer v.give(s)
	for _, a := range arrivals {
		if err := s.Reset(); err != nil {
			return nil, err
		}
		s.BindInt64(1, a)
		there, err := s.Step()
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		f, err := s.found()
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	if err := v.join(list); err != nil {
		return nil, err
	}
	byArrival := make(map[int64]*index.Entry, len(list))
	for _, f := range list {
		byArrival[f.Arrival] = f.Entry
	}
	return byArrival, nil
}
