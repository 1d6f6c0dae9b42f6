package index

import (
	"math"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// drop marks unconfirmed transactions as gone, and with them all that spend what
// they would have paid, in the order first seen. It tells how many went.
func (c *change) drop(txids []frame.Hash, reason string) (int, error) {
	if len(txids) == 0 {
		return 0, nil
	}
	gone := make(map[frame.Hash]bool, len(txids))
	for _, id := range txids {
		gone[id] = true
	}
	saved, err := c.Unconfirmed()
	if err != nil {
		return 0, err
	}
	heirs(saved, gone)
	var placed []*Placed
	for _, s := range saved {
		tx := s.transaction()
		if !gone[tx.ID] {
			continue
		}
		placed = append(placed, &Placed{Row: s.Row, Tx: tx, State: Dropped, Height: -1, Decisions: s.decisions()})
		for _, e := range s.Entries {
			if e.Malformed == "" {
				c.note(Event{Height: -1, Verdict: e.Verdict, Reason: reason, Arrival: e.Arrival}, e.Frame, EventDropped, "")
			}
		}
	}
	_, err = c.Save(placed)
	return len(placed), err
}

// heirs adds to the set every transaction that spends an output of one in it. A
// parent may have been seen after its child.
func heirs(saved []*Saved, gone map[frame.Hash]bool) {
	for more := true; more; {
		more = false
		for _, s := range saved {
			tx := s.Entries[0].Tx
			heir := func(o Outpoint) bool { return gone[o.TxID] }
			if !gone[tx.ID] && slices.ContainsFunc(tx.Spends, heir) {
				gone[tx.ID], more = true, true
			}
		}
	}
}

// provisional is where unconfirmed frames stand: after all blocks.
func provisional(tip Tip) nprotocol.Moment {
	return nprotocol.Moment{
		Position: nprotocol.Position{Height: tip.Height + 1, Index: math.MaxUint32},
		Time:     tip.MedianTime, Now: tip.MedianTime,
	}
}

// rejudge judges all unconfirmed frames again in the order first seen, saves
// what changed, and keeps the facts for those to come.
func (c *change) rejudge() error {
	tip, err := c.Tip()
	if err != nil {
		return err
	}
	saved, err := c.Unconfirmed()
	if err != nil {
		return err
	}
	n := newNeeds(c.rules)
	txs := make([]*Transaction, len(saved))
	for i, s := range saved {
		txs[i] = s.transaction()
	}
	n.add(txs)
	facts, err := n.facts(c)
	if err != nil {
		return err
	}
	facts.Fork()
	at := provisional(tip)
	var changed []*Placed
	for i, s := range saved {
		p := &Placed{Row: s.Row, Tx: txs[i], State: Seen, Height: -1, Decisions: make([]Decision, len(s.Entries))}
		if c.rejudgeOne(facts, s, p, at) {
			changed = append(changed, p)
		}
	}
	c.pending, c.at = facts, at
	_, err = c.Save(changed)
	return err
}

// rejudgeOne judges a transaction's frames again and tells whether anything
// changed.
func (c *change) rejudgeOne(facts *Facts, s *Saved, p *Placed, at nprotocol.Moment) (changed bool) {
	for j, e := range s.Entries {
		d := c.rules.Judge(facts, p.Tx, e.Frame, at)
		p.Decisions[j] = d
		if d.Verdict != e.Verdict {
			changed = true
			c.note(Event{Height: -1, Verdict: d.Verdict, Arrival: e.Arrival}, e.Frame, EventRejudged, e.Verdict)
		}
		if (d.Address == nil) != (e.Address == nil) || d.Address != nil && *d.Address != *e.Address {
			changed = true
		}
	}
	return changed
}

// see takes in unconfirmed transactions, and tells how the frames of each are
// judged now, of those that the index had already as well.
func (c *change) see(txs []*Transaction) ([][]Decision, error) {
	if c.pending == nil {
		if err := c.rejudge(); err != nil {
			return nil, err
		}
	}
	txids := make([]frame.Hash, len(txs))
	for i, tx := range txs {
		txids[i] = tx.ID
	}
	saved, err := c.Lookup(txids)
	if err != nil {
		return nil, err
	}
	var fresh []*Transaction
	var placed []*Placed
	back := false // some were dropped and are back, at their old place in the order
	decided := make(map[frame.Hash]*Placed, len(txs))
	for _, tx := range txs {
		old := saved[tx.ID]
		if decided[tx.ID] != nil {
			continue
		}
		if old != nil && old.State != Dropped {
			decided[tx.ID] = &Placed{Decisions: old.decisions()}
			continue
		}
		p := &Placed{Tx: tx, State: Seen, Height: -1}
		if old != nil {
			p.Row, back = old.Row, true
		}
		decided[tx.ID] = p
		fresh = append(fresh, tx)
		placed = append(placed, p)
	}
	if len(fresh) > 0 {
		if err := c.seeFresh(fresh, placed); err != nil {
			return nil, err
		}
	}
	if back {
		return c.seeAgain(txids)
	}
	decisions := make([][]Decision, len(txs))
	for i, id := range txids {
		decisions[i] = decided[id].Decisions
	}
	return decisions, nil
}

// seeAgain judges everything in its order, which isn't the one in which the
// transactions came, and tells what became of these.
func (c *change) seeAgain(txids []frame.Hash) ([][]Decision, error) {
	if err := c.rejudge(); err != nil {
		return nil, err
	}
	saved, err := c.Lookup(txids)
	if err != nil {
		return nil, err
	}
	decisions := make([][]Decision, len(txids))
	for i, id := range txids {
		if s := saved[id]; s != nil {
			decisions[i] = s.decisions()
		}
	}
	return decisions, nil
}

func (c *change) seeFresh(fresh []*Transaction, placed []*Placed) error {
	n := newNeeds(c.rules)
	n.add(fresh)
	facts, err := n.facts(c)
	if err != nil {
		return err
	}
	c.pending.extend(facts)
	for i, tx := range fresh {
		for _, f := range tx.Frames {
			placed[i].Decisions = append(placed[i].Decisions, c.rules.Judge(c.pending, tx, f, c.at))
		}
	}
	arrivals, err := c.Save(placed)
	if err != nil {
		return err
	}
	for i, tx := range fresh {
		for j, f := range tx.Frames {
			if f.Malformed == "" {
				c.note(Event{Height: -1, Verdict: placed[i].Decisions[j].Verdict, Arrival: arrivals[i][j]}, f, EventSeen, "")
			}
		}
	}
	return nil
}
