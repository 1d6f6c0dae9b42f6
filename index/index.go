// Package index decides which frames count, and says what is kept of them and
// why: the judge, the facts that it reads, the writer that turns blocks and
// mempool transactions into decisions and events, and the interface of a store.
//
// The confirmed part of an index is a function of the chain: the judge knows no
// clock, no map order and no randomness, and nothing unconfirmed reaches it.
// docs/spec/index.md has the rules, docs/architecture.md the picture.
package index

import (
	"iter"
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// A Frame is one frame found in an output, read, with what its signatures show
// by themselves. Exactly one of Malformed, Message and Record is set.
type Frame struct {
	Output    uint32 // of the transaction
	Protocol  frame.Protocol
	Malformed string // why it can't be read
	Message   *improtocol.Message
	Record    *nprotocol.Record
	ID        frame.ID      // SHA-256 of the preimage; zero when malformed
	ContentID frame.ID      // of a message
	Proofs    []frame.Proof // one for each signature
}

// Operation returns "message", "register", "delete" or "transfer", and "" for
// what is malformed.
func (f *Frame) Operation() string {
	switch {
	case f.Message != nil:
		return "message"
	case f.Record != nil:
		return string(f.Record.Operation)
	}
	return ""
}

// TimeStamp returns the text of the time stamp field.
func (f *Frame) TimeStamp() string {
	switch {
	case f.Message != nil:
		return f.Message.TimeStamp
	case f.Record != nil:
		return f.Record.TimeStamp
	}
	return ""
}

// Other returns the text of other information.
func (f *Frame) Other() string {
	switch {
	case f.Message != nil:
		return f.Message.Other
	case f.Record != nil:
		return f.Record.Other
	}
	return ""
}

// Preimage returns the text that the signatures sign.
func (f *Frame) Preimage(network frame.Network) []byte {
	switch {
	case f.Message != nil:
		return f.Message.Preimage()
	case f.Record != nil:
		return f.Record.Preimage(network)
	}
	return nil
}

// An Outpoint is an output that a transaction spends.
type Outpoint struct {
	TxID   frame.Hash
	Output uint32
}

// An Amount is which output of its transaction pays, and how much.
type Amount struct {
	Output   uint32
	Satoshis uint64
}

// A Transaction is what the index keeps of a transaction that carries frames.
type Transaction struct {
	ID        frame.Hash
	Index     uint32 // in its block; 0 while unconfirmed
	Coinbase  bool
	Outputs   []frame.KeyHash // of all its P2PKH outputs, in order
	Amounts   []Amount        // of Outputs, as many; nil: not known
	InputKeys [][]byte        // public keys its P2PKH inputs reveal, each once, in order
	Spends    []Outpoint      // what it spends; empty for a coinbase
	Frames    []*Frame        // in the order of the outputs
}

// Change tells whether the last P2PKH output pays to an address of an input.
func (t *Transaction) Change() bool {
	if len(t.Outputs) == 0 {
		return false
	}
	return t.PaidBy(t.Outputs[len(t.Outputs)-1])
}

// PaidBy tells whether one of the inputs is the address's.
func (t *Transaction) PaidBy(address frame.KeyHash) bool {
	return slices.ContainsFunc(t.InputKeys, func(key []byte) bool { return frame.HashKey(key) == address })
}

// Reached returns the addresses that the transaction pays, each once, in output
// order, without the change. The recipients of a message are these without its
// source.
func (t *Transaction) Reached() []frame.KeyHash {
	outputs := t.Outputs
	if t.Change() {
		outputs = outputs[:len(outputs)-1]
	}
	reached := make([]frame.KeyHash, 0, len(outputs))
	seen := make(map[frame.KeyHash]bool, len(outputs))
	for _, h := range outputs {
		if !seen[h] {
			seen[h] = true
			reached = append(reached, h)
		}
	}
	return reached
}

// Reaches tells whether the address is one of those that Reached returns. Keys are
// hashed only to tell change from a payment.
func (t *Transaction) Reaches(address frame.KeyHash) bool {
	last := len(t.Outputs) - 1
	if last < 0 {
		return false
	}
	return slices.Contains(t.Outputs[:last], address) || t.Outputs[last] == address && !t.Change()
}

// Pays tells whether an output pays to the address, whatever its value.
func (t *Transaction) Pays(address frame.KeyHash) bool { return slices.Contains(t.Outputs, address) }

// candidates yields the public keys that a DER signature of the frame by an
// address may be of: that of an input, then the one that the frame names, then
// the one proved earlier for the address (nil when there is none). inputs has the
// keys of the inputs by what their addresses name.
func candidates(inputs map[frame.KeyHash][]byte, f *Frame, address frame.KeyHash, proved []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if key := inputs[address]; key != nil && !yield(key) {
			return
		}
		if key, ok := improtocol.PublicKey(f.Other()); ok && !yield(key) {
			return
		}
		if proved != nil {
			yield(proved)
		}
	}
}

