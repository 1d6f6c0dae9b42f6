package postgres

import (
	"cmp"
	"slices"

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
		if s.Save, err = rows.Gather(placed, &t.last.tx, &t.last.frame); err != nil {
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
	const query = `SELECT id, tx, output, height IS NOT NULL, verdict, address FROM frames WHERE tx = ANY ($1::bigint[])`
	had := make(map[int64][]rows.Had, len(txs))
	err := t.each(query, []any{txs}, func(r *row) error {
		h := rows.Had{Arrival: r.integer()}
		tx := r.integer()
		h.Output, h.Confirmed, h.Verdict, h.Address = r.unsigned(), r.flag(), frame.Verdict(r.text()), r.bytes()
		had[tx] = append(had[tx], h)
		return nil
	})
	for _, list := range had {
		slices.SortFunc(list, func(a, b rows.Had) int { return cmp.Compare(a.Arrival, b.Arrival) })
	}
	return had, err
}

// write runs the statements. It stops with the first that fails.
func (s *save) write() error {
	for _, step := range []func() error{s.writeNew, s.writeMoved, s.writeCounts} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *save) writeNew() error {
	err := insert(s.t, txsTable, s.Txs, func(r rows.Tx) []any {
		tx := r.Placed.Tx
		return []any{r.Row, tx.ID[:], string(r.State), rows.NullableHeight(r.Height), rows.Position(r.Placed),
			tx.Coinbase, rows.PackOutputs(tx.Outputs), r.Packed, rows.PackSpends(tx.Spends)}
	})
	if err != nil {
		return err
	}
	if err := insert(s.t, partiesTable, s.Parties, bindParty); err != nil {
		return err
	}
	return insert(s.t, framesTable, s.Frames, bindFrame)
}

func bindParty(r rows.Party) []any { return []any{r.Address[:], r.Of} }

func (s *save) writeMoved() error {
	err := update(s.t, `UPDATE txs SET state = moved.state, height = moved.height, position = moved.position
		FROM unnest(%s) AS moved (id, state, height, position) WHERE txs.id = moved.id`,
		[]string{"bigint", "text", "integer", "bigint"}, s.Moved, func(p *index.Placed) []any {
			return []any{p.Row, string(p.State), rows.NullableHeight(p.Height), rows.Position(p)}
		})
	if err != nil {
		return err
	}
	err = update(s.t, `UPDATE frames SET state = decided.state, height = decided.height, position = decided.position, verdict = decided.verdict,
			address = decided.address, signed_key = decided.signed_key, signed_key2 = decided.signed_key2
		FROM unnest(%s) AS decided (id, state, height, position, verdict, address, signed_key, signed_key2) WHERE frames.id = decided.id`,
		[]string{"bigint", "text", "integer", "bigint", "text", "bytea", "bytea", "bytea"}, s.Decided, func(d rows.Decided) []any {
			key, key2 := rows.SignedKeys(d.Decision)
			return []any{d.Arrival, string(d.Placed.State), rows.NullableHeight(d.Placed.Height), rows.Position(d.Placed),
				string(d.Decision.Verdict), rows.NullableAddress(d.Decision.Address), key, key2}
		})
	if err != nil {
		return err
	}
	return insert(s.t, formerTable, s.Former, bindParty)
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
