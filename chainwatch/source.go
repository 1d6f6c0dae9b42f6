package chainwatch

import (
	"context"
	"encoding/binary"
	"io"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// HeaderSize is the length of a block header in bytes.
const HeaderSize = 80

// A Header is a block header as on the wire.
type Header [HeaderSize]byte

// Hash returns the hash of the block.
func (h *Header) Hash() frame.Hash { return frame.HashOf(h[:]) }

// Prev returns the hash of the block before.
func (h *Header) Prev() frame.Hash { return frame.Hash(h[4:36]) }

// MerkleRoot returns the root of the block's transactions.
func (h *Header) MerkleRoot() frame.Hash { return frame.Hash(h[36:68]) }

// Time returns the time in the header, in Unix seconds.
func (h *Header) Time() int64 { return int64(binary.LittleEndian.Uint32(h[68:])) }

// Bits returns the compact form of the target.
func (h *Header) Bits() uint32 { return binary.LittleEndian.Uint32(h[72:]) }

// A Source answers questions about one chain, and says when to ask. Asking is
// the truth: what a source pushes only wakes the follower, and may come late,
// twice or never. A source trusts nobody either way: the follower checks proof of
// work and Merkle roots itself.
type Source interface {
	// Run connects and keeps connected until ctx ends or the source can never
	// work (a node of another network), and joins what it started.
	Run(ctx context.Context) error
	// Headers returns headers that follow the first hash of the locator that
	// the source knows on its best chain, oldest first, at most 2,000; none when
	// there is nothing after it. The locator is newest first and ends with the
	// genesis block. With several nodes behind the source, each call asks all of
	// them and the answers are joined, each node's run whole.
	Headers(ctx context.Context, locator []frame.Hash) ([]Header, error)
	// Block opens a block for streaming: header, count, transactions, as on the
	// wire. The caller closes it. A reader that isn't read to its end costs the
	// source a connection at most.
	Block(ctx context.Context, hash frame.Hash) (io.ReadCloser, error)
	// Transactions delivers transactions that entered a mempool, as on the wire,
	// each about once; never closed.
	Transactions() <-chan []byte
	// Wake receives when the source may have new blocks. It has a buffer of one
	// and is never closed.
	Wake() <-chan struct{}
	// Status tells how the source is doing, for people.
	Status() Status
}

// A MempoolWatcher is a source that can also tell what is in a mempool now. What
// was delivered and is neither in that list nor in a block has left it: evicted,
// replaced or expired.
type MempoolWatcher interface {
	// Mempool returns the ids of all transactions in the node's mempool, in no
	// order. It fails when the node doesn't answer: that says nothing about what
	// has left.
	Mempool(ctx context.Context) ([]frame.Hash, error)
}

// A Refusing source is told when a header that it gave is refused, for want of
// work or because it contradicts a checkpoint: it drops whoever it has it from.
type Refusing interface {
	Refused(h Header, err error)
}

// Status is what a source says of itself.
type Status struct {
	Connected int       // nodes
	Height    int32     // the highest that a node has claimed, -1 when unknown
	LastHeard time.Time // when anything last arrived
	Trouble   string    // a sentence when something is wrong, else empty
	Nodes     []Node    // one by one, where the source knows them; in a fixed order
}

// A Node is how one of the nodes behind a source is doing.
type Node struct {
	Address   string // host:port or a URL, without a password
	Connected bool
	Height    int32 // the highest that it has claimed, -1 when unknown
}