// A Block is a block of the best chain as the follower hands it over: its work
// and Merkle root are checked, its frames are read and their keys recovered.
type Block struct {
	Height       int32
	Hash         frame.Hash
	Header       [80]byte
	MedianTime   int64          // of the times of this header and its ten predecessors, Unix seconds
	Transactions []*Transaction // those that carry frames, in order
	Conflicts    []frame.Hash   // unconfirmed transactions that a transaction of this block double-spends
	Proofs       *Proofs        // that the block holds Transactions; nil: unknown. Nothing is decided by it
}

// Prev returns the hash of the block before.
func (b *Block) Prev() frame.Hash { return frame.Hash(b.Header[4:36]) }

// Time returns the time in the header, in Unix seconds.
func (b *Block) Time() int64 {
	return int64(b.Header[68]) | int64(b.Header[69])<<8 | int64(b.Header[70])<<16 | int64(b.Header[71])<<24
}

// A Decision is what the judge says of a frame at its place.
type Decision struct {
	Verdict frame.Verdict
	Address *frame.KeyHash // of the source as resolved there, or the record's; nil when unknown
	Keys    [][]byte       // the public keys that signed, when the verdict says the signatures hold
}

// A State says where a frame stands.
type State string

// The states. A frame that left the chain for good, or the mempool, is dropped:
// it is kept so that the events which name it can still be read.
const (
	Seen      State = "seen"      // in the mempool
	Confirmed State = "confirmed" // in a block of the best chain
	Dropped   State = "dropped"   // in neither
)

// An Entry is one frame as the index keeps it: one occurrence of a message, or
// one record.
type Entry struct {
	Arrival int64 // order in which this index first met it, from 1; never reused
	State   State
	Height  int32        // of its block; -1 when not confirmed
	Block   frame.Hash   // zero when not confirmed
	Time    int64        // of its block's header, Unix seconds; 0 when not confirmed
	Tx      *Transaction // shared by the entries of one transaction; its Frames are not set
	*Frame
	Decision
}

// Recipients returns the addresses that this occurrence reaches, without the
// source.
func (e *Entry) Recipients() []frame.KeyHash {
	return recipients(e.Tx.Reached(), e.Address)
}

// recipients takes the source out of a list of its own.
func recipients(reached []frame.KeyHash, source *frame.KeyHash) []frame.KeyHash {
	if source == nil {
		return reached
	}
	return slices.DeleteFunc(reached, func(h frame.KeyHash) bool { return h == *source })
}

// A Tip is the block that an index ends with.
type Tip struct {
	Height     int32 // -1 before the first block
	Hash       frame.Hash
	Header     [80]byte
	MedianTime int64
	StateHash  [32]byte
}

// An EventKind says what happened. docs/spec/index.md, "Events".
type EventKind string

// The events of a frame are its protocol's word, a dot and one of these:
// "message.seen", "name.confirmed", "peer.dropped".
const (
	EventSeen        = "seen"
	EventConfirmed   = "confirmed"
	EventUnconfirmed = "unconfirmed" // its block left the chain
	EventDropped     = "dropped"     // Reason says why
	EventRejudged    = "rejudged"    // From and To say what changed

	EventConnected    EventKind = "block.connected"
	EventDisconnected EventKind = "block.disconnected"
)

// KindOf returns the kind of an event of a frame.
func KindOf(p frame.Protocol, what string) EventKind {
	subject := map[frame.Protocol]string{frame.IM: "message", frame.N: "name", frame.P: "peer"}[p]
	return EventKind(subject + "." + what)
}

// An Event is one line of the log of what happened, in the order of commit.
type Event struct {
	Seq     int64
	Kind    EventKind
	Height  int32         // of the block concerned; -1 when there is none
	Block   frame.Hash    // the block concerned
	Verdict frame.Verdict // of the frame at that time
	From    frame.Verdict // in a "rejudged": what it was before
	Reason  string        // in a "dropped": double_spent, evicted, expired, reorganised
	Entry   *Entry        // the frame concerned, as it is now; nil for a block
	Arrival int64         // of the frame concerned, 0 for a block
}
