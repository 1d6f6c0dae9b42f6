package memory

import (
	"cmp"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Entries implements [index.View]. With a Peer, of occurrences of one message
// only the first of those between the two is listed.
func (v *view) Entries(q index.EntryQuery) ([]*index.Entry, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if q.Peer != nil && *q.Peer == *q.Address {
		return nil, nil // nobody is a recipient of what is their own
	}
	first := map[frame.ID]int64{}
	var list []*index.Entry
	for _, a := range v.candidates(&q) {
		if a <= q.After || a >= upto(q.Before) || !v.matches(&q, a) {
			continue
		}
		if !q.Repeats && !q.Refused && v.firstOf(&q, a, first) != a {
			continue
		}
		list = append(list, v.entry(a, false, nil))
		if len(list) == q.Limit {
			break
		}
	}
	return list, v.ctx.Err()
}

// candidates returns the arrivals among which the listing is, in its order.
func (v *view) candidates(q *index.EntryQuery) []int64 {
	var list []int64
	if q.Address == nil {
		for a := q.After + 1; a <= v.lastFrame && a < upto(q.Before); a++ {
			list = append(list, a)
		}
	} else {
		list = slices.Clone(v.bySource.get(*q.Address))
		for _, row := range v.reaching.get(*q.Address) {
			list = append(list, v.txs.get(row).frames...)
		}
		slices.Sort(list)
		list = slices.Compact(list)
	}
	if q.Newest {
		slices.Reverse(list)
	}
	return list
}

func (v *view) matches(q *index.EntryQuery, arrival int64) bool {
	f := v.frames.get(arrival)
	t := v.txs.get(f.row)
	counts := f.decision.Verdict == frame.Valid || f.decision.Verdict == frame.Duplicate
	states := q.States
	if len(states) == 0 {
		states = []index.State{index.Seen, index.Confirmed}
	}
	switch {
	case f.frame.Protocol != frame.IM || counts == q.Refused || !slices.Contains(states, t.state):
		return false
	case q.Type != "" && (f.frame.Message == nil || f.frame.Message.Type != q.Type):
		return false
	case len(q.Words) > 0 && !index.HasWords(f.frame.Message, q.Words):
		return false
	case q.Address == nil:
		return true
	}
	from := func(h frame.KeyHash) bool { return f.decision.Address != nil && *f.decision.Address == h }
	reaches := func(h frame.KeyHash) bool { return t.tx.Reaches(h) }
	if q.Peer == nil {
		return from(*q.Address) || reaches(*q.Address)
	}
	return from(*q.Address) && reaches(*q.Peer) || from(*q.Peer) && reaches(*q.Address)
}

// firstOf returns the first occurrence of a message that the listing could show.
func (v *view) firstOf(q *index.EntryQuery, arrival int64, known map[frame.ID]int64) int64 {
	id := v.frames.get(arrival).frame.ID
	if first, ok := known[id]; ok {
		return first
	}
	for _, a := range v.byID.get(id) {
		if v.matches(q, a) {
			known[id] = a
			return a
		}
	}
	return 0
}

// Events implements [index.View]. At most 5,000 addresses can be asked for at
// once. An event belongs to an address also when its frame was attributed to it
// once and isn't any more.
func (v *view) Events(q index.EventQuery) ([]*index.Event, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	asked := make(map[frame.KeyHash]bool, len(q.Addresses))
	for _, h := range q.Addresses {
		asked[h] = true
	}
	from, _ := slices.BinarySearchFunc(v.events, q.After+1, func(e *index.Event, seq int64) int { return cmp.Compare(e.Seq, seq) })
	var list []*index.Event
	for _, e := range v.events[from:] {
		if e.Seq > upto(q.Upto) || len(list) == q.Limit {
			break
		}
		if len(asked) > 0 && (!v.concerns(e, asked, q.Blocks) || q.Among != nil && !slices.Contains(q.Among, e.Seq)) {
			continue
		}
		c := *e
		if c.Arrival != 0 {
			c.Entry = v.entry(c.Arrival, false, nil)
		}
		list = append(list, &c)
	}
	return list, v.ctx.Err()
}

// Seqs implements [index.View].
func (v *view) Seqs(q index.EventQuery) (seqs []int64, ok bool, err error) {
	q.Among = nil
	events, err := v.Events(q)
	for _, e := range events {
		seqs = append(seqs, e.Seq)
	}
	return seqs, true, err
}

// concerns tells whether an event is of a frame that one of the addresses sent,
// is to hold, was paid by, or was once taken for the sender of.
func (v *view) concerns(e *index.Event, asked map[frame.KeyHash]bool, blocks bool) bool {
	if e.Arrival == 0 {
		return blocks
	}
	f := v.frames.get(e.Arrival)
	is := func(h frame.KeyHash) bool { return asked[h] }
	switch {
	case slices.ContainsFunc(f.sources, is):
		return true
	case f.frame.Record != nil:
		return is(f.frame.Record.NewAddress)
	}
	return f.frame.Protocol == frame.IM && slices.ContainsFunc(v.txs.get(f.row).tx.Reached(), is)
}
