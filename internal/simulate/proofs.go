package simulate

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// compareProofs checks the proof of each transaction against the block where it
// first stands, and that what is in no block has none.
func (w *world) compareProofs(v index.View, tip index.Tip) error {
	first := map[frame.Hash]*index.Entry{}
	err := v.Confirmed(func(e *index.Entry) error { // in canonical order
		if first[e.Tx.ID] == nil {
			first[e.Tx.ID] = e
		}
		return nil
	})
	if err != nil {
		return err
	}
	for txid, e := range first {
		p, err := v.Proof(txid)
		if err != nil {
			return fmt.Errorf("proof of %s: %w", txid, err)
		}
		block := w.tree.Blocks[tip.Hash].Ancestor(e.Height)
		if p.Height != e.Height || p.Index != e.Tx.Index || p.Block != block.Hash || p.Header != block.Header ||
			!bytes.Equal(p.Raw, block.Txs[e.Tx.Index]) || p.Root(txid) != block.Header.MerkleRoot() {
			return fmt.Errorf("proof of %s: %+v; it is transaction %d of block %d %s", txid, p, e.Tx.Index, e.Height, block.Hash)
		}
		w.stats.Proofs++
	}
	unconfirmed, err := v.Unconfirmed()
	if err != nil {
		return err
	}
	for _, s := range unconfirmed {
		txid := s.Entries[0].Tx.ID
		if _, err := v.Proof(txid); first[txid] == nil && !errors.Is(err, index.ErrNotFound) {
			return fmt.Errorf("proof of %s, which is in no block: %w", txid, err)
		}
	}
	return nil
}
