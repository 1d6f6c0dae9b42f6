package postgres

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

var proofsTable = columnsOf("proofs", "", "id bigint", "data bytea")

const proofGroup = `SELECT id, data FROM proofs WHERE id BETWEEN $1 AND $2 ORDER BY id DESC LIMIT 1`

// Proof implements [index.View].
func (v *view) Proof(txid frame.Hash) (*index.Proof, error) {
	return rows.ProofOf(v, txid, func(height int32, place uint32) (*rows.Group, error) {
		var g *rows.Group
		err := v.each(proofGroup, []any{rows.ProofKey(height, 0), rows.ProofKey(height, place)}, func(r *row) error {
			g = &rows.Group{Place: rows.PlaceOfKey(r.integer()), Data: r.bytes()}
			return nil
		})
		if err == nil && g == nil {
			err = index.ErrNotFound
		}
		return g, err
	})
}

// putProofs saves the proofs of a block, much at a time.
func (t *tx) putProofs(b *index.Block) error {
	var groups []rows.Group
	size := 0
	for g, err := range rows.Groups(b) {
		if err != nil {
			return err
		}
		groups, size = append(groups, g), size+len(g.Data)
		if size < muchData {
			continue
		}
		if err := t.copyProofs(b.Height, groups); err != nil {
			return err
		}
		groups, size = nil, 0
	}
	return insert(t, proofsTable, groups, func(g rows.Group) []any { return []any{rows.ProofKey(b.Height, g.Place), g.Data} })
}

func (t *tx) copyProofs(height int32, groups []rows.Group) error {
	return t.copyIn(proofsTable, len(groups), func(dst []byte, i int) []byte {
		dst = appendBigint(fieldsOf(dst, &proofsTable), rows.ProofKey(height, groups[i].Place))
		return appendBytea(dst, groups[i].Data)
	})
}

// cutProofs removes the proofs of the blocks above a height, -1 or more.
func (t *tx) cutProofs(above int32) error {
	return t.exec(`DELETE FROM proofs WHERE id >= $1`, rows.ProofKey(max(above, -1), 0)+1<<32)
}
