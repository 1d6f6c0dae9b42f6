package signer

import (
	"context"
	"fmt"
	"slices"

	"github.com/libsv/go-bt/v2"
	"github.com/libsv/go-bt/v2/bscript"
	"github.com/libsv/go-bt/v2/bscript/interpreter"

	"github.com/metaim/metaim/improtocol/frame"
)

// signWith builds and signs the transaction with a given fee and change.
func (p *plan) signWith(fee, change uint64) (*Signed, error) {
	tx := bt.NewTx()
	for _, c := range p.coins {
		if err := tx.FromUTXOs(utxo(c)); err != nil {
			return nil, err
		}
	}
	if len(p.script) > 0 {
		tx.AddOutput(&bt.Output{LockingScript: bscript.NewFromBytes(p.script)})
	}
	for _, out := range p.pay {
		tx.AddOutput(&bt.Output{Satoshis: out.Satoshis, LockingScript: payTo(out.KeyHash)})
	}
	if change > 0 {
		to := p.key.KeyHash()
		if p.rest != nil {
			to = *p.rest
		}
		tx.AddOutput(&bt.Output{Satoshis: change, LockingScript: payTo(to)})
	}
	for i := range p.coins {
		if err := tx.FillInput(context.Background(), unlocker{p.key}, bt.UnlockerParams{InputIdx: uint32(i)}); err != nil {
			return nil, err
		}
	}
	raw := tx.Bytes()
	return &Signed{TxID: frame.HashOf(raw), Raw: raw, Extended: tx.ExtendedBytes(), Fee: fee, Change: change}, nil
}

func utxo(c *coin) *bt.UTXO {
	id := c.at.tx
	slices.Reverse(id[:]) // go-bt keeps ids as people read them
	return &bt.UTXO{TxID: id[:], Vout: c.at.vout, LockingScript: payTo(c.key), Satoshis: c.satoshis}
}

// payTo returns the P2PKH script of a key hash. go-bt's own takes an address,
// and doesn't look at its checksum.
func payTo(h frame.KeyHash) *bscript.Script {
	s := make(bscript.Script, 0, 25)
	s = append(s, bscript.OpDUP, bscript.OpHASH160, bscript.OpDATA20)
	s = append(s, h[:]...)
	s = append(s, bscript.OpEQUALVERIFY, bscript.OpCHECKSIG)
	return &s
}

// An unlocker signs P2PKH inputs. go-bt's own (unlocker.Simple) writes every
// public key compressed, which doesn't spend the coins of an uncompressed one.
type unlocker struct{ key Key }

// UnlockingScript signs one input of a transaction.
func (u unlocker) UnlockingScript(_ context.Context, tx *bt.Tx, p bt.UnlockerParams) (*bscript.Script, error) {
	hash, err := tx.CalcInputSignatureHash(p.InputIdx, p.SigHashFlags)
	if err != nil {
		return nil, err
	}
	sig, err := u.key.private.Sign(hash)
	if err != nil {
		return nil, err
	}
	return bscript.NewP2PKHUnlockingScript(u.key.public, sig.Serialise(), p.SigHashFlags)
}

// runScripts runs every input's scripts over the bytes that will be submitted:
// go-bt signs with a wrong key without complaint.
func runScripts(raw []byte, spent []*coin) error {
	tx, err := ParseTransaction(raw)
	if err != nil {
		return err
	}
	for i, c := range spent {
		output := &bt.Output{Satoshis: c.satoshis, LockingScript: payTo(c.key)}
		err := interpreter.NewEngine().Execute(interpreter.WithTx(tx, i, output),
			interpreter.WithForkID(), interpreter.WithAfterGenesis())
		if err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
	}
	return nil
}

// Extend returns a transaction that this wallet built in extended format
// (BRC-30). It fails with ErrUnknownTransaction when an input spends a coin that
// the wallet doesn't know, and with a *TransactionError.
func (w *Wallet) Extend(raw []byte) ([]byte, error) {
	parts, err := readTransaction(raw)
	if err != nil {
		return nil, err
	}
	tx, err := ParseTransaction(raw)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, in := range parts.inputs {
		c := w.ledger.coins[in.spends]
		if c == nil || c.maker == nil {
			return nil, fmt.Errorf("extend: input %d: %w", i, ErrUnknownTransaction)
		}
		tx.Inputs[i].PreviousTxSatoshis, tx.Inputs[i].PreviousTxScript = c.satoshis, payTo(c.key)
	}
	return tx.ExtendedBytes(), nil
}
