package memory

import (
	"errors"
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// Save implements [index.Tx]. Of a known transaction nothing but place, state
// and decisions is written, so what it says needn't be whole.
func (t *tx) Save(placed []*index.Placed) ([][]int64, error) {
	arrivals := make([][]int64, len(placed))
	return arrivals, t.write("save transactions", func() error {
		moved := map[int64]bool{}
		known := t.lastTx
		for i, p := range placed {
			err := p.Check()
			switch {
			case err == nil && p.Row > known:
				err = fmt.Errorf("no row %d", p.Row)
			case err == nil && p.Row == 0:
				t.add(p)
			case err == nil && moved[p.Row]:
				err = errors.New("twice in one call")
			case err == nil:
				moved[p.Row] = true
				err = t.move(p)
			}
			if err != nil {
				return fmt.Errorf("transaction %s: %w", p.Tx.ID, err)
			}
			arrivals[i] = slices.Clone(t.txs.get(p.Row).frames)
		}
		return nil
	})
}

// add saves a new transaction.
func (t *tx) add(p *index.Placed) {
	t.lastTx++
	p.Row = t.lastTx
	kept := *p.Tx
	kept.Frames = nil
	row := &txRow{tx: placeOf(&kept, p), state: p.State, height: p.Height}
	t.txs.set(p.Row, row)
	add(&t.byTxID, p.Tx.ID, p.Row)
	for _, h := range p.Tx.Reached() {
		add(&t.reaching, h, p.Row)
	}
	for j, f := range p.Tx.Frames {
		t.lastFrame++
		row.frames = append(row.frames, t.lastFrame)
		whole, light := keep(f)
		t.frames.set(t.lastFrame, t.attribute(t.lastFrame, &frameRow{row: p.Row, frame: whole, light: light, decision: copyDecision(p.Decisions[j])}))
		t.find(t.lastFrame, whole)
		t.count(p, p.Decisions[j].Verdict, 1)
	}
	t.arrive(p)
}

// placeOf returns the transaction with its index, which only a block gives it.
func placeOf(tx *index.Transaction, p *index.Placed) *index.Transaction {
	c := *tx
	c.Index = 0
	if p.State == index.Confirmed {
		c.Index = p.Tx.Index
	}
	return &c
}

// find makes a frame known by what it says.
func (t *tx) find(arrival int64, f *index.Frame) {
	if f.Malformed != "" {
		return
	}
	add(&t.byID, f.ID, arrival)
	r := f.Record
	switch {
	case r == nil:
		add(&t.byContent, f.ContentID, arrival)
	case r.Protocol == frame.P:
		add(&t.byPeer, nprotocol.PeerKey{Address: r.Address, IP: r.IP}, arrival)
	default:
		add(&t.byName, r.Name, arrival)
	}
	if r != nil && r.Operation == nprotocol.Transfer {
		add(&t.byNew, r.NewAddress, arrival)
	}
}

// attribute notes whose the frame is, where that is new.
func (t *tx) attribute(arrival int64, f *frameRow) *frameRow {
	if h := f.decision.Address; h != nil && !slices.Contains(f.sources, *h) {
		f.sources = append(slices.Clip(f.sources), *h)
		add(&t.bySource, *h, arrival)
	}
	return f
}

func (t *tx) count(p *index.Placed, v frame.Verdict, n int64) {
	if p.State == index.Confirmed {
		t.counts[v] += n
	}
}

// move saves the new place, state and decisions of a known transaction.
func (t *tx) move(p *index.Placed) error {
	old := t.txs.get(p.Row)
	if old == nil {
		return fmt.Errorf("no row %d", p.Row)
	}
	if len(old.frames) != len(p.Decisions) {
		return fmt.Errorf("row %d has %d frames, not %d", p.Row, len(old.frames), len(p.Decisions))
	}
	for j, arrival := range old.frames {
		f := *t.frames.get(arrival)
		if f.frame.Output != p.Tx.Frames[j].Output {
			return fmt.Errorf("row %d has a frame in output %d, not %d", p.Row, f.frame.Output, p.Tx.Frames[j].Output)
		}
		if old.state == index.Confirmed {
			t.counts[f.decision.Verdict]--
		}
		t.count(p, p.Decisions[j].Verdict, 1)
		f.decision = copyDecision(p.Decisions[j])
		t.frames.set(arrival, t.attribute(arrival, &f))
	}
	t.leave(p.Row, old)
	t.txs.set(p.Row, &txRow{tx: placeOf(old.tx, p), state: p.State, height: p.Height, frames: old.frames})
	t.arrive(p)
	return nil
}

// arrive puts a transaction where its state says.
func (t *tx) arrive(p *index.Placed) {
	switch p.State {
	case index.Confirmed:
		add(&t.atHeight, p.Height, p.Row)
		t.heights = append(t.heights, p.Height)
	case index.Seen:
		t.copySeen()
		if i, there := slices.BinarySearch(t.seen, p.Row); !there {
			t.seen = slices.Insert(t.seen, i, p.Row)
		}
	}
}

// leave takes a transaction from where it was. Lists by height forget only when
// they are read: see rowsAt.
func (t *tx) leave(row int64, old *txRow) {
	if old.state != index.Seen {
		return
	}
	t.copySeen()
	if i, there := slices.BinarySearch(t.seen, row); there {
		t.seen = slices.Delete(t.seen, i, i+1)
	}
}

func (t *tx) copySeen() {
	if !t.ownSeen {
		t.seen, t.ownSeen = slices.Clone(t.seen), true
	}
}
