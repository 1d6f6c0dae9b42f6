package sqlite

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// Proof implements [index.View].
func (v *view) Proof(txid frame.Hash) (*index.Proof, error) {
	return rows.ProofOf(v, txid, func(height int32, place uint32) (g *rows.Group, err error) {
		err = v.first(`SELECT id, data FROM proofs WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1`, func(s *statement) error {
			g = &rows.Group{Place: rows.PlaceOfKey(s.ColumnInt64(0)), Data: s.read(1)}
			return nil
		}, number(rows.ProofKey(height, 0)), number(rows.ProofKey(height, place)))
		return g, err
	})
}

// putProofs saves the proofs of a block.
func (t *tx) putProofs(b *index.Block) error {
	for g, err := range rows.Groups(b) {
		if err == nil {
			err = t.run(`INSERT INTO proofs (id, data) VALUES (?, ?)`, number(rows.ProofKey(b.Height, g.Place)), blob(g.Data))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cutProofs removes the proofs of the blocks above a height, -1 or more.
func (t *tx) cutProofs(above int32) error {
	return t.run(`DELETE FROM proofs WHERE id >= ?`, number(rows.ProofKey(max(above, -1), 0)+1<<32))
}
