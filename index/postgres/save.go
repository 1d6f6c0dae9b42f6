package postgres

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// A save is one call of Save under way.
type save struct {
	*rows.Save
	t *tx
}

// Save implements [index.Tx]. Of a known transaction nothing but place, state
// and decisions is written, so what it says needn't be whole.
func (t *tx) Save(placed []*index.Placed) ([][]int64, error) {
	if len(placed) == 0 {
		return nil, t.failed
	}
	s := &save{t: t}
	err := t.write("save transactions", func() (err error) {
		if s.Save, err = rows.Gather(placed, &t.last.frame); err != nil {
			return err
		}
		for _, p := range placed {
			t.top = max(t.top, p.Height)
		}
		if err := s.Settle(t.known, t.attributed); err != nil {
			return err
		}
		if err := s.Repeats(t.repeated); err != nil {
			return err
		}
		t.fresh = append(t.fresh, s.Frames...)
		for i := range s.Frames {
			if m := s.Frames[i].Frame.Message; m != nil {
				t.bodies += int64(len(m.Body))
			}
		}
		return s.write()
	})
	if err != nil {
		return nil, err
	}
	return s.Arrivals, nil
}

// known reads what the store has of the frames of transactions.
func (t *tx) known(spans []rows.Span) (map[int64]rows.Had, error) {
	const query = `SELECT f.id, substring(f.data FOR 6), f.height, f.verdict, f.address_key FROM unnest($1::bigint[], $2::bigint[]) AS span (first, last)
		CROSS JOIN LATERAL (SELECT * FROM frames f WHERE f.id >= span.first AND f.id <= span.last OFFSET 0) f`
	first, last := make([]int64, len(spans)), make([]int64, len(spans))
	for i, s := range spans {
		first[i], last[i] = s.First, s.Last
	}
	had := make(map[int64]rows.Had, 2*len(spans))
	err := t.each(query, []any{first, last}, func(r *row) error {
		h := rows.Had{Arrival: r.integer(), Head: r.bytes(), Height: r.integer4(), Verdict: r.integer2(), AddressKey: r.integer()}
		had[h.Arrival] = h
		return nil
	})
	return had, err
}

// attributed returns the address that a frame is attributed to, nil for none.
func (t *tx) attributed(arrival int64) (address *frame.KeyHash, err error) {
	err = t.each(forJudging+`FROM frames f`+inBlock+`WHERE f.id = $1`, []any{arrival}, func(r *row) error {
		f, err := scanFrame(r)
		if err == nil {
			address = f.Address
		}
		return err
	})
	return address, err
}

// repeated returns which of the frame keys there are rows of. Most were asked
// about already, together with the facts.
func (t *tx) repeated(keys []int64) (there []int64, err error) {
	var ask []int64
	for _, key := range keys {
		switch is, known := t.met[key]; {
		case !known:
			ask = append(ask, key)
		case is:
			there = append(there, key)
		}
	}
	if len(ask) > 0 {
		scan := func(r *row) error {
			there = append(there, r.integer())
			return nil
		}
		err = t.ask(question{`SELECT f.frame_key FROM frames f WHERE f.frame_key = ANY ($1::bigint[]) AND ` + isFactOfID, []any{ask}, scan},
			question{otherIDs, []any{ask}, scan})
	}
	if t.met == nil {
		t.met = make(map[int64]bool, len(keys))
	}
	for _, key := range keys {
		t.met[key] = true // from now on
	}
	return there, err
}

const otherIDs = `SELECT f.frame_key FROM frames f WHERE f.frame_key = ANY ($1::bigint[]) AND ` + isOtherID

// write runs the statements. It stops with the first that fails.
func (s *save) write() error {
	for _, step := range []func() error{s.writeFrames, s.writeParties, s.writeLinks, s.writeMoved, s.writeCounts} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *save) writeFrames() error {
	many, size := len(s.Frames) >= manyRows, 0
	for i := 0; i < len(s.Frames) && !many; i++ {
		if m := s.Frames[i].Frame.Message; m != nil {
			size += len(m.Body) + len(m.Other)
		}
		many = size > muchData
	}
	if many {
		return s.t.copyIn(framesTable, len(s.Frames), func(b []byte, i int) []byte {
			r := rows.RowOf(&s.Frames[i])
			return appendFrame(b, &r)
		})
	}
	return insert(s.t, framesTable, s.Frames, func(f rows.Frame) []any { return bindFrame(rows.RowOf(&f)) })
}

func (s *save) writeParties() error {
	if len(s.Parties) >= manyRows {
		return s.t.copyIn(partiesTable, len(s.Parties), func(b []byte, i int) []byte { return appendParty(b, &s.Parties[i]) })
	}
	return insert(s.t, partiesTable, s.Parties, bindParty)
}

func (s *save) writeLinks() error {
	for _, to := range []struct {
		table table
		links []rows.Link
	}{{touchedTable, s.Touched}, {spendsTable, s.Spends}, {renamedTable, s.Renamed}} {
		if len(to.links) >= manyRows && to.table.conflict == "" {
			if err := s.t.copyIn(to.table, len(to.links), func(b []byte, i int) []byte { return appendLink(b, &to.table, &to.links[i]) }); err != nil {
				return err
			}
			continue
		}
		if err := insert(s.t, to.table, to.links, func(l rows.Link) []any { return []any{l.Key, l.Arrival} }); err != nil {
			return err
		}
	}
	return nil
}

func (s *save) writeMoved() error {
	err := update(s.t, `UPDATE frames SET height = decided.height, place = decided.place, verdict = decided.verdict,
			address_key = decided.address_key, decided = decided.decided
		FROM unnest(%s) AS decided (id, height, place, verdict, address_key, decided) WHERE frames.id = decided.id`,
		[]string{"bigint", "integer", "integer", "smallint", "bigint", "bytea"}, s.Decided, func(d rows.Decided) []any {
			return []any{d.Arrival, int64(d.Height), int64(d.Place), int64(d.Verdict), d.AddressKey, d.Row.Decided}
		})
	if err != nil {
		return err
	}
	return insert(s.t, formerTable, s.Former, func(f rows.Former) []any { return []any{f.Address[:], f.Arrival} })
}

// A verdictCount is by how much the number of a verdict changes.
type verdictCount struct {
	verdict frame.Verdict
	frames  int64
}

func (s *save) writeCounts() error {
	var changed []verdictCount
	for _, v := range frame.Verdicts {
		if s.Counts[v] != 0 {
			changed = append(changed, verdictCount{v, s.Counts[v]})
		}
	}
	err := insert(s.t, verdictsTable, changed, func(c verdictCount) []any { return []any{string(c.verdict), int64(0)} })
	if err != nil {
		return err
	}
	return update(s.t, `UPDATE verdicts SET frames = verdicts.frames + changed.frames
		FROM unnest(%s) AS changed (verdict, frames) WHERE verdicts.verdict = changed.verdict`,
		verdictsTable.types, changed, func(c verdictCount) []any { return []any{string(c.verdict), c.frames} })
}
