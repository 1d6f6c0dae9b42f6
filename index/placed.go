package index

import (
	"errors"
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
)

// A Placed is a transaction with the decisions on its frames, to be saved.
type Placed struct {
	Row       int64 // of the transaction if it is already in the store, else 0
	Tx        *Transaction
	State     State
	Height    int32 // -1 when not confirmed
	Decisions []Decision
}

// Check tells why a store refuses to save it. Of a transaction that is already in
// the store nothing but place, state and decisions is looked at: what it says
// isn't written again, and needn't be whole.
func (p *Placed) Check() error {
	if p.State != Seen && p.State != Confirmed && p.State != Dropped {
		return fmt.Errorf("%q at height %d", p.State, p.Height)
	}
	if (p.State == Confirmed) != (p.Height >= 0) {
		return fmt.Errorf("%s at height %d", p.State, p.Height)
	}
	if len(p.Tx.Frames) == 0 || len(p.Decisions) != len(p.Tx.Frames) {
		return fmt.Errorf("%d decisions on %d frames", len(p.Decisions), len(p.Tx.Frames))
	}
	for _, d := range p.Decisions {
		if len(d.Keys) > 2 || !slices.Contains(frame.Verdicts, d.Verdict) {
			return fmt.Errorf("the verdict %q with %d keys", d.Verdict, len(d.Keys))
		}
	}
	if p.Row != 0 {
		return nil
	}
	if n := len(p.Tx.Amounts); n > 0 && n != len(p.Tx.Outputs) {
		return fmt.Errorf("%d amounts of %d outputs", n, len(p.Tx.Outputs))
	}
	return p.checkNew()
}

func (p *Placed) checkNew() error {
	for _, key := range p.Tx.InputKeys {
		if len(key) == 0 || len(key) > 255 {
			return fmt.Errorf("a public key of %d bytes", len(key))
		}
	}
	for i, f := range p.Tx.Frames {
		if err := f.check(); err != nil {
			return fmt.Errorf("output %d: %w", f.Output, err)
		}
		if keys := len(p.Decisions[i].Keys); keys > len(f.Proofs) {
			return fmt.Errorf("output %d: %d keys made %d signatures", f.Output, keys, len(f.Proofs))
		}
	}
	return nil
}

func (f *Frame) check() error {
	set, signatures := 0, 0
	if f.Malformed != "" {
		set++
	}
	if f.Message != nil {
		set, signatures = set+1, 1
	}
	if f.Record != nil {
		set, signatures = set+1, len(f.Record.Signatures)
		if signatures != len(f.Record.Signers()) {
			return fmt.Errorf("%d signatures of a %s", signatures, f.Record.Operation)
		}
	}
	if set != 1 {
		return errors.New("a frame is one of malformed, message and record")
	}
	if len(f.Proofs) != signatures {
		return fmt.Errorf("%d proofs of %d signatures", len(f.Proofs), signatures)
	}
	return nil
}
