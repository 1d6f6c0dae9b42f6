package chainwatch

import (
	"context"
	"maps"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A mempool is what the follower must know of the sink's unconfirmed
// transactions: what they spend, so that a block which double-spends one drops
// it, since when they wait, and what was proved of them.
type mempool struct {
	spent  Spent
	since  map[frame.Hash]int32 // height of the index when this process first met it
	missed map[frame.Hash]bool  // was not in the node's list when last looked
	proofs *proofs

	weights map[frame.Hash]int64 // what each is counted as
	bytes   int64                // all of them
}

func newMempool(txs []*index.Transaction, height int32) *mempool {
	m := &mempool{spent: Spent{}, since: map[frame.Hash]int32{}, missed: map[frame.Hash]bool{},
		proofs: newProofs(proofsBytes), weights: map[frame.Hash]int64{}}
	m.add(txs, height)
	return m
}

func (m *mempool) add(txs []*index.Transaction, height int32) {
	for _, tx := range txs {
		if _, ok := m.since[tx.ID]; !ok {
			m.since[tx.ID] = height
			m.weights[tx.ID] = weight(tx)
			m.bytes += m.weights[tx.ID]
		}
		for _, o := range tx.Spends {
			m.spent.add(o, tx.ID)
		}
		m.proofs.remember(tx)
	}
}

// remove forgets what is in a block, or gone.
func (m *mempool) remove(gone map[frame.Hash]bool) {
	m.spent.remove(gone)
	m.proofs.forget(gone)
	for id := range gone {
		delete(m.since, id)
		delete(m.missed, id)
		m.bytes -= m.weights[id]
		delete(m.weights, id)
	}
}

// dropWithHeirs forgets what a block double-spends, and with it, as the sink
// does, all that spends what it would have paid.
func (m *mempool) dropWithHeirs(gone map[frame.Hash]bool) {
	if len(gone) == 0 {
		return
	}
	for before := 0; before < len(gone); {
		before = len(gone)
		for key, spenders := range m.spent {
			if !gone[frame.Hash(key[:32])] {
				continue
			}
			for _, id := range spenders {
				gone[id] = true
			}
		}
	}
	m.remove(gone)
}

// has tells whether a transaction is known to be unconfirmed.
func (m *mempool) has(id frame.Hash) bool {
	if m == nil {
		return false
	}
	_, ok := m.since[id]
	return ok
}

// expired returns what has waited for so many blocks.
func (m *mempool) expired(height, blocks int32) []frame.Hash {
	var old []frame.Hash
	for id, since := range m.since {
		if height-since >= blocks {
			old = append(old, id)
		}
	}
	return sorted(old)
}

// evicted returns what was missing from the node's list twice in a row: once may
// be the moment between a mempool and a block.
func (m *mempool) evicted(list []frame.Hash) []frame.Hash {
	there := make(map[frame.Hash]bool, len(list))
	for _, id := range list {
		there[id] = true
	}
	missed := map[frame.Hash]bool{}
	var gone []frame.Hash
	for id := range m.since {
		switch {
		case there[id]:
		case m.missed[id]:
			gone = append(gone, id)
		default:
			missed[id] = true
		}
	}
	m.missed = missed
	return sorted(gone)
}

func sorted(ids []frame.Hash) []frame.Hash {
	slices.SortFunc(ids, func(a, b frame.Hash) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// forget reads the mempool anew before the next block: more or less may be
// unconfirmed than is known here.
func (f *Follower) forget() {
	f.kept = f.unconfirmed()
	f.mempool = nil
}

// loadMempool reads what the sink has unconfirmed, unless it is known.
func (f *Follower) loadMempool(ctx context.Context) error {
	if f.mempool != nil {
		return nil
	}
	txs, err := f.sink.Unconfirmed(ctx)
	if err != nil {
		return err
	}
	f.mempool = newMempool(txs, f.tip)
	f.health.holds(len(f.mempool.since))
	return nil
}

// drop tells the sink that unconfirmed transactions are gone.
func (f *Follower) drop(ctx context.Context, ids []frame.Hash, reason string) error {
	if len(ids) == 0 {
		return nil
	}
	f.config.Logger.Info("unconfirmed transactions are gone", "transactions", len(ids), "reason", reason)
	f.forget() // their heirs are gone too, and if it fails nobody knows
	f.health.saves()
	defer f.health.saved()
	return f.sink.Drop(ctx, ids, reason)
}

// tidy drops what has waited too long, and what the node says it no longer has.
func (f *Follower) tidy(ctx context.Context) error {
	if err := f.loadMempool(ctx); err != nil {
		return err
	}
	if err := f.drop(ctx, f.mempool.expired(f.tip, f.config.Expire), index.ReasonExpired); err != nil {
		return err
	}
	f.makeRoom()
	watcher, ok := f.source.(MempoolWatcher)
	if !ok || f.mempool == nil || len(f.mempool.since) == 0 {
		return nil
	}
	var list []frame.Hash
	var err error
	f.meanwhile(ctx, func() { list, err = watcher.Mempool(ctx) })
	if err != nil || f.mempool == nil {
		return err // what is unconfirmed isn't known for certain now
	}
	return f.drop(ctx, f.mempool.evicted(list), index.ReasonEvicted)
}

// conflicting returns a copy of what unconfirmed transactions spend, for those
// who scan blocks meanwhile.
func (m *mempool) conflicting() Spent { return maps.Clone(m.spent) }
