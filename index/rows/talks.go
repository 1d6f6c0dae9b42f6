package rows

import (
	"cmp"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A Tally counts the messages of an address by whom they were exchanged with, told
// by keys: of the many messages of an address rows of an index are read and nothing
// more. Copies are told apart by their frame ids, and who the others are by the
// newest message of each, both read whole.
type Tally struct {
	own    int64 // key of the address
	groups map[int64]*group
	again  []int64 // arrivals of messages that came before
}

type group struct {
	key            int64
	last           int64
	sent, received int64
}

// NewTally begins to count.
func NewTally(address frame.KeyHash) *Tally {
	return &Tally{own: AddressKey(address), groups: map[int64]*group{}}
}

// Sent counts messages of one peer's key that the address sent, up to an arrival: 0
// and its own key are the key of notes.
func (t *Tally) Sent(peer, n, last int64) {
	if peer == 0 {
		peer = t.own
	}
	g := t.group(peer, last)
	g.sent += n
}

// Received counts messages that the address received.
func (t *Tally) Received(peer, n, last int64) { t.group(peer, last).received += n }

// Again notes a message of which another occurrence arrived before.
func (t *Tally) Again(arrival int64) { t.again = append(t.again, arrival) }

func (t *Tally) group(peer, last int64) *group {
	g := t.groups[peer]
	if g == nil {
		g = &group{key: peer}
		t.groups[peer] = g
	}
	g.last = max(g.last, last)
	return g
}

// A TallyReader reads frames for a Tally.
type TallyReader interface {
	// Whole reads frames with their transactions, bodies and blocks.
	Whole(arrivals []int64) (map[int64]*index.Entry, error)
	// Copies calls yield with all frames of a frame id, joined to their transactions.
	Copies(id frame.ID, yield func(*Found) error) error
	Entries(index.EntryQuery) ([]*index.Entry, error)
}

// List returns the page that a query asks for.
func (t *Tally) List(r TallyReader, q index.ConversationQuery) ([]index.Conversation, error) {
	if err := t.copies(r, q.Address); err != nil {
		return nil, err
	}
	groups := make([]*group, 0, len(t.groups))
	for _, g := range t.groups {
		if q.Before <= 0 || g.last < q.Before {
			groups = append(groups, g)
		}
	}
	slices.SortFunc(groups, func(a, b *group) int { return cmp.Or(cmp.Compare(b.last, a.last), cmp.Compare(a.key, b.key)) })
	groups = groups[:index.PageOf(q.Limit, len(groups), func(i int) int64 { return groups[i].last })]
	list := make([]index.Conversation, 0, len(groups))
	for part := range slices.Chunk(groups, 200) {
		heads, err := readHeads(r, part)
		if err != nil {
			return nil, err
		}
		for _, g := range part {
			c, ok := g.conversation(heads[g.last], q.Address)
			if !ok {
				return exact(r, q) // somebody made two addresses of one key
			}
			list = append(list, c)
		}
	}
	slices.SortFunc(list, index.ByLast)
	return list, nil
}

func readHeads(r TallyReader, part []*group) (map[int64]*index.Entry, error) {
	arrivals := make([]int64, 0, len(part))
	for _, g := range part {
		arrivals = append(arrivals, g.last)
	}
	slices.Sort(arrivals)
	return r.Whole(slices.Compact(arrivals))
}

// conversation says whose the group is, if its newest message is between the
// address and one of the group's key.
func (g *group) conversation(last *index.Entry, address frame.KeyHash) (c index.Conversation, ok bool) {
	if last == nil {
		return c, false
	}
	for _, peer := range index.PeersOf(last, address) {
		if AddressKey(peer) != g.key {
			continue
		}
		if ok {
			return c, false
		}
		c, ok = index.Conversation{Peer: peer, Last: last, Sent: g.sent, Received: g.received}, true
	}
	return c, ok
}

// copies counts the messages that came more than once, where an occurrence that
// came later is the first in a conversation.
func (t *Tally) copies(r TallyReader, address frame.KeyHash) error {
	done := map[frame.ID]bool{}
	for part := range slices.Chunk(t.again, 500) {
		found, err := r.Whole(part)
		if err != nil {
			return err
		}
		for _, a := range part {
			if e := found[a]; e == nil || done[e.ID] {
				continue
			}
			done[found[a].ID] = true
			if err := t.copiesOf(r, found[a].ID, address); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Tally) copiesOf(r TallyReader, id frame.ID, address frame.KeyHash) error {
	first := map[frame.KeyHash]*Found{}
	err := r.Copies(id, func(f *Found) error {
		if f.Verdict != frame.Valid && f.Verdict != frame.Duplicate || f.State == index.Dropped {
			return nil
		}
		for _, peer := range index.PeersOf(f.Entry, address) {
			if old := first[peer]; old == nil || f.Arrival < old.Arrival {
				first[peer] = f
			}
		}
		return nil
	})
	for peer, f := range first {
		switch {
		case !f.Again: // it was counted
		case Sent(f.Entry, address):
			t.Sent(AddressKey(peer), 1, f.Arrival)
		default:
			t.Received(AddressKey(peer), 1, f.Arrival)
		}
	}
	return err
}

// exact reads all messages of the address whole.
func exact(r TallyReader, q index.ConversationQuery) ([]index.Conversation, error) {
	t := index.NewTalks(q.Address)
	all := index.EntryQuery{Address: &q.Address, Repeats: true, Limit: 1_000}
	for {
		list, err := r.Entries(all)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			t.Add(e)
			all.After = e.Arrival
		}
		if len(list) < all.Limit {
			return t.List(q), nil
		}
	}
}
