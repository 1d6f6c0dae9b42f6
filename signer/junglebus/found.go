package junglebus

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

// A Coin is an output that pays a key and that no transaction the service knows of
// spends.
type Coin struct {
	TxID     frame.Hash
	Output   uint32
	Satoshis uint64
	Key      frame.KeyHash
	Waiting  bool // its transaction is in no block yet
}

// Found is what the transactions of some keys hold.
type Found struct {
	Coins []Coin // in the order in which their transactions were listed

	keys     map[frame.KeyHash]bool
	others   map[frame.KeyHash]bool
	order    []frame.Hash // of the transactions, as they were listed
	txs      map[frame.Hash]*transaction
	spenders map[outpoint]frame.Hash
	bytes    int64 // of all that was read
}

type outpoint struct {
	tx     frame.Hash
	output uint32
}

// A transaction is one that the service listed, or named.
type transaction struct {
	raw     []byte
	waiting bool
	failed  error // why raw is missing, or not to be believed
	pays    []Coin
	spends  []input
}

type input struct {
	spends outpoint
	key    frame.KeyHash // that signed, where the script tells
}

func newFound(q Query) *Found {
	f := &Found{keys: map[frame.KeyHash]bool{}, others: map[frame.KeyHash]bool{}, txs: map[frame.Hash]*transaction{}, spenders: map[outpoint]frame.Hash{}}
	for _, k := range q.Keys {
		f.keys[k] = true
	}
	for _, k := range q.Others {
		f.others[k] = true
	}
	return f
}

// list adds a transaction that is to be read.
func (f *Found) list(e listed) {
	t := f.txs[e.id]
	if t == nil {
		t = &transaction{waiting: true}
		f.txs[e.id] = t
		f.order = append(f.order, e.id)
	}
	t.waiting = t.waiting && !e.mined
}

// parse reads what a transaction pays and spends. It fails with a
// *signer.TransactionError.
func (t *transaction) parse(raw []byte) error {
	tx, err := signer.ParseTransaction(raw)
	if err != nil {
		return err
	}
	for _, in := range tx.Inputs {
		id, err := frame.ParseHash(in.PreviousTxIDStr())
		if err != nil {
			return err
		}
		i := input{spends: outpoint{id, in.PreviousTxOutIndex}}
		if in.UnlockingScript != nil {
			if key, ok := frame.SpendPublicKey(*in.UnlockingScript); ok {
				i.key = frame.HashKey(key)
			}
		}
		t.spends = append(t.spends, i)
	}
	for n, out := range tx.Outputs {
		key, ok := frame.PayToPublicKeyHash(*out.LockingScript)
		if ok && out.Satoshis > 0 && n <= math.MaxUint32 {
			t.pays = append(t.pays, Coin{Output: uint32(n), Satoshis: out.Satoshis, Key: key})
		}
	}
	t.raw = raw
	return nil
}

// take notes what a transaction that was read spends.
func (f *Found) take(id frame.Hash) {
	t := f.txs[id]
	for _, in := range t.spends {
		if f.keys[in.key] || f.pays(in.spends) {
			f.spenders[in.spends] = id
		}
	}
}

// pays tells whether an output is of a listed transaction.
func (f *Found) pays(at outpoint) bool { return f.txs[at.tx] != nil }

// unspent returns the outputs that pay the keys and that no listed transaction
// spends; and those beside them that pay other keys.
func (f *Found) unspent() (coins []Coin) {
	for _, id := range f.order {
		list := f.unspentOf(id)
		if slices.ContainsFunc(list, func(c Coin) bool { return f.keys[c.Key] }) {
			coins = append(coins, list...)
		}
	}
	return coins
}

func (f *Found) unspentOf(id frame.Hash) (coins []Coin) {
	t := f.txs[id]
	for _, c := range t.pays {
		if _, spent := f.spenders[outpoint{id, c.Output}]; !spent && (f.keys[c.Key] || f.others[c.Key]) {
			c.TxID, c.Waiting = id, t.waiting
			coins = append(coins, c)
		}
	}
	return coins
}

// claimed notes that the service says of a coin that a transaction spends it. Where
// that one was read and doesn't, the coin's own is left out with it: either the coin
// is spent by another, or the service lies.
func (f *Found) claimed(c Coin, id frame.Hash) {
	if f.txs[id].failed == nil && f.spenders[outpoint{c.TxID, c.Output}] != id {
		f.txs[c.TxID].failed = fmt.Errorf("the service says that %s spends output %d of it, and it doesn't", id, c.Output)
	}
}

// Failed returns the transactions that the service didn't give as it should, in the
// order in which they were listed. [Found.Raw] says why.
func (f *Found) Failed() (ids []frame.Hash) {
	for _, id := range f.order {
		if f.txs[id].failed != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Raw returns a transaction that was read. It fails with ErrWaiting when it is in no
// block yet, with ErrNotIt, a *signer.TransactionError or another reason why the
// service didn't give it.
func (f *Found) Raw(id frame.Hash) ([]byte, error) {
	t := f.txs[id]
	switch {
	case t == nil:
		return nil, errors.New("the service doesn't list it")
	case t.failed != nil:
		return nil, t.failed
	case t.waiting:
		return nil, ErrWaiting
	}
	return t.raw, nil
}

// Spender returns the transaction that was read and spends an output.
func (f *Found) Spender(id frame.Hash, output uint32) (frame.Hash, bool) {
	spender, ok := f.spenders[outpoint{id, output}]
	return spender, ok
}
