package rows

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A Save is one call of Save: what the store is to write, gathered first so that
// each table is written in a few statements.
type Save struct {
	Frames   []Frame
	Parties  []Party
	Touched  []Link          // addresses that transactions pay or are paid by, and none of their rows says
	Spends   []Link          // txids whose outputs are spent by inputs that tell no address
	Renamed  []Link          // addresses that known frames are attributed to from now on
	Moved    []*index.Placed // known transactions
	Decided  []Decided
	Former   []Former
	Counts   map[frame.Verdict]int64 // by how much the numbers change
	Arrivals [][]int64               // of the frames, one slice for each transaction
	placed   []*index.Placed
}

// A Frame is a frame of a new transaction. The transaction's row is its lead: the
// arrival of its first frame.
type Frame struct {
	Arrival, Lead, Frames int64 // Frames: how many the transaction has
	Placed                *index.Placed
	Frame                 *index.Frame
	Decision              *index.Decision
	Reached               []frame.KeyHash // by the transaction
	Again                 bool            // for the store to set: an earlier arrival has the same frame id
}

// A Party is an address that a transaction reaches beside the first, which its
// frames' rows say: the frames from Lead on.
type Party struct {
	Key          int64 // of the address
	Lead, Frames int64
}

// A Link is the key of an address or a txid, and a frame: in Touched and Spends the
// lead of a transaction.
type Link struct {
	Key, Arrival int64
}

// A Former is an address that a frame was attributed to, and is no more.
type Former struct {
	Address frame.KeyHash
	Arrival int64
}

// A Decided is a known frame with its new decision: the row's columns Height,
// Place, Verdict, AddressKey and Decided are to be written.
type Decided struct {
	Row      // the other columns aren't set
	Decision *index.Decision
	before   Had
}

// Stays tells whether the frame stays with its verdict and address key: then the
// columns Verdict and AddressKey, and their indexes, needn't be written.
func (d *Decided) Stays() bool {
	return d.Verdict == d.before.Verdict && d.AddressKey == d.before.AddressKey
}

// A Had is what the store had of a known frame.
type Had struct {
	Arrival    int64
	Head       []byte // the first [HeadBytes] of Data
	Height     int32
	Verdict    int16
	AddressKey int64
}

// Gather checks transactions and gives the frames of new ones their arrivals:
// those after last, which it moves on. [Save.Settle] is to follow.
func Gather(placed []*index.Placed, last *int64) (*Save, error) {
	s := &Save{Counts: map[frame.Verdict]int64{}, Arrivals: make([][]int64, len(placed)), placed: placed}
	for i, p := range placed {
		if err := p.Check(); err != nil {
			return nil, fmt.Errorf("transaction %s: %w", p.Tx.ID, err)
		}
		if p.Row != 0 {
			s.Moved = append(s.Moved, p)
			continue
		}
		p.Row = *last + 1
		s.Arrivals[i] = s.add(p, last)
	}
	return s, nil
}

func (s *Save) add(p *index.Placed, last *int64) []int64 {
	reached := p.Tx.Reached()
	frames := int64(len(p.Tx.Frames))
	if len(reached) > 1 {
		met := map[int64]bool{AddressKey(reached[0]): true} // somebody may pay two addresses of one key
		for _, h := range reached[1:] {
			if key := AddressKey(h); !met[key] {
				met[key] = true
				s.Parties = append(s.Parties, Party{key, p.Row, frames})
			}
		}
	}
	s.coins(p, reached)
	arrivals := make([]int64, 0, frames)
	for j, f := range p.Tx.Frames {
		*last++
		arrivals = append(arrivals, *last)
		s.Frames = append(s.Frames, Frame{Arrival: *last, Lead: p.Row, Frames: frames, Placed: p, Frame: f, Decision: &p.Decisions[j], Reached: reached})
		s.count(p, &p.Decisions[j])
	}
	return arrivals
}

// coins notes what the coins of an address are found by beside the rows of frames:
// these say the address that the first frame is attributed to, and whom messages
// reach.
func (s *Save) coins(p *index.Placed, reached []frame.KeyHash) {
	lead, source := p.Tx.Frames[0], int64(0)
	if a := p.Decisions[0].Address; a != nil {
		source = AddressKey(*a)
	}
	touched, spends := len(s.Touched), len(s.Spends)
	touch := func(h frame.KeyHash) { s.Touched = append(s.Touched, Link{AddressKey(h), p.Row}) }
	if len(reached) > 0 && lead.Protocol != frame.IM {
		touch(reached[0])
	}
	for _, key := range p.Tx.InputKeys {
		if h := hashOf(key); AddressKey(h) != source {
			touch(h)
		}
	}
	if len(p.Tx.Spends) != len(p.Tx.InputKeys) {
		for _, o := range p.Tx.Spends {
			s.Spends = append(s.Spends, Link{KeyOf(o.TxID), p.Row})
		}
	}
	s.Touched = append(s.Touched[:touched], once(s.Touched[touched:])...)
	s.Spends = append(s.Spends[:spends], once(s.Spends[spends:])...)
}

