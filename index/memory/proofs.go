package memory

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
)

// Proof implements [index.View].
func (v *view) Proof(txid frame.Hash) (*index.Proof, error) {
	return rows.ProofOf(v, txid, func(height int32, place uint32) (*rows.Group, error) {
		var last *rows.Group
		for i, g := range v.proofs.get(height) {
			if g.Place <= place {
				last = &v.proofs.get(height)[i]
			}
		}
		if last == nil {
			return nil, index.ErrNotFound
		}
		return last, v.ctx.Err()
	})
}

// putProofs saves the proofs of a block.
func (t *tx) putProofs(b *index.Block) error {
	var groups []rows.Group
	for g, err := range rows.Groups(b) {
		if err != nil {
			return err
		}
		groups = append(groups, g)
	}
	if groups != nil {
		t.proofs.set(b.Height, groups)
	}
	return nil
}
