package sqlite

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// Save implements [index.Tx]. Of a known transaction nothing but place, state
// and decisions is written, so what it says needn't be whole.
func (t *tx) Save(placed []*index.Placed) (arrivals [][]int64, err error) {
	if len(placed) == 0 {
		return nil, t.failed
	}
	err = t.write("save transactions", func() error {
		t.moved = true
		last, err := t.number(`SELECT coalesce(max(id), 0) FROM frames`)
		if err != nil {
			return err
		}
		s, err := rows.Gather(placed, &last)
		if err != nil {
			return err
		}
		t.fresh = append(t.fresh, s.Frames...)
		if err := s.Repeats(t.knownKeys); err != nil {
			return err
		}
		if err := s.Settle(t.had, t.addressOf); err != nil {
			return err
		}
		for i := range s.Frames {
			if m := s.Frames[i].Frame.Message; m != nil {
				t.bodies += int64(len(m.Body))
			}
		}
		arrivals = s.Arrivals
		return t.save(s)
	})
	if err != nil {
		return nil, err
	}
	return arrivals, nil
}

// knownKeys returns which of the frame keys there are.
func (t *tx) knownKeys(keys []int64) (known []int64, err error) {
	err = look(t.conn, `SELECT 1 WHERE EXISTS (SELECT 1 FROM frames f WHERE f.frame_key = ?1 AND `+isFact+`)
		OR EXISTS (SELECT 1 FROM frames f WHERE f.frame_key = ?1 AND `+isNoFact+`)`, keys,
		func(s *statement, key *int64) { s.BindInt64(1, *key) },
		func(_ *statement, key *int64) (bool, error) {
			known = append(known, *key)
			return true, nil
		})
	return known, err
}

// had reads what there is of known frames.
func (t *tx) had(spans []rows.Span) (map[int64]rows.Had, error) {
	had := make(map[int64]rows.Had, 2*len(spans))
	err := look(t.conn, `SELECT id, substr(data, 1, 6), height, verdict, address_key FROM frames WHERE id BETWEEN ? AND ?`, spans,
		func(s *statement, span *rows.Span) {
			s.BindInt64(1, span.First)
			s.BindInt64(2, span.Last)
		},
		func(s *statement, _ *rows.Span) (bool, error) {
			h := rows.Had{Arrival: s.ColumnInt64(0), Head: s.read(1), Height: s.ColumnInt32(2), Verdict: int16(s.ColumnInt32(3)), AddressKey: s.ColumnInt64(4)} //nolint:gosec // as written
			had[h.Arrival] = h
			return false, nil
		})
	return had, err
}

// addressOf reads the address that a known frame is attributed to.
func (t *tx) addressOf(arrival int64) (address *frame.KeyHash, err error) {
	err = t.first(light+`WHERE f.id = ?`, func(s *statement) error {
		f, err := s.found()
		if err == nil {
			address = f.Address
		}
		return err
	}, number(arrival))
	return address, err
}

// save runs the statements. It stops with the first that fails: SQLite may have
// rolled back then, and the next would be on its own.
func (t *tx) save(s *rows.Save) error {
	err := write(t.conn, `INSERT INTO frames (id, height, place, verdict, kind, tx_key, frame_key, content_key, time_order, address_key, to_key, name_key, decided, data, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, s.Frames, bindFrame)
	if err != nil {
		return err
	}
	// Two addresses of one key are one party.
	err = write(t.conn, `INSERT INTO parties (key, lead, frames) VALUES (?, ?, ?) ON CONFLICT (key, lead) DO NOTHING`, s.Parties,
		func(s *statement, p *rows.Party) {
			s.BindInt64(1, p.Key)
			s.BindInt64(2, p.Lead)
			s.BindInt64(3, p.Frames)
		})
	if err != nil {
		return err
	}
	for _, to := range []struct {
		query string
		links []rows.Link
	}{
		{`INSERT INTO touched (key, lead) VALUES (?, ?)`, s.Touched},
		{`INSERT INTO spends (key, lead) VALUES (?, ?)`, s.Spends},
		{`INSERT INTO renamed (key, frame) VALUES (?, ?) ON CONFLICT (key, frame) DO NOTHING`, s.Renamed},
	} {
		err := write(t.conn, to.query, to.links, func(s *statement, l *rows.Link) {
			s.BindInt64(1, l.Key)
			s.BindInt64(2, l.Arrival)
		})
		if err != nil {
			return err
		}
	}
	if err := t.saveDecided(s.Decided); err != nil {
		return err
	}
	err = write(t.conn, `INSERT INTO former_sources (address, frame) VALUES (?, ?) ON CONFLICT (address, frame) DO NOTHING`, s.Former,
		func(s *statement, f *rows.Former) {
			s.BindBytes(1, f.Address[:])
			s.BindInt64(2, f.Arrival)
		})
	if err != nil {
		return err
	}
	return t.count(s.Counts)
}

// saveDecided writes the new decisions. Most say what the old said, at another
// place: then the indexes by address and by verdict alone needn't be touched.
func (t *tx) saveDecided(decided []rows.Decided) error {
	var stay, change []rows.Decided
	for _, d := range decided {
		if d.Stays() {
			stay = append(stay, d)
		} else {
			change = append(change, d)
		}
	}
	err := write(t.conn, `UPDATE frames SET height = ?, place = ?, decided = ? WHERE id = ?`, stay, func(s *statement, d *rows.Decided) {
		s.BindInt64(1, int64(d.Height))
		s.BindInt64(2, int64(d.Place))
		s.BindBytes(3, d.Decided)
		s.BindInt64(4, d.Arrival)
	})
	if err != nil {
		return err
	}
	return write(t.conn, `UPDATE frames SET height = ?, place = ?, verdict = ?, address_key = ?, decided = ? WHERE id = ?`, change,
		func(s *statement, d *rows.Decided) {
			for i, n := range [...]int64{int64(d.Height), int64(d.Place), int64(d.Verdict), d.AddressKey} {
				s.BindInt64(i+1, n)
			}
			s.BindBytes(5, d.Decided)
			s.BindInt64(6, d.Arrival)
		})
}

func bindFrame(s *statement, f *rows.Frame) {
	r := rows.RowOf(f)
	for i, n := range [...]int64{r.Arrival, int64(r.Height), int64(r.Place), int64(r.Verdict), int64(r.Kind),
		r.TxKey, r.FrameKey, r.ContentKey, r.TimeOrder, r.AddressKey, r.ToKey, r.NameKey} {
		s.BindInt64(i+1, n)
	}
	s.BindBytes(13, r.Decided)
	s.BindBytes(14, r.Data)
	s.BindBytes(15, r.Body)
}

func (t *tx) count(counts map[frame.Verdict]int64) error {
	for _, v := range frame.Verdicts {
		if counts[v] == 0 {
			continue
		}
		if err := t.run(`INSERT INTO verdicts (verdict, frames) VALUES (CAST(? AS TEXT), 0) ON CONFLICT (verdict) DO NOTHING`, text(string(v))); err != nil {
			return err
		}
		if err := t.run(`UPDATE verdicts SET frames = frames + ? WHERE verdict = CAST(? AS TEXT)`, number(counts[v]), text(string(v))); err != nil {
			return err
		}
	}
	return nil
}
