package simulate

import (
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
)

// A mempool is the oracle's picture of what an index knows of transactions with
// frames: in which order it first met them, and which are unconfirmed. Unlike
// what is confirmed this is a matter of history, so it is told all that was
// committed.
type mempool struct{ met []*metTx }

type metTx struct {
	*oracleTx
	state string // seen, confirmed, dropped
}

func (m *mempool) find(id frame.Hash) *metTx {
	for _, t := range m.met {
		if t.id == id {
			return t
		}
	}
	return nil
}

func (m *mempool) meet(tx *oracleTx) *metTx {
	t := m.find(tx.id)
	if t == nil {
		t = &metTx{oracleTx: tx}
		m.met = append(m.met, t)
	}
	return t
}

// unconfirmed lists what is in the mempool, in the order first met.
func (m *mempool) unconfirmed() (list []*oracleTx) {
	for _, t := range m.met {
		if t.state == "seen" {
			list = append(list, t.oracleTx)
		}
	}
	return list
}

// seen takes in transactions that were announced.
func (m *mempool) seen(txs []*oracleTx) {
	for _, tx := range txs {
		if t := m.meet(tx); t.state != "confirmed" {
			t.state = "seen"
		}
	}
}

// connected takes in blocks that were saved together: what spends the same as a
// transaction of theirs is gone.
func (m *mempool) connected(blocks []*oracleBlock) {
	spent := map[[36]byte]frame.Hash{}
	for _, b := range blocks {
		for _, tx := range b.txs {
			for _, o := range tx.spends {
				spent[o] = tx.id
			}
			if len(tx.frames) > 0 {
				m.meet(tx).state = "confirmed"
			}
		}
	}
	m.drop(func(t *metTx) bool {
		return slices.ContainsFunc(t.spends, func(o [36]byte) bool { by, ok := spent[o]; return ok && by != t.id })
	})
}

// disconnected gives the transactions of blocks back.
func (m *mempool) disconnected(blocks []*oracleBlock) {
	for _, b := range blocks {
		for _, tx := range b.txs {
			t := m.find(tx.id)
			switch {
			case t == nil:
			case tx.coinbase:
				t.state = "dropped"
			default:
				t.state = "seen"
			}
		}
	}
}

// drop takes out transactions, with all that spend what they would have paid.
func (m *mempool) drop(gone func(*metTx) bool) {
	out := map[frame.Hash]bool{}
	for more := true; more; {
		more = false
		for _, t := range m.met {
			heir := slices.ContainsFunc(t.spends, func(o [36]byte) bool { return out[frame.Hash(o[:32])] })
			if t.state == "seen" && (gone(t) || heir) {
				t.state, out[t.id], more = "dropped", true, true
			}
		}
	}
}
