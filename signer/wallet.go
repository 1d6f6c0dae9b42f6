package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/metaim/metaim/improtocol/frame"
)

// Options say how a wallet works. Network is needed, the rest has defaults.
type Options struct {
	Network frame.Network
	Keys    []Key   // whose coins are tracked, and who can pay
	Journal string  // path of the file that remembers; empty is memory only
	MaxSize int     // of a transaction that is built, in bytes; 0 is DefaultMaxSize
	MaxRate FeeRate // highest fee rate paid; zero is DefaultMaxFeeRate
}

// DefaultMaxSize is the size in bytes at which many services stop.
const DefaultMaxSize = 100_000

// A Wallet tracks the coins of its keys (unspent P2PKH outputs) from the raw
// transactions that it is shown, and spends them. What it builds is pending until
// [Wallet.Accept] or [Wallet.Release]; its change can be spent at once. With a
// journal, what a method returned survives a crash, and one process at a time
// has it open. Its methods may be called from many goroutines.
type Wallet struct {
	network frame.Network
	keys    map[frame.KeyHash]Key
	maxSize int
	maxRate FeeRate
	check   func(raw []byte, spent []*coin) error // runs the scripts
	unlock  func() error                          // of the journal's lock

	mu     sync.Mutex
	ledger *ledger
	broken error    // why it refuses everything: closed, or the journal failed
	log    *journal // nil in memory
}

// Reasons why a wallet refuses.
var (
	ErrClosed             = errors.New("the wallet is closed")
	ErrUnknownTransaction = errors.New("no transaction of this wallet has this id")
	ErrAccepted           = errors.New("the transaction was accepted")
	ErrNoKey              = errors.New("the wallet doesn't hold the key that should pay")
)

// OpenWallet makes a wallet, from its journal if one is named. When another
// process has the journal open it waits until ctx ends, then fails with a
// *LockError that says who. It fails with ErrJournal or a *ModeError and then
// leaves the file as it is.
func OpenWallet(ctx context.Context, o Options) (*Wallet, error) {
	if _, err := frame.ParseNetwork(string(o.Network)); err != nil {
		return nil, err
	}
	w := &Wallet{network: o.Network, keys: map[frame.KeyHash]Key{}, maxSize: o.MaxSize, maxRate: o.MaxRate, check: runScripts}
	for _, k := range o.Keys {
		if !k.Valid() {
			return nil, ErrScalar
		}
		w.keys[k.KeyHash()] = k
	}
	if w.maxSize <= 0 {
		w.maxSize = DefaultMaxSize
	}
	if w.maxRate.Bytes == 0 {
		w.maxRate = DefaultMaxFeeRate
	}
	if o.Journal == "" {
		w.ledger = newLedger()
		return w, nil
	}
	if err := os.MkdirAll(filepath.Dir(o.Journal), privateDir); err != nil {
		return nil, err
	}
	unlock, err := lockFile(ctx, o.Journal)
	if err != nil {
		return nil, err
	}
	if w.log, w.ledger, err = openJournal(o.Journal, o.Network); err != nil {
		return nil, errors.Join(err, unlock())
	}
	w.unlock = unlock
	return w, nil
}

// Close makes the journal durable and lets others open it. The wallet then
// refuses everything with ErrClosed.
func (w *Wallet) Close() error {
	w.mu.Lock()
	closed := errors.Is(w.broken, ErrClosed)
	w.broken = ErrClosed
	w.mu.Unlock()
	if closed || w.log == nil {
		return nil
	}
	return errors.Join(w.log.close(), w.unlock())
}

// Added is what a wallet learnt from a transaction.
type Added struct {
	TxID     frame.Hash
	Coins    int    // outputs that pay to its keys
	Satoshis uint64 // in them
	New      bool   // whether anything of it was unknown
	// Dropped are transactions that this one contradicts, with all that build on
	// them: it spends the same coins.
	Dropped []frame.Hash
}

// Add shows the wallet a raw transaction that the network has. Outputs that pay
// to its keys become coins, inputs that spend its coins mark them as spent, and
// a pending transaction becomes accepted. Shown again it changes nothing, and the
// order in which transactions are shown doesn't matter. It fails with a
// *TransactionError. A transaction that was merely received from a stranger and
// not accepted by anyone must not be shown: it is believed. A coinbase is to be
// shown when it has matured.
func (w *Wallet) Add(raw []byte) (Added, error) {
	tx, err := readTransaction(raw)
	if err != nil {
		return Added{}, err
	}
	r := record{Op: opAdd, Tx: txid(frame.HashOf(raw))}
	added := Added{TxID: frame.Hash(r.Tx)}
	r.Creates = w.own(tx.outputs)
	for _, m := range r.Creates {
		added.Coins++
		added.Satoshis += m.Satoshis
	}
	err = w.change(true, func() (*record, error) {
		r.Spends = w.spentBy(tx.inputs)
		added.New = w.ledger.changes(r)
		if !added.New {
			return nil, nil
		}
		return &r, nil
	}, &added.Dropped)
	return added, err
}

