package index

import (
	"errors"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// A change is one transaction of the store under way.
type change struct {
	Tx
	rules   *Rules
	events  []*Event
	pending *Facts
	at      nprotocol.Moment // where unconfirmed frames stand, while pending is set
}

func (c *change) connect(blocks []*Block) error {
	tip, err := c.Tip()
	if err != nil {
		return err
	}
	n := newNeeds(c.rules)
	var txids []frame.Hash
	for _, b := range blocks {
		n.add(b.Transactions)
		for _, tx := range b.Transactions {
			txids = append(txids, tx.ID)
		}
	}
	facts, err := n.facts(c)
	if err != nil {
		return err
	}
	saved, err := c.Lookup(txids)
	if err != nil {
		return err
	}
	if tip.Height < 0 {
		tip.StateHash = c.rules.StartHash()
	}
	var conflicts []frame.Hash
	var batch []*confirmation
	names, peers := map[string]bool{}, map[nprotocol.PeerKey]bool{}
	for _, b := range blocks {
		if tip.Height >= 0 && (b.Prev() != tip.Hash || b.Height != tip.Height+1) {
			return fmt.Errorf("block %d %s: %w", b.Height, b.Hash, ErrNotNext)
		}
		decisions := c.judgeBlock(facts, b, names, peers)
		tip = Tip{Height: b.Height, Hash: b.Hash, StateHash: stateHash(tip.StateHash, b, decisions, facts.Ledger)}
		if err := c.PutBlock(b, tip.StateHash); err != nil {
			return err
		}
		batch = append(batch, confirm(b, decisions, saved))
		conflicts = append(conflicts, b.Conflicts...)
	}
	if err := c.saveConfirmed(batch); err != nil {
		return err
	}
	if err := c.putRecords(facts.Ledger, names, peers); err != nil {
		return err
	}
	c.pending = nil
	_, err = c.drop(conflicts, ReasonDoubleSpent)
	return err
}

// judgeBlock judges the frames of a block in order, and notes which records they
// changed.
func (c *change) judgeBlock(facts *Facts, b *Block, names map[string]bool, peers map[nprotocol.PeerKey]bool) [][]Decision {
	decisions := make([][]Decision, len(b.Transactions))
	for i, tx := range b.Transactions {
		decisions[i] = make([]Decision, len(tx.Frames))
		for j, f := range tx.Frames {
			at := nprotocol.Moment{
				Position: nprotocol.Position{Height: b.Height, Index: tx.Index, Output: f.Output},
				Time:     b.Time(), Now: b.MedianTime,
			}
			decisions[i][j] = c.rules.Judge(facts, tx, f, at)
			if decisions[i][j].Verdict == frame.Valid && f.Record != nil {
				touch(f.Record, names, peers)
			}
		}
	}
	return decisions
}

// A confirmation is a block whose transactions are about to be saved, with what
// the store knew of them.
type confirmation struct {
	block  *Block
	placed []*Placed
	before []*Saved // nil where the transaction is new
}

func confirm(b *Block, decisions [][]Decision, saved map[frame.Hash]*Saved) *confirmation {
	n := &confirmation{block: b}
	for i, tx := range b.Transactions {
		p := &Placed{Tx: tx, State: Confirmed, Height: b.Height, Decisions: decisions[i]}
		old := saved[tx.ID]
		if old != nil && old.State == Confirmed {
			old = nil // in a block already: this is a second one of the same bytes
		}
		if old != nil {
			p.Row = old.Row
			delete(saved, tx.ID)
		}
		n.placed = append(n.placed, p)
		n.before = append(n.before, old)
	}
	return n
}

func (c *change) saveConfirmed(batch []*confirmation) error {
	var all []*Placed
	for _, n := range batch {
		all = append(all, n.placed...)
	}
	arrivals, err := c.Save(all)
	if err != nil {
		return err
	}
	for _, n := range batch {
		b := n.block
		c.events = append(c.events, &Event{Kind: EventConnected, Height: b.Height, Block: b.Hash})
		for i, p := range n.placed {
			c.confirmed(b, p, n.before[i], arrivals[i])
		}
		arrivals = arrivals[len(n.placed):]
	}
	return nil
}

// confirmed notes the events of one transaction's frames. What was refused and
// counts now, or the other way round, is said first.
func (c *change) confirmed(b *Block, p *Placed, before *Saved, arrivals []int64) {
	for j, f := range p.Tx.Frames {
		if f.Malformed != "" {
			continue
		}
		e := Event{Height: b.Height, Block: b.Hash, Verdict: p.Decisions[j].Verdict, Arrival: arrivals[j]}
		if before != nil && before.State == Seen && before.Entries[j].Verdict != e.Verdict {
			c.note(e, f, EventRejudged, before.Entries[j].Verdict)
		}
		c.note(e, f, EventConfirmed, "")
	}
}

func (c *change) note(e Event, f *Frame, what string, from frame.Verdict) {
	e.Kind, e.From = KindOf(f.Protocol, what), from
	c.events = append(c.events, &e)
}

func (c *change) putRecords(l *nprotocol.Ledger, names map[string]bool, peers map[nprotocol.PeerKey]bool) error {
	var putNames []*nprotocol.Name
	var gone []string
	for _, name := range sortedNames(names) {
		if n := l.Names[name]; n != nil {
			putNames = append(putNames, n)
		} else {
			gone = append(gone, name)
		}
	}
	var putPeers []*nprotocol.Peer
	var gonePeers []nprotocol.PeerKey
	for _, key := range sortedPeers(peers) {
		if p := l.Peers[key]; p != nil {
			putPeers = append(putPeers, p)
		} else {
			gonePeers = append(gonePeers, key)
		}
	}
	return errors.Join(c.PutNames(putNames), c.PutPeers(putPeers), c.DeleteNames(gone), c.DeletePeers(gonePeers))
}
