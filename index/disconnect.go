package index

import (
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// disconnect takes blocks off the tip. No undo is kept: what valid frames
// remain says which facts hold, and the records that the blocks changed are
// folded again from what is left. So a reorganisation may be of any depth.
func (c *change) disconnect(height int32) error {
	tip, err := c.Tip()
	if err != nil {
		return err
	}
	names, peers := map[string]bool{}, map[nprotocol.PeerKey]bool{}
	for h := tip.Height; h > height && h >= 0; h-- {
		if err := c.unconfirm(h, names, peers); err != nil {
			return err
		}
	}
	if err := c.CutBlocks(height); err != nil {
		return err
	}
	c.pending = nil
	ledger := nprotocol.NewLedger()
	fold := func(r *nprotocol.Record, at nprotocol.Moment) error {
		timeStamp, err := r.Time()
		ledger.Apply(r, timeStamp, at)
		return err
	}
	if err := c.ValidRecords(sortedNames(names), sortedPeers(peers), fold); err != nil {
		return err
	}
	return c.putRecords(ledger, names, peers)
}

func (c *change) unconfirm(height int32, names map[string]bool, peers map[nprotocol.PeerKey]bool) error {
	block, err := c.BlockAt(height)
	if err != nil {
		return err
	}
	saved, err := c.AtHeight(height)
	if err != nil {
		return err
	}
	placed := make([]*Placed, len(saved))
	for i, s := range saved {
		tx := s.transaction()
		p := &Placed{Row: s.Row, Tx: tx, State: Seen, Height: -1, Decisions: s.decisions()}
		if tx.Coinbase {
			p.State = Dropped
		}
		placed[i] = p
		for _, e := range s.Entries {
			c.unconfirmed(e, p.State, block)
			if e.Record != nil && e.Verdict == frame.Valid {
				touch(e.Record, names, peers)
			}
		}
	}
	c.events = append(c.events, &Event{Kind: EventDisconnected, Height: height, Block: block.Hash})
	_, err = c.Save(placed)
	return err
}

func (c *change) unconfirmed(e *Entry, state State, block Tip) {
	if e.Malformed != "" {
		return
	}
	v := Event{Height: block.Height, Block: block.Hash, Verdict: e.Verdict, Arrival: e.Arrival}
	c.note(v, e.Frame, EventUnconfirmed, "")
	if state == Dropped {
		v.Reason = ReasonReorganised
		c.note(v, e.Frame, EventDropped, "")
	}
}

// transaction returns the saved transaction with its frames.
func (s *Saved) transaction() *Transaction {
	tx := *s.Entries[0].Tx
	tx.Frames = nil
	for _, e := range s.Entries {
		tx.Frames = append(tx.Frames, e.Frame)
	}
	return &tx
}

func (s *Saved) decisions() []Decision {
	d := make([]Decision, len(s.Entries))
	for i, e := range s.Entries {
		d[i] = e.Decision
	}
	return d
}
