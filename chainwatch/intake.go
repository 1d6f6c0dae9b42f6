package chainwatch

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Errors of [Follower.Offer]. Neither says that the transaction won't be taken
// in: it comes again from the source when a node announces it, or in a block.
var (
	ErrBusy    = errors.New("the follower is busy: the transaction waits to be announced")
	ErrFull    = errors.New("as many transactions wait for a block as are kept: this one is taken in when it is in one")
	ErrStopped = errors.New("the follower has ended")
)

const (
	takeBatch   = 4096     // transactions taken in at once
	offersBytes = 64 << 20 // of transactions that wait to be taken in
	farBehind   = 10       // blocks to connect in one go, from which on nobody waits for their end
)

// An offer is a transaction that a node has taken, handed in by who submitted it.
type offer struct {
	tx     *index.Transaction
	size   int64
	answer chan answer // has room for the one that is sent
}

type answer struct {
	decisions []index.Decision
	err       error
}

// The intake is how transactions reach the follower beside its source.
type intake struct {
	offers  chan *offer
	bytes   atomic.Int64  // of what is in offers
	behind  atomic.Bool   // many blocks are being connected
	stopped chan struct{} // closed when Run ends
}

func newIntake() intake {
	return intake{offers: make(chan *offer, takeBatch), stopped: make(chan struct{})}
}

// Offer hands in a proved transaction with frames that a node has accepted, of so
// many bytes on the wire, and waits until the sink has committed it. It returns
// how its frames are judged. Offers that wait are committed together, and it
// doesn't matter that the source delivers the transaction too.
//
// It fails with ErrBusy when too much waits or the follower is far behind, with
// ErrFull when Config.Unconfirmed are kept, with ErrStopped, with ctx, or with what the sink fails with. After ctx has ended the
// offer still stands.
func (f *Follower) Offer(ctx context.Context, tx *index.Transaction, size int) ([]index.Decision, error) {
	in := &f.intake
	o := &offer{tx: tx, size: int64(size), answer: make(chan answer, 1)}
	if in.behind.Load() {
		return nil, ErrBusy
	}
	if in.bytes.Add(o.size) > offersBytes {
		in.bytes.Add(-o.size)
		return nil, ErrBusy
	}
	select {
	case in.offers <- o:
	default:
		in.bytes.Add(-o.size)
		return nil, ErrBusy
	}
	select {
	case a := <-o.answer:
		return a.decisions, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-in.stopped:
	}
	select {
	case a := <-o.answer: // the last that was done
		return a.decisions, a.err
	default:
		return nil, ErrStopped
	}
}

// A taking is what is taken in at once.
type taking struct {
	raw    [][]byte // of the source
	offers []*offer
}

// waiting adds what else waits, in the order in which each came.
func (f *Follower) waiting(t *taking) {
	for len(t.raw)+len(t.offers) < takeBatch {
		select {
		case raw := <-f.source.Transactions():
			t.raw = append(t.raw, raw)
		case o := <-f.intake.offers:
			t.offers = append(t.offers, o)
		default:
			return
		}
	}
}

// wait takes in mempool transactions until something says that there may be new
// blocks, or it is time to ask anyway.
func (f *Follower) wait(ctx context.Context) {
	timer := time.NewTimer(f.config.Poll)
	defer timer.Stop()
	f.health.rests(true)
	defer f.health.rests(false)
	for {
		var t taking
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-f.source.Wake():
			return
		case raw := <-f.source.Transactions():
			t.raw = append(t.raw, raw)
		case o := <-f.intake.offers:
			t.offers = append(t.offers, o)
		}
		f.waiting(&t)
		if err := f.take(ctx, &t); err != nil {
			f.config.Logger.Warn("saving unconfirmed transactions", "error", err)
			return
		}
	}
}

// meanwhile takes in what is offered while something else is waited for that
// touches nothing of the follower's: an answer of the source, or a while.
func (f *Follower) meanwhile(ctx context.Context, do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	for {
		select {
		case <-done:
			return
		case o := <-f.intake.offers:
			t := taking{offers: []*offer{o}}
			f.waitingOffers(&t)
			if err := f.take(ctx, &t); err != nil && ctx.Err() == nil {
				f.config.Logger.Warn("saving unconfirmed transactions", "error", err)
			}
		}
	}
}

func (f *Follower) waitingOffers(t *taking) {
	for len(t.offers) < takeBatch {
		select {
		case o := <-f.intake.offers:
			t.offers = append(t.offers, o)
		default:
			return
		}
	}
}

// Take takes in transactions that entered a mempool, in the order given. What
// carries no frame, or is no transaction, is passed over.
func (f *Follower) Take(ctx context.Context, batch [][]byte) error {
	return f.take(ctx, &taking{raw: batch})
}

// take saves a taking, and answers the offers in it.
func (f *Follower) take(ctx context.Context, t *taking) error {
	txs := f.admit(t)
	if len(txs) == 0 {
		return nil
	}
	ProveAll(context.WithoutCancel(ctx), txs[len(t.offers):], f.config.Params.Network) // all of them: the judge takes no others
	f.health.saves()
	decisions, err := f.sink.Seen(ctx, txs)
	f.health.saved()
	for i, o := range t.offers {
		a := answer{err: err}
		if err == nil {
			a.decisions = decisions[i]
		}
		o.answer <- a
	}
	if err != nil {
		f.forget() // they may be saved all the same: a commit's answer can be lost
		return err
	}
	if f.mempool != nil {
		f.mempool.add(txs, f.tip)
		f.health.holds(len(f.mempool.since))
		return nil
	}
	for _, tx := range txs {
		f.kept.add(tx)
	}
	return nil
}

// read reads those of the source's transactions that carry frames and that are
// neither unconfirmed already nor offered in the same taking: no signature of
// theirs is looked at again.
func (f *Follower) read(batch [][]byte, offered []*index.Transaction) []*index.Transaction {
	known := make(map[frame.Hash]bool, len(offered))
	for _, tx := range offered {
		known[tx.ID] = true
	}
	var txs []*index.Transaction
	for _, raw := range batch {
		if _, ours, err := walk(raw, nil); err != nil || !ours {
			continue
		}
		tx, err := ReadTransaction(raw, f.config.Params.Network)
		if err != nil || known[tx.ID] || f.mempool.has(tx.ID) {
			continue
		}
		txs = append(txs, tx)
	}
	return txs
}
