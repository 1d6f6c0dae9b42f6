package index

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
)

// MaxProved is how large a transaction may be, in bytes, for the index to keep
// it: what one transaction may have by the network's policy. Of a larger one the
// Merkle path is kept, and no bytes.
const MaxProved = 10_000_000

// A Proof is what shows that a block holds a transaction: its bytes and the
// Merkle path to the root in the block's header. docs/spec/proof.md.
type Proof struct {
	Raw    []byte // the transaction as on the wire; nil when it is larger than [MaxProved]
	Height int32  // of the block
	Index  uint32 // of the transaction in the block
	Block  frame.Hash
	Header [80]byte
	Path   []frame.Hash // siblings, that of the leaf first; the zero hash where a node is its own sibling
}

// Root returns the Merkle root that the path leads to from a transaction.
func (p *Proof) Root(txid frame.Hash) frame.Hash { return FoldPath(txid, p.Index, p.Path) }

// FoldPath returns the Merkle root above a leaf at an index, given its siblings,
// lowest first; the zero hash stands for a node that is its own sibling.
func FoldPath(leaf frame.Hash, place uint32, path []frame.Hash) frame.Hash {
	node := leaf
	for i, sibling := range path {
		switch {
		case sibling == frame.Hash{}:
			node = pair(node, node)
		case i < 32 && place>>i&1 == 1:
			node = pair(sibling, node)
		default:
			node = pair(node, sibling)
		}
	}
	return node
}

func pair(left, right frame.Hash) frame.Hash {
	var b [64]byte
	copy(b[:], left[:])
	copy(b[len(left):], right[:])
	return frame.HashOf(b[:])
}

// Proofs are what shows that a block holds its transactions with frames. No node
// of the Merkle tree is in it twice.
type Proofs struct {
	Count uint64   // transactions of the block, at least one
	Raw   [][]byte // of Block.Transactions, in their order; nil where larger than [MaxProved]

	levels [][]merkleNode // by offset
}

type merkleNode struct {
	offset uint64 // in its level
	hash   frame.Hash
}

// Add adds a node of the Merkle tree: level 0 holds the transaction ids. Within a
// level the offsets must grow.
func (p *Proofs) Add(level int, offset uint64, hash frame.Hash) {
	for len(p.levels) <= level {
		p.levels = append(p.levels, nil)
	}
	p.levels[level] = append(p.levels[level], merkleNode{offset, hash})
}

// Sibling returns the sibling of the node at an offset; the zero hash where the
// node is its own. ok is false when it isn't known, or there is no such node.
func (p *Proofs) Sibling(level int, offset uint64) (hash frame.Hash, ok bool) {
	last := (p.Count - 1) >> level
	if p.Count == 0 || offset > last || last == 0 {
		return frame.Hash{}, false
	}
	if offset == last && offset&1 == 0 {
		return frame.Hash{}, true
	}
	if level >= len(p.levels) {
		return frame.Hash{}, false
	}
	nodes := p.levels[level]
	i, ok := slices.BinarySearchFunc(nodes, offset^1, func(n merkleNode, o uint64) int { return cmp.Compare(n.offset, o) })
	if !ok {
		return frame.Hash{}, false
	}
	return nodes[i].hash, true
}

// Depth returns how many levels of the Merkle tree there are below the root.
func (p *Proofs) Depth() int { return TreeDepth(p.Count) }

// TreeDepth returns how many levels the Merkle tree of so many leaves has below
// its root.
func TreeDepth(leaves uint64) int {
	if leaves == 0 {
		return 0
	}
	return bits.Len64(leaves - 1)
}

// Path returns the siblings of a transaction, as in a [Proof]. ok is false when
// they aren't known.
func (p *Proofs) Path(place uint32) (path []frame.Hash, ok bool) {
	if uint64(place) >= p.Count {
		return nil, false
	}
	for level := range p.Depth() {
		sibling, ok := p.Sibling(level, uint64(place)>>level)
		if !ok {
			return nil, false
		}
		path = append(path, sibling)
	}
	return path, true
}
