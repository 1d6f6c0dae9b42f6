package sqlite

import (
	"database/sql"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// A save is one call of Save under way. Frames that are messages and others are
// written with columns of their own.
type save struct {
	*rows.Save
	t        *tx
	messages []rows.Frame
	others   []rows.Frame // records, and what is malformed
}

// Save implements [index.Tx]. Of a known transaction nothing but place, state
// and decisions is written, so what it says needn't be whole.
func (t *tx) Save(placed []*index.Placed) ([][]int64, error) {
	if len(placed) == 0 {
		return nil, t.failed
	}
	s := &save{t: t}
	err := t.write("save transactions", func() error {
		var lastTx, lastFrame int64
		err := t.one(`SELECT coalesce((SELECT max(id) FROM txs), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'frames'), 0)`,
			nil, &lastTx, &lastFrame)
		if err != nil {
			return err
		}
		if s.Save, err = rows.Gather(placed, &lastTx, &lastFrame); err != nil {
			return err
		}
		if err := s.Settle(t.known); err != nil {
			return err
		}
		return s.write()
	})
	if err != nil {
		return nil, err
	}
	return s.Arrivals, nil
}

// known reads what the store has of the frames of transactions.
func (t *tx) known(txs []int64) (map[int64][]rows.Had, error) {
	had := make(map[int64][]rows.Had, len(txs))
	err := inChunks(txs, 1, bindNumber, func(list string, args []any) error {
		return t.each(`SELECT id, tx, output, height IS NOT NULL, verdict, address FROM frames WHERE tx IN (VALUES `+list+`) ORDER BY id`, args,
			func(r *sql.Rows) error {
				var h rows.Had
				var row int64
				var verdict string
				err := r.Scan(&h.Arrival, &row, &h.Output, &h.Confirmed, &verdict, &h.Address)
				h.Verdict = frame.Verdict(verdict)
				had[row] = append(had[row], h)
				return err
			})
	})
	return had, err
}

// write runs the statements. It stops with the first that fails: SQLite may have
// rolled back then, and the next would be on its own.
func (s *save) write() error {
	for _, step := range []func() error{s.writeNew, s.writeMoved, s.writeCounts} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *save) writeNew() error {
	err := insert(s.t, `INSERT OR FAIL INTO txs (id, txid, state, height, position, coinbase, outputs, input_keys, spends) VALUES %s`, 9, s.Txs,
		func(a []any, r rows.Tx) []any {
			tx := r.Placed.Tx
			return append(a, r.Row, tx.ID[:], string(r.State), rows.NullableHeight(r.Height), rows.Position(r.Placed),
				tx.Coinbase, rows.PackOutputs(tx.Outputs), r.Packed, rows.PackSpends(tx.Spends))
		})
	if err != nil {
		return err
	}
	if err := insert(s.t, `INSERT OR FAIL INTO parties (address, tx) VALUES %s`, 2, s.Parties, bindParty); err != nil {
		return err
	}
	for _, n := range s.Frames {
		if n.Frame.Message != nil {
			s.messages = append(s.messages, n)
		} else {
			s.others = append(s.others, n)
		}
	}
	// The columns that only records have cost too much where they are empty.
	err = insert(s.t, `INSERT OR FAIL INTO frames (`+anyColumns+`, `+messageColumns+`) VALUES %s`, 22, s.messages, bindMessage)
	if err != nil {
		return err
	}
	err = insert(s.t, `INSERT OR FAIL INTO frames (`+anyColumns+`, `+recordColumns+`) VALUES %s`, 26, s.others, bindOther)
	if err != nil {
		return err
	}
	return insert(s.t, `INSERT OR FAIL INTO bodies (frame, body) VALUES %s`, 2, s.messages,
		func(a []any, n rows.Frame) []any { return append(a, n.Arrival, rows.Present(n.Frame.Message.Body)) })
}

func (s *save) writeMoved() error {
	err := insert(s.t, `WITH moved (id, state, height, position) AS (VALUES %s)
		UPDATE OR FAIL txs SET state = moved.state, height = moved.height, position = moved.position
		FROM moved WHERE txs.id = moved.id`, 4, s.Moved,
		func(a []any, p *index.Placed) []any {
			return append(a, p.Row, string(p.State), rows.NullableHeight(p.Height), rows.Position(p))
		})
	if err != nil {
		return err
	}
	err = insert(s.t, `WITH decided (id, state, height, position, verdict, address, signed_key, signed_key2) AS (VALUES %s)
		UPDATE OR FAIL frames SET state = decided.state, height = decided.height, position = decided.position, verdict = decided.verdict,
			address = decided.address, signed_key = decided.signed_key, signed_key2 = decided.signed_key2
		FROM decided WHERE frames.id = decided.id`, 8, s.Decided,
		func(a []any, d rows.Decided) []any {
			key, key2 := rows.SignedKeys(d.Decision)
			return append(a, d.Arrival, string(d.Placed.State), rows.NullableHeight(d.Placed.Height), rows.Position(d.Placed),
				string(d.Decision.Verdict), rows.NullableAddress(d.Decision.Address), key, key2)
		})
	if err != nil {
		return err
	}
	return insert(s.t, `INSERT OR FAIL INTO former_sources (address, frame) VALUES %s ON CONFLICT (address, frame) DO NOTHING`, 2, s.Former, bindParty)
}

func (s *save) writeCounts() error {
	for _, v := range frame.Verdicts {
		if s.Counts[v] == 0 {
			continue
		}
		for _, statement := range []condition{
			{`INSERT INTO verdicts (verdict, frames) VALUES (?, 0) ON CONFLICT (verdict) DO NOTHING`, []any{string(v)}},
			{`UPDATE verdicts SET frames = frames + ? WHERE verdict = ?`, []any{s.Counts[v], string(v)}},
		} {
			if _, err := s.t.q.ExecContext(s.t.ctx, statement.text, statement.args...); err != nil {
				return err
			}
		}
	}
	return nil
}