// own returns the outputs that pay to keys of the wallet.
func (w *Wallet) own(outputs []rawOutput) (coins []made) {
	for i, out := range outputs {
		hash, ok := frame.PayToPublicKeyHash(out.script)
		if _, ours := w.keys[hash]; ok && ours && out.satoshis > 0 && uint64(i) <= math.MaxUint32 {
			coins = append(coins, made{uint32(i), out.satoshis, keyHash(hash)})
		}
	}
	return coins
}

// spentBy returns the inputs that spend coins of the wallet: known ones, and
// ones that a key of the wallet signed for, which may be shown later.
func (w *Wallet) spentBy(inputs []rawInput) (spends []outpoint) {
	for _, in := range inputs {
		key, ok := frame.SpendPublicKey(in.script)
		if ok {
			_, ok = w.keys[frame.HashKey(key)]
		}
		if _, known := w.ledger.coins[in.spends]; ok || known {
			spends = append(spends, in.spends)
		}
	}
	return spends
}

// Accept says that the network took a transaction that was built, even one that
// was released before: what then contradicts it is dropped. It fails with
// ErrUnknownTransaction. After a crash of the machine the transaction may be
// pending again: to submit and accept it twice does no harm.
func (w *Wallet) Accept(id frame.Hash) error {
	return w.change(false, func() (*record, error) {
		e := w.ledger.txs[id]
		if e == nil {
			return nil, fmt.Errorf("accept %s: %w", id, ErrUnknownTransaction)
		}
		if e.state == accepted {
			return nil, nil
		}
		return &record{Op: opAccept, Tx: txid(id)}, nil
	}, nil)
}

// Release says that the network refused a transaction that was built: its coins
// can be spent again. Pending transactions that spend its change go with it; all
// ids are returned, its own first. Released again it returns none. It fails with
// ErrUnknownTransaction, or with ErrAccepted when the transaction, or one that
// spends its change, was accepted.
func (w *Wallet) Release(id frame.Hash) (released []frame.Hash, err error) {
	err = w.change(true, func() (*record, error) {
		e := w.ledger.txs[id]
		switch {
		case e == nil:
			return nil, fmt.Errorf("release %s: %w", id, ErrUnknownTransaction)
		case e.state == accepted:
			return nil, fmt.Errorf("release %s: %w", id, ErrAccepted)
		case e.state == dropped:
			return nil, nil
		}
		if child := w.ledger.builtUpon(e); child != nil {
			return nil, fmt.Errorf("release %s: %s spends its change: %w", id, child.id, ErrAccepted)
		}
		return &record{Op: opRelease, Tx: txid(id)}, nil
	}, &released)
	return released, err
}

// change runs decide under the lock, then writes the record that it returns, if
// any, and folds it in. With durable it returns when the record can't be lost.
func (w *Wallet) change(durable bool, decide func() (*record, error), lost *[]frame.Hash) error {
	end, err := w.changeLocked(decide, lost)
	if err != nil || end == 0 || !durable {
		return err
	}
	if err := w.log.sync(end); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.fail(err)
	}
	return nil
}

func (w *Wallet) changeLocked(decide func() (*record, error), lost *[]frame.Hash) (end int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return 0, w.broken
	}
	r, err := decide()
	if err != nil || r == nil {
		return 0, err
	}
	if w.log != nil {
		if end, err = w.log.append(*r); err != nil {
			return 0, w.fail(err)
		}
	}
	dropped, err := w.ledger.apply(*r)
	if err != nil {
		return 0, w.fail(err) // the journal says now what the ledger doesn't
	}
	if lost != nil {
		*lost = dropped
	}
	return end, nil
}

// fail makes the wallet refuse everything: what a failed write left in the
// journal is known only when it is opened again.
func (w *Wallet) fail(err error) error {
	if w.broken == nil {
		w.broken = fmt.Errorf("the wallet must be opened again: %w", err)
	}
	return err
}

// Pending returns the raw transactions that were built and neither accepted nor
// released, in the order in which they were built: after a crash they are to be
// submitted again.
func (w *Wallet) Pending() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	var raws [][]byte
	for _, e := range w.ledger.order {
		if e.state == pending {
			raws = append(raws, bytes.Clone(e.raw))
		}
	}
	return raws
}

// A Balance is what a key has, in satoshis.
type Balance struct {
	Satoshis uint64 // in all coins
	Coins    int    // all
	Dust     int    // coins of 1 satoshi, mostly those that came with messages
	Pending  uint64 // the part of Satoshis that pending transactions made
}

// Balance adds up the coins of a key.
func (w *Wallet) Balance(key frame.KeyHash) Balance {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b Balance
	q := w.ledger.queues[key]
	if q == nil {
		return b
	}
	for _, c := range *q {
		if !c.spendable() {
			continue
		}
		b.Coins++
		b.Satoshis = min(b.Satoshis+c.satoshis, maxSatoshis)
		if c.satoshis == 1 {
			b.Dust++
		}
		if c.maker.state == pending {
			b.Pending = min(b.Pending+c.satoshis, maxSatoshis)
		}
	}
	return b
}
