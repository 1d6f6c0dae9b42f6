package index

import (
	"context"
	"errors"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// Reasons why a transaction is dropped. docs/spec/index.md, "Events".
const (
	ReasonDoubleSpent = "double_spent" // a block spends what it spends
	ReasonReorganised = "reorganised"  // a coinbase whose block left the chain
	ReasonEvicted     = "evicted"      // the node no longer has it
	ReasonExpired     = "expired"      // no block took it for too long
)

// ErrNotNext says that a block doesn't follow the index's tip: whoever asked has
// an older picture of the index.
var ErrNotNext = errors.New("the block doesn't follow the index's tip")

// A Writer turns blocks and unconfirmed transactions into decisions, records and
// events, each call in one transaction of the store. One goroutine owns it.
type Writer struct {
	store Store
	rules Rules
	wake  func()
	// pending are the facts after all unconfirmed frames, or nil when they must
	// be folded anew. A copy of what the store says, never more.
	pending *Facts
	at      nprotocol.Moment // where unconfirmed frames stand, by the tip of pending
	told    func([]*Event)
}

// NewWriter returns a writer of the store. wake, if not nil, is called after
// each commit that left events.
func NewWriter(store Store, rules Rules, wake func()) *Writer {
	if wake == nil {
		wake = func() {}
	}
	return &Writer{store: store, rules: rules, wake: wake}
}

// OnCommit has told called with the events of each commit, in their order, before
// wake. They are the writer's: whoever is told only looks, and doesn't keep them.
func (w *Writer) OnCommit(told func(events []*Event)) { w.told = told }

// Tip returns the block that the index ends with.
func (w *Writer) Tip(ctx context.Context) (tip Tip, err error) {
	err = w.store.View(ctx, func(v View) error {
		tip, err = v.Tip()
		return err
	})
	return tip, err
}

// BlockAt returns the index's block at a height, or ErrNotFound.
func (w *Writer) BlockAt(ctx context.Context, height int32) (tip Tip, err error) {
	err = w.store.View(ctx, func(v View) error {
		tip, err = v.BlockAt(height)
		return err
	})
	return tip, err
}

// update runs one transaction of the store. When it fails, the facts that were
// carried along are forgotten.
func (w *Writer) update(ctx context.Context, write func(*change) error) error {
	var c *change
	err := w.store.Update(ctx, func(tx Tx) error {
		c = &change{Tx: tx, rules: &w.rules, pending: w.pending, at: w.at}
		if err := write(c); err != nil {
			return err
		}
		return tx.AppendEvents(c.events)
	})
	if err != nil {
		w.pending = nil
		return err
	}
	w.pending, w.at = c.pending, c.at
	if len(c.events) > 0 {
		if w.told != nil {
			w.told(c.events)
		}
		w.wake()
	}
	return nil
}

// Connect appends blocks to the chain. It fails with ErrNotNext when they don't
// follow the tip.
func (w *Writer) Connect(ctx context.Context, blocks []*Block) error {
	return w.update(ctx, func(c *change) error {
		if err := c.connect(blocks); err != nil {
			return err
		}
		return c.rejudge()
	})
}

// Disconnect removes the blocks above a height, tip first. Their transactions
// are unconfirmed again, in the order in which they were first seen; those of
// coinbases are dropped.
func (w *Writer) Disconnect(ctx context.Context, height int32) error {
	return w.update(ctx, func(c *change) error {
		if err := c.disconnect(height); err != nil {
			return err
		}
		return c.rejudge()
	})
}

// Seen adds unconfirmed transactions in the order given. Those that the index
// has already are passed over. It returns, for each transaction, how the index
// judges its frames after that: those that it had already have the decisions of
// where they stand, which may be a block.
func (w *Writer) Seen(ctx context.Context, txs []*Transaction) (decisions [][]Decision, err error) {
	err = w.update(ctx, func(c *change) (err error) {
		decisions, err = c.see(txs)
		return err
	})
	if err != nil {
		return nil, err // what was decided isn't saved
	}
	return decisions, nil
}

// Drop says that unconfirmed transactions are gone, with the reason.
func (w *Writer) Drop(ctx context.Context, txids []frame.Hash, reason string) error {
	return w.update(ctx, func(c *change) error {
		dropped, err := c.drop(txids, reason)
		if err != nil || dropped == 0 {
			return err
		}
		return c.rejudge()
	})
}

// Headers calls yield with the headers of the index's blocks, oldest first.
func (w *Writer) Headers(ctx context.Context, yield func(height int32, header [80]byte) error) error {
	return w.store.View(ctx, func(v View) error {
		for from := int32(0); ; {
			tips, err := v.Blocks(from, 2000)
			if err != nil || len(tips) == 0 {
				return err
			}
			for _, t := range tips {
				if err := yield(t.Height, t.Header); err != nil {
					return err
				}
				from = t.Height + 1
			}
		}
	})
}

// Unconfirmed returns the unconfirmed transactions in the order first seen.
func (w *Writer) Unconfirmed(ctx context.Context) (txs []*Transaction, err error) {
	err = w.store.View(ctx, func(v View) error {
		saved, err := v.Unconfirmed()
		if err != nil {
			return err // what came with it may be half read
		}
		for _, s := range saved {
			txs = append(txs, s.transaction())
		}
		return nil
	})
	return txs, err
}
