package proof

import (
	"bytes"
	"errors"
	"math"

	"github.com/metaim/metaim/improtocol/frame"
)

// ErrBUMP says that bytes are no BUMP of one transaction in the form that is
// written here, the only one in which it can be written without a byte to spare.
var ErrBUMP = errors.New("not the Merkle path of one transaction in BUMP form (BRC-74)")

// A BUMP is the Merkle path of one transaction. docs/spec/proof.md, "Merkle path".
type BUMP struct {
	Height uint32 // of the block
	Index  uint32 // of the transaction in the block
	TxID   frame.Hash
	Path   []frame.Hash // siblings, that of the leaf first; the zero hash where a node is its own sibling
}

// What is said of a node.
const (
	nodeHash = 0 // its hash follows
	nodeOwn  = 1 // it repeats its sibling
	nodeTxID = 2 // it is the transaction, whose id follows
)

// maxDepth is how many levels a tree may have whose leaves are counted in 32 bits.
const maxDepth = 32

// Append appends the path in the form of BRC-74.
func (p *BUMP) Append(b []byte) []byte {
	b = appendLength(b, uint64(p.Height))
	b = append(b, byte(max(len(p.Path), 1)))
	if len(p.Path) == 0 {
		return append(append(b, 1, 0, nodeTxID), p.TxID[:]...)
	}
	for level, sibling := range p.Path {
		offset := uint64(p.Index) >> level
		if level > 0 {
			b = appendNode(append(b, 1), offset^1, sibling)
			continue
		}
		b = append(b, 2)
		if offset&1 == 1 {
			b = appendNode(b, offset^1, sibling)
		}
		b = append(append(appendLength(b, offset), nodeTxID), p.TxID[:]...)
		if offset&1 == 0 {
			b = appendNode(b, offset^1, sibling)
		}
	}
	return b
}

func appendNode(b []byte, offset uint64, hash frame.Hash) []byte {
	b = appendLength(b, offset)
	if hash == (frame.Hash{}) {
		return append(b, nodeOwn)
	}
	return append(append(b, nodeHash), hash[:]...)
}

// ReadBUMP reads a path: nothing may follow it. It fails with ErrBUMP.
func ReadBUMP(b []byte) (*BUMP, error) {
	r := reader{b: b}
	height := r.length()
	depth := int(r.byte())
	if r.bad || height > math.MaxInt32 || depth == 0 || depth > maxDepth {
		return nil, ErrBUMP
	}
	p := &BUMP{Height: uint32(height)}
	for range min(r.byte(), 2) {
		offset, kind := r.length(), r.byte()
		if kind == nodeTxID && offset <= math.MaxUint32 {
			p.Index, p.TxID = uint32(offset), r.hash()
		} else {
			p.Path = append(p.Path, r.sibling(kind))
		}
	}
	for range depth - 1 {
		r.take(1) // how many nodes: one
		r.length()
		p.Path = append(p.Path, r.sibling(r.byte()))
	}
	for level, sibling := range p.Path {
		// Only the last node of a level can repeat, and then it stands left.
		r.bad = r.bad || p.Index>>level&1 == 1 && sibling == frame.Hash{}
	}
	// What was passed over above is as it must be when the same bytes come out.
	if r.bad || uint64(p.Index)>>len(p.Path) > 0 || !bytes.Equal(p.Append(nil), b) {
		return nil, ErrBUMP
	}
	return p, nil
}

// sibling reads a node of a kind.
func (r *reader) sibling(kind byte) frame.Hash {
	switch kind {
	case nodeHash:
		return r.hash()
	case nodeOwn:
		return frame.Hash{}
	}
	r.bad = true
	return frame.Hash{}
}
