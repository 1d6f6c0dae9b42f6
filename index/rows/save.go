package rows

import (
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A Save is one call of Save: what the store is to write, gathered first so that
// each table is written in a few statements.
type Save struct {
	Txs      []Tx
	Parties  []Party // address and transaction
	Frames   []Frame
	Moved    []*index.Placed // known transactions
	Decided  []Decided
	Former   []Party                 // address and frame
	Counts   map[frame.Verdict]int64 // by how much the numbers change
	Arrivals [][]int64               // of the frames, one slice for each transaction
	placed   []*index.Placed
}

// A Tx is a new transaction. Its row is that of Placed.
type Tx struct {
	*index.Placed
	Packed []byte // input keys
}

// A Party is an address that a row is about.
type Party struct {
	Address frame.KeyHash
	Of      int64 // a transaction, or a frame
}

// A Frame is a frame of a new transaction.
type Frame struct {
	Arrival, Tx int64
	Placed      *index.Placed
	Frame       *index.Frame
	Decision    *index.Decision
}

// A Decided is a known frame with its new decision.
type Decided struct {
	Arrival  int64
	Placed   *index.Placed
	Decision *index.Decision
}

// A Had is what the store had of a known frame.
type Had struct {
	Arrival   int64
	Output    uint32
	Confirmed bool
	Verdict   frame.Verdict
	Address   []byte
}

// Gather checks transactions and gives the new ones their rows, and their frames
// their arrivals: those after lastTx and lastFrame, which it moves on.
// [Save.Settle] is to follow.
func Gather(placed []*index.Placed, lastTx, lastFrame *int64) (*Save, error) {
	s := &Save{Counts: map[frame.Verdict]int64{}, Arrivals: make([][]int64, len(placed)), placed: placed}
	for i, p := range placed {
		if err := p.Check(); err != nil {
			return nil, fmt.Errorf("transaction %s: %w", p.Tx.ID, err)
		}
		if p.Row != 0 {
			s.Moved = append(s.Moved, p)
			continue
		}
		*lastTx++
		p.Row = *lastTx
		s.Arrivals[i] = s.add(p, lastFrame)
	}
	return s, nil
}

func (s *Save) add(p *index.Placed, lastFrame *int64) (arrivals []int64) {
	s.Txs = append(s.Txs, Tx{p, PackKeys(p.Tx.InputKeys)})
	for _, h := range p.Tx.Reached() {
		s.Parties = append(s.Parties, Party{h, p.Row})
	}
	for j, f := range p.Tx.Frames {
		*lastFrame++
		arrivals = append(arrivals, *lastFrame)
		s.Frames = append(s.Frames, Frame{*lastFrame, p.Row, p, f, &p.Decisions[j]})
		s.count(p, &p.Decisions[j])
	}
	return arrivals
}

func (s *Save) count(p *index.Placed, d *index.Decision) {
	if p.State == index.Confirmed {
		s.Counts[d.Verdict]++
	}
}

// Settle compares the known transactions with what the store has of their frames:
// read gives it by row, each list by arrival. Nothing is read when none is known.
func (s *Save) Settle(read func(txs []int64) (map[int64][]Had, error)) error {
	if len(s.Moved) == 0 {
		return nil
	}
	txs := make([]int64, len(s.Moved))
	for i, p := range s.Moved {
		txs[i] = p.Row
	}
	had, err := read(txs)
	if err != nil {
		return err
	}
	arrivals := make(map[int64][]int64, len(s.Moved))
	for _, p := range s.Moved {
		if arrivals[p.Row] != nil {
			return fmt.Errorf("transaction %s: twice in one call", p.Tx.ID)
		}
		list, err := s.compare(p, had[p.Row])
		if err != nil {
			return fmt.Errorf("transaction %s: %w", p.Tx.ID, err)
		}
		arrivals[p.Row] = list
	}
	for i, p := range s.placed {
		if list := arrivals[p.Row]; list != nil {
			s.Arrivals[i] = list
		}
	}
	return nil
}

func (s *Save) compare(p *index.Placed, had []Had) ([]int64, error) {
	if len(had) != len(p.Decisions) {
		return nil, fmt.Errorf("row %d has %d frames, not %d", p.Row, len(had), len(p.Decisions))
	}
	arrivals := make([]int64, len(had))
	for j, h := range had {
		if h.Output != p.Tx.Frames[j].Output {
			return nil, fmt.Errorf("row %d has a frame in output %d, not %d", p.Row, h.Output, p.Tx.Frames[j].Output)
		}
		arrivals[j] = h.Arrival
		d := &p.Decisions[j]
		s.Decided = append(s.Decided, Decided{h.Arrival, p, d})
		if h.Confirmed {
			s.Counts[h.Verdict]--
		}
		s.count(p, d)
		if h.Address == nil {
			continue
		}
		var was frame.KeyHash
		if err := Fill(was[:], "frames.address", h.Address); err != nil {
			return nil, err
		}
		if d.Address == nil || *d.Address != was {
			s.Former = append(s.Former, Party{was, h.Arrival})
		}
	}
	return arrivals, nil
}
