package index

import (
	"cmp"
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// A ConversationQuery says which conversations of an address to list.
type ConversationQuery struct {
	Address frame.KeyHash
	Before  int64 // arrival of the last message less than this; 0: no bound
	Limit   int   // 1 to 1,000; those of which one message is the last come together, so there may be more
}

// Check tells why a store refuses the query.
func (q *ConversationQuery) Check() error { return checkLimit(q.Limit, mostEntries) }

// A Conversation is what passed between an address and one other: what Entries
// lists of the two, seen and confirmed. A message to several is part of the
// conversation with each of them. Peer is the address itself for notes to oneself:
// messages without a recipient.
type Conversation struct {
	Peer           frame.KeyHash
	Last           *Entry // the newest by arrival; of copies the first counts
	Sent, Received int64  // messages that count; copies count once
}

// Talks gathers the conversations of an address from all its messages.
type Talks struct {
	address frame.KeyHash
	byPeer  map[frame.KeyHash]*Conversation
	met     map[talked]bool
}

type talked struct {
	peer frame.KeyHash
	id   frame.ID
}

// NewTalks begins to gather.
func NewTalks(address frame.KeyHash) *Talks {
	return &Talks{address: address, byPeer: map[frame.KeyHash]*Conversation{}, met: map[talked]bool{}}
}

// Add adds a message that counts. They are to come by arrival, all occurrences of
// each; those of others are passed over.
func (t *Talks) Add(e *Entry) {
	for _, peer := range PeersOf(e, t.address) {
		key := talked{peer, e.ID}
		if t.met[key] {
			continue
		}
		t.met[key] = true
		c := t.byPeer[peer]
		if c == nil {
			c = &Conversation{Peer: peer}
			t.byPeer[peer] = c
		}
		c.Last = e
		if e.Address != nil && *e.Address == t.address {
			c.Sent++
		} else {
			c.Received++
		}
	}
}

// PeersOf returns whose conversations with the address a message is part of.
func PeersOf(e *Entry, address frame.KeyHash) []frame.KeyHash {
	switch {
	case e.Protocol != frame.IM || e.Address == nil:
		return nil
	case *e.Address != address && e.Tx.Reaches(address):
		return []frame.KeyHash{*e.Address}
	case *e.Address != address:
		return nil
	}
	if to := e.Recipients(); len(to) > 0 {
		return to
	}
	return []frame.KeyHash{address}
}

// List returns the page that a query asks for.
func (t *Talks) List(q ConversationQuery) []Conversation {
	var list []Conversation
	for _, c := range t.byPeer {
		if q.Before <= 0 || c.Last.Arrival < q.Before {
			list = append(list, *c)
		}
	}
	slices.SortFunc(list, ByLast)
	return list[:PageOf(q.Limit, len(list), func(i int) int64 { return list[i].Last.Arrival })]
}

// PageOf returns how many of n sorted things a page holds: up to the limit, and
// those after it that have the number of the last.
func PageOf(limit, n int, number func(i int) int64) int {
	end := min(limit, n)
	for end > 0 && end < n && number(end) == number(end-1) {
		end++
	}
	return end
}

// ByLast is the order of conversations: the newest first, and those that one
// message is the last of, by the address.
func ByLast(a, b Conversation) int {
	return cmp.Or(cmp.Compare(b.Last.Arrival, a.Last.Arrival), slices.Compare(a.Peer[:], b.Peer[:]))
}

// A CoinQuery says which coins of an address to list.
type CoinQuery struct {
	Address frame.KeyHash
	After   int64 // Coin.Lead greater than this
	Limit   int   // 1 to 1,000; the coins of one transaction come together, so there may be more
}

// Check tells why a store refuses the query.
func (q *CoinQuery) Check() error { return checkLimit(q.Limit, mostEntries) }

// A Coin is an output that pays an address, of a transaction that the index keeps
// (seen or confirmed), and that no transaction which the index keeps spends. The
// index keeps transactions that carry frames: what another has spent still shows.
type Coin struct {
	Lead     int64 // arrival of the first frame of the transaction
	TxID     frame.Hash
	Output   uint32
	Satoshis uint64
	Height   int32 // -1 when not confirmed
	Coinbase bool
}

// CoinsOf returns the outputs of a kept transaction that pay an address, those that
// are spent too. e is its first frame.
func CoinsOf(e *Entry, address frame.KeyHash) []Coin {
	if len(e.Tx.Amounts) != len(e.Tx.Outputs) {
		return nil // not known
	}
	var coins []Coin
	for i, h := range e.Tx.Outputs {
		if a := e.Tx.Amounts[i]; h == address {
			coins = append(coins, Coin{Lead: e.Arrival, TxID: e.Tx.ID, Output: a.Output, Satoshis: a.Satoshis, Height: e.Height, Coinbase: e.Tx.Coinbase})
		}
	}
	return coins
}

// IsKeyRecord tells whether a message is one by which its source publishes a key of
// its own, and counts: valid, seen or confirmed, to nobody else.
// docs/spec/index.md, "Conversations".
func IsKeyRecord(e *Entry) bool {
	return e.Message != nil && e.Verdict == frame.Valid && e.State != Dropped && e.Message.Type == improtocol.KeyRecord &&
		e.Message.Encryption == improtocol.Plain && e.Address != nil && len(e.Recipients()) == 0
}
