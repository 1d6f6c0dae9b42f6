package chainwatch

import "github.com/metaim/metaim/index"

// An Amount is so many transactions, and what is kept of them: about as many
// bytes.
type Amount struct {
	Transactions int
	Bytes        int64
}

// What a transaction, an output, an input and a frame of it are counted as, in
// bytes, beside what they carry.
const (
	transactionWeight = 300
	outputWeight      = 32
	inputWeight       = 150
	frameWeight       = 300
)

// weight is what an unconfirmed transaction is counted as.
func weight(tx *index.Transaction) int64 {
	n := int64(transactionWeight + len(tx.Outputs)*outputWeight + len(tx.Spends)*inputWeight)
	for _, f := range tx.Frames {
		n += frameWeight
		if m := f.Message; m != nil {
			n += int64(len(m.Source) + len(m.Type) + len(m.Body) + len(m.Other) + len(m.Signature))
		}
	}
	return n
}

func (a *Amount) add(tx *index.Transaction) {
	a.Transactions++
	a.Bytes += weight(tx)
}

// take takes a transaction's place of what is left, if there is enough.
func (a *Amount) take(tx *index.Transaction) bool {
	w := weight(tx)
	if a.Transactions < 1 || a.Bytes < w {
		return false
	}
	a.Transactions--
	a.Bytes -= w
	return true
}

// unconfirmed returns how much is kept, or was when that was last known.
func (f *Follower) unconfirmed() Amount {
	if m := f.mempool; m != nil {
		return Amount{len(m.since), m.bytes}
	}
	return f.kept
}

// room returns how much more may be kept.
func (f *Follower) room() Amount {
	most, kept := f.config.Unconfirmed, f.unconfirmed()
	return Amount{most.Transactions - kept.Transactions, most.Bytes - kept.Bytes}
}

// admit returns what of a taking is to be saved, its offers first; those that
// there is no room for are answered and taken out of it.
func (f *Follower) admit(t *taking) []*index.Transaction {
	txs := make([]*index.Transaction, 0, len(t.offers)+len(t.raw))
	room := f.room()
	admitted := t.offers[:0]
	for _, o := range t.offers {
		f.intake.bytes.Add(-o.size)
		if !f.mempool.has(o.tx.ID) && !room.take(o.tx) {
			f.pass()
			o.answer <- answer{err: ErrFull}
			continue
		}
		admitted, txs = append(admitted, o), append(txs, o.tx)
	}
	t.offers = admitted
	for _, tx := range f.read(t.raw, txs) {
		if !room.take(tx) {
			f.pass()
			continue
		}
		txs = append(txs, tx)
	}
	return txs
}

// pass counts a transaction that there is no room for.
func (f *Follower) pass() {
	if f.passed == 0 {
		kept := f.unconfirmed()
		f.config.Logger.Warn("no more unconfirmed transactions are kept: others are taken in with their blocks",
			"transactions", kept.Transactions, "bytes", kept.Bytes)
	}
	f.passed++
	f.health.pass()
}

// makeRoom asks again for what was passed over, once there is room for a tenth of
// what may be kept.
func (f *Follower) makeRoom() {
	room, most := f.room(), f.config.Unconfirmed
	if f.passed == 0 || room.Transactions < most.Transactions/10 || room.Bytes < most.Bytes/10 {
		return
	}
	f.config.Logger.Info("unconfirmed transactions are kept again", "passed_over", f.passed)
	f.passed = 0
	if s, ok := f.source.(interface{ RequestMempool() }); ok {
		s.RequestMempool()
	}
}
