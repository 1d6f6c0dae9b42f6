package memory

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// A tx is an update under way. It implements [index.Tx]. After a write that
// failed nothing more is written and nothing is committed.
type tx struct {
	view
	failed  error
	ownSeen bool    // seen was copied and may be changed in place
	heights []int32 // that lost their block or gained a transaction
}

// write runs one of the writing methods.
func (t *tx) write(what string, run func() error) error {
	if t.failed == nil {
		t.failed = t.ctx.Err()
	}
	if t.failed != nil {
		return t.failed
	}
	if err := run(); err != nil {
		t.failed = fmt.Errorf("%s: %w", what, err)
	}
	return t.failed
}

// check fails when a transaction is confirmed at a height that has no block, and
// forgets what once was at such heights.
func (t *tx) check() error {
	for _, h := range t.heights {
		if _, ok := t.block(h); ok {
			continue
		}
		if len(t.rowsAt(h)) > 0 {
			return fmt.Errorf("a transaction is confirmed at height %d, which has no block", h)
		}
		t.atHeight.set(h, nil)
	}
	return nil
}

// Lookup implements [index.Tx]. Of an id that is there more than once it gives
// one that is seen, else one that was dropped, else one in a block, of equal ones
// the first. Bodies are left out as in Unconfirmed.
func (t *tx) Lookup(txids []frame.Hash) (map[frame.Hash]*index.Saved, error) {
	rank := map[index.State]int{index.Seen: 0, index.Dropped: 1, index.Confirmed: 2}
	found := make(map[frame.Hash]*index.Saved)
	for _, id := range txids {
		rows := t.byTxID.get(id)
		if len(rows) == 0 {
			continue
		}
		found[id] = t.saved(slices.MinFunc(rows, func(a, b int64) int {
			return cmp.Compare(rank[t.txs.get(a).state], rank[t.txs.get(b).state])
		}))
	}
	return found, t.ctx.Err()
}

// AtHeight implements [index.Tx]. Bodies are left out as in Unconfirmed.
func (t *tx) AtHeight(height int32) ([]*index.Saved, error) {
	var list []*index.Saved
	for _, row := range t.rowsAt(height) {
		list = append(list, t.saved(row))
	}
	return list, t.ctx.Err()
}

// PutBlock implements [index.Tx].
func (t *tx) PutBlock(b *index.Block, stateHash [32]byte) error {
	return t.write("save block", func() error {
		tip, err := t.Tip()
		if err != nil {
			return err
		}
		if tip.Height >= 0 && b.Height != tip.Height+1 || b.Height < 0 {
			return fmt.Errorf("height %d doesn't follow %d", b.Height, tip.Height)
		}
		t.blocks = append(t.blocks, index.Tip{Height: b.Height, Hash: b.Hash, Header: b.Header, MedianTime: b.MedianTime, StateHash: stateHash})
		return t.putProofs(b)
	})
}

// CutBlocks implements [index.Tx]. Commit fails when a transaction is still
// confirmed at a height that is gone.
func (t *tx) CutBlocks(above int32) error {
	return t.write("cut blocks", func() error {
		n := len(t.blocks)
		for n > 0 && t.blocks[n-1].Height > above {
			n--
			t.heights = append(t.heights, t.blocks[n].Height)
			t.proofs.set(t.blocks[n].Height, nil)
		}
		t.blocks = t.blocks[:n:n] // views may still read what comes after
		return nil
	})
}

// PutNames implements [index.Tx].
func (t *tx) PutNames(names []*nprotocol.Name) error {
	return t.write("save names", func() error {
		for _, n := range names {
			c := *n
			t.names.set(n.Name, &c)
		}
		return nil
	})
}

// PutPeers implements [index.Tx].
func (t *tx) PutPeers(peers []*nprotocol.Peer) error {
	return t.write("save peers", func() error {
		for _, p := range peers {
			c := *p
			t.peers.set(p.PeerKey, &c)
		}
		return nil
	})
}

// DeleteNames implements [index.Tx].
func (t *tx) DeleteNames(names []string) error {
	return t.write("delete names", func() error {
		for _, name := range names {
			t.names.set(name, nil)
		}
		return nil
	})
}

// DeletePeers implements [index.Tx].
func (t *tx) DeletePeers(peers []nprotocol.PeerKey) error {
	return t.write("delete peers", func() error {
		for _, key := range peers {
			t.peers.set(key, nil)
		}
		return nil
	})
}

// ValidRecords implements [index.Tx].
func (t *tx) ValidRecords(names []string, peers []nprotocol.PeerKey, yield func(*nprotocol.Record, nprotocol.Moment) error) error {
	var arrivals []int64
	for _, name := range names {
		arrivals = append(arrivals, t.byName.get(name)...)
	}
	for _, key := range peers {
		arrivals = append(arrivals, t.byPeer.get(key)...)
	}
	type found struct {
		arrival int64
		record  *nprotocol.Record
		moment  nprotocol.Moment
	}
	var list []found
	for _, a := range arrivals {
		f := t.frames.get(a)
		if !t.isFact(f) {
			continue
		}
		tx := t.txs.get(f.row)
		b, ok := t.block(tx.height)
		if !ok {
			return fmt.Errorf("no block at height %d", tx.height)
		}
		at := nprotocol.Position{Height: tx.height, Index: tx.tx.Index, Output: f.frame.Output}
		list = append(list, found{a, f.frame.Record, nprotocol.Moment{Position: at, Time: timeOf(&b), Now: b.MedianTime}})
	}
	slices.SortFunc(list, func(a, b found) int {
		return cmp.Or(a.moment.Compare(b.moment.Position), cmp.Compare(a.arrival, b.arrival))
	})
	list = slices.CompactFunc(list, func(a, b found) bool { return a.arrival == b.arrival })
	for _, f := range list {
		if err := yield(f.record, f.moment); err != nil {
			return err
		}
	}
	return t.ctx.Err()
}

// AppendEvents implements [index.Tx].
func (t *tx) AppendEvents(events []*index.Event) error {
	return t.write("save events", func() error {
		for _, e := range events {
			if e.Arrival != 0 && t.frames.get(e.Arrival) == nil {
				return fmt.Errorf("an event of arrival %d, which isn't there", e.Arrival)
			}
			e.Seq = int64(len(t.events)) + 1
			c := *e
			c.Entry = nil
			t.events = append(t.events, &c)
		}
		return nil
	})
}
