package simulate

import (
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
)

// Which coins a transaction spends.
const (
	coinOwn    = 0 // one that nobody else spends
	coinParent = 5 // an output of the transaction made before it; else one of a few that several spend
)

// transaction makes a transaction. It is in no block and no mempool yet.
func (w *world) transaction(op Op) {
	w.coins++
	made := &madeTx{}
	coin := simchain.Coin(uint64(op.Coin))
	switch {
	case op.Coin == coinParent && len(w.txs) > 0:
		made.parent = w.txs[len(w.txs)-1]
		coin = index.Outpoint{TxID: made.parent.tx.id}
	case op.Coin == coinOwn || op.Coin == coinParent:
		coin = simchain.Coin(1000 + w.coins)
	}
	tx := &simchain.Tx{Inputs: []simchain.Input{{Spends: coin, Script: []byte{0x51}}}}
	if op.Payer < peopleCount {
		tx.Inputs[0] = simchain.Spend(coin, publicKeys[op.Payer])
	}
	for i, f := range op.Frames {
		f = w.settled(f, i)
		made.frames = append(made.frames, f)
		tx.Outputs = append(tx.Outputs, simchain.Data(f.script()))
	}
	var paid []simchain.Output
	for i, p := range people {
		if op.Pays>>i&1 == 1 {
			paid = append(paid, simchain.Pay(p.Hash, 1))
		}
	}
	paid = append(paid, fees(op.Fees)...)
	if len(paid) > 0 {
		turn := op.Order % len(paid)
		paid = append(paid[turn:len(paid):len(paid)], paid[:turn]...)
	}
	if op.Order == 3 && len(paid) > 0 { // outputs before the frames, and one of them twice
		tx.Outputs = append(append(paid, paid[0]), tx.Outputs...)
	} else {
		tx.Outputs = append(tx.Outputs, paid...)
	}
	if op.Change && op.Payer < peopleCount {
		tx.Outputs = append(tx.Outputs, simchain.Pay(people[op.Payer].Hash, w.coins))
	}
	made.raw = tx.Bytes()
	made.tx = readTx(made.raw)
	if !slices.ContainsFunc(w.txs, func(m *madeTx) bool { return m.tx.id == made.tx.id }) {
		w.txs = append(w.txs, made)
	}
}

// settled says what a frame is that depends on those made before, the n-th of its
// transaction.
func (w *world) settled(f FrameSpec, n int) FrameSpec {
	if f.Kind == kindAgain {
		f.Kind = kindMessage
		if made := len(w.txs); made > 0 {
			earlier := w.txs[made-1-(f.To+3*f.Name)%made].frames
			return earlier[f.Who%len(earlier)]
		}
	}
	if f.Stamp == stampNext {
		f.Stamp += int(w.coins)*mostFrames + n
	}
	return f
}

func fees(which int) (outputs []simchain.Output) {
	for i, p := range []frame.Protocol{frame.N, frame.P} {
		if which>>i&1 == 1 {
			outputs = append(outputs, simchain.Pay(registration[p], 0))
		}
	}
	return outputs
}

// picked returns the transactions that the numbers stand for, the youngest being 0.
func (w *world) picked(picks []int) (list []*madeTx) {
	for _, p := range picks {
		if len(w.txs) > 0 {
			list = append(list, w.txs[len(w.txs)-1-p%len(w.txs)])
		}
	}
	return list
}

// announce delivers transactions from a mempool: in any order, some twice, some
// never. A node doesn't announce what spends an output of what is gone.
func (w *world) announce(op Op) error {
	var batch [][]byte
	for _, m := range w.picked(op.Picks) {
		if m.parent != nil {
			if t := w.mempool.find(m.parent.tx.id); t != nil && t.state == "dropped" {
				continue
			}
		}
		batch = append(batch, m.raw)
	}
	batch = append(batch, []byte{1, 0, 0, 0, 1}) // and something that is no transaction
	_, err := w.attempt(func() error { return w.follower.Take(w.ctx, batch) })
	return err
}

// evict says of some transactions in the mempool that they are gone.
func (w *world) evict(op Op) error {
	var list []frame.Hash
	for _, m := range w.picked(op.Picks[:min(2, len(op.Picks))]) {
		if t := w.mempool.find(m.tx.id); t != nil && t.state == "seen" {
			list = append(list, m.tx.id)
		}
	}
	_, err := w.attempt(func() error { return (&sink{w.writer, w}).Drop(w.ctx, list, index.ReasonEvicted) })
	return err
}

const (
	hour = 60 * 60
	day  = 24 * hour
)

// clockSteps is how far the time in a header is from that of its parent.
var clockSteps = []int64{600, 1, 30 * day, 0, -2 * hour, 200 * day, year, year - 1, 300 * day, -100 * day}

const clocks = 10

// mine makes blocks on the highest one, or on one below it, and gives the nodes
// the last of them.
func (w *world) mine(op Op) {
	parent := w.highest
	for range op.Back {
		if parent.Parent != nil {
			parent = parent.Parent
		}
	}
	picks := op.Picks
	for i := range op.Count {
		share := (len(picks) + op.Count - i - 1) / (op.Count - i)
		chosen := w.picked(picks[:share])
		picks = picks[share:]
		if op.Whole && i == 0 {
			chosen = w.txs
		}
		txs := w.minable(parent, chosen)
		var coinbase []simchain.Output
		for n, f := range op.Frames {
			coinbase = append(coinbase, simchain.Data(w.settled(f, n).script()), simchain.Pay(people[f.To].Hash, 1))
			coinbase = append(coinbase, fees(3)...)
		}
		step := clockSteps[(op.Clock+i*op.Picks0())%clocks]
		time := max(parent.Header.Time()+step, 1_500_000_000)
		if parent.Height == 0 {
			time = 1_600_000_000
		}
		parent = w.tree.Mine(parent, uint32(min(time, 1<<32-1)), txs, coinbase...)
		w.blocks = append(w.blocks, parent)
	}
	if parent.Height > w.highest.Height {
		w.highest = parent
	}
	w.source.SetTips(parent)
}

// Picks0 is the first of the picks, 0 where there is none.
func (op Op) Picks0() int {
	if len(op.Picks) == 0 {
		return 0
	}
	return op.Picks[0]
}

// minable leaves out what a block after parent can't hold: what its branch has
// already, what spends what is spent there, and what spends an output of
// something that is not there.
func (w *world) minable(parent *simchain.Block, picked []*madeTx) (raw [][]byte) {
	there, spent := map[frame.Hash]bool{}, map[[36]byte]bool{}
	note := func(tx *oracleTx) {
		there[tx.id] = true
		for _, o := range tx.spends {
			spent[o] = true
		}
	}
	for b := parent; b != nil; b = b.Parent {
		for _, tx := range w.read(b) {
			note(tx)
		}
	}
	for _, m := range picked {
		if there[m.tx.id] || slices.ContainsFunc(m.tx.spends, func(o [36]byte) bool { return spent[o] }) || m.parent != nil && !there[m.parent.tx.id] {
			continue
		}
		note(m.tx)
		raw = append(raw, m.raw)
	}
	return raw
}

// oracleChain returns the blocks of a branch with their times.
func (w *world) oracleChain(tip *simchain.Block) (chain []*oracleBlock) {
	var times []int64
	for _, b := range tip.Branch() {
		times = append(times, b.Header.Time())
		chain = append(chain, &oracleBlock{height: b.Height, time: b.Header.Time(), now: median(times), txs: w.read(b)})
	}
	return chain
}