// once leaves of links of one transaction each once.
func once(links []Link) []Link {
	if len(links) < 2 {
		return links
	}
	slices.SortFunc(links, func(a, b Link) int { return cmp.Compare(a.Key, b.Key) })
	return slices.Compact(links)
}

func (s *Save) count(p *index.Placed, d *index.Decision) {
	if p.State == index.Confirmed {
		s.Counts[d.Verdict]++
	}
}

// Repeats marks the frames whose id an earlier arrival has: one of those in known,
// the frame keys of the store's rows among keys, or one gathered here. A mark that
// isn't due, which two ids of one key can give, costs a look when they are listed.
func (s *Save) Repeats(known func(keys []int64) ([]int64, error)) error {
	keys := make([]int64, 0, len(s.Frames))
	met := make(map[int64]bool, len(s.Frames))
	for i := range s.Frames {
		if f := &s.Frames[i]; f.Frame.Malformed == "" {
			key := KeyOf(f.Frame.ID)
			f.Again = met[key]
			if !f.Again {
				met[key] = true
				keys = append(keys, key)
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	list, err := known(keys)
	if err != nil || len(list) == 0 {
		return err
	}
	there := make(map[int64]bool, len(list))
	for _, key := range list {
		there[key] = true
	}
	for i := range s.Frames {
		if f := &s.Frames[i]; f.Frame.Malformed == "" && there[KeyOf(f.Frame.ID)] {
			f.Again = true
		}
	}
	return nil
}

// A Span is the rows of a known transaction, and one beyond them.
type Span struct{ First, Last int64 }

// Settle compares the known transactions with what the store has of their frames:
// read gives the rows of the spans by arrival. Nothing is read when none is known.
// Where a frame's address changed, address gives the one it had.
func (s *Save) Settle(read func([]Span) (map[int64]Had, error), address func(arrival int64) (*frame.KeyHash, error)) error {
	if len(s.Moved) == 0 {
		return nil
	}
	spans := make([]Span, len(s.Moved))
	for i, p := range s.Moved {
		spans[i] = Span{p.Row, p.Row + int64(len(p.Decisions))}
	}
	had, err := read(spans)
	if err != nil {
		return err
	}
	arrivals := make(map[int64][]int64, len(s.Moved))
	for _, p := range s.Moved {
		if arrivals[p.Row] != nil {
			return fmt.Errorf("transaction %s: twice in one call", p.Tx.ID)
		}
		list, err := s.compare(p, had)
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
	return s.leave(address)
}

// known tells how many rows there are of the transaction with a lead, as far as
// they were read.
func known(had map[int64]Had, lead int64, most int) (n int, err error) {
	for n < most {
		h, ok := had[lead+int64(n)]
		if !ok {
			break
		}
		_, first, err := ReadHead(h.Head)
		if err != nil || first != (n == 0) {
			return n, err
		}
		n++
	}
	return n, nil
}

func (s *Save) compare(p *index.Placed, had map[int64]Had) ([]int64, error) {
	n, err := known(had, p.Row, len(p.Decisions)+1)
	if err != nil {
		return nil, err
	}
	if n != len(p.Decisions) {
		return nil, fmt.Errorf("row %d has %d frames, not %d", p.Row, n, len(p.Decisions))
	}
	arrivals := make([]int64, n)
	for j := range arrivals {
		arrivals[j] = p.Row + int64(j)
		h := had[arrivals[j]]
		if output, _, _ := ReadHead(h.Head); output != p.Tx.Frames[j].Output {
			return nil, fmt.Errorf("row %d has a frame in output %d, not %d", p.Row, output, p.Tx.Frames[j].Output)
		}
		d := &p.Decisions[j]
		row := Row{Arrival: h.Arrival, Height: HeightOf(p), Place: PlaceOf(p)}
		row.Decide(p.Tx.Frames[j], d)
		s.Decided = append(s.Decided, Decided{row, d, h})
		if h.Height >= 0 {
			verdict, err := verdictFrom(h.Verdict)
			if err != nil {
				return nil, err
			}
			s.Counts[verdict]--
		}
		s.count(p, d)
	}
	return arrivals, nil
}

// leave notes the addresses that frames are no more attributed to.
func (s *Save) leave(address func(arrival int64) (*frame.KeyHash, error)) error {
	for i := range s.Decided {
		d := &s.Decided[i]
		if d.before.AddressKey == d.AddressKey {
			continue
		}
		if d.AddressKey != 0 {
			s.Renamed = append(s.Renamed, Link{d.AddressKey, d.Arrival})
		}
		if d.before.AddressKey == 0 {
			continue
		}
		was, err := address(d.Arrival)
		if err != nil {
			return err
		}
		if was != nil {
			s.Former = append(s.Former, Former{*was, d.Arrival})
		}
	}
	return nil
}
