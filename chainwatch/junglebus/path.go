package junglebus

import (
	"errors"
	"math"

	"github.com/metaim/metaim/improtocol/frame"
)

var errPath = errors.New("not the Merkle path of the transaction in BUMP form (BRC-74)")

const deepest = 32 // levels: places are counted in 32 bits

// readPath reads the Merkle path of a transaction from a BUMP, which may hold more
// than that: place in the block, and siblings as in [chainwatch.Selected]. Whether
// they lead anywhere is for others to check. It fails with errPath.
func readPath(b []byte, txid frame.Hash) (place uint32, path []frame.Hash, err error) {
	r := bump{b: b}
	r.length() // the block's height: the header says more
	depth := int(r.byte())
	if r.bad || depth == 0 || depth > deepest {
		return 0, nil, errPath
	}
	levels := make([]map[uint64]frame.Hash, depth)
	at, found := uint64(0), false
	for level := range levels {
		levels[level] = r.level()
		for offset, hash := range levels[level] {
			if level == 0 && hash == txid && (!found || offset < at) {
				at, found = offset, true
			}
		}
	}
	if r.bad || len(r.b) > 0 || !found || at > math.MaxUint32 || at>>depth > 0 {
		return 0, nil, errPath
	}
	if depth == 1 && len(levels[0]) == 1 && at == 0 {
		return 0, nil, nil // the only transaction of its block
	}
	for level := range levels {
		sibling, ok := climb(levels, level, at>>level^1)
		if !ok {
			return 0, nil, errPath
		}
		if own, known := climb(levels, level, at>>level); known && at>>level&1 == 0 && sibling == own {
			sibling = frame.Hash{} // written out where it could have been left out
		}
		path = append(path, sibling)
	}
	return uint32(at), path, nil
}

// climb returns a node of a tree: one that was given, or one above two that were.
func climb(levels []map[uint64]frame.Hash, level int, offset uint64) (hash frame.Hash, ok bool) {
	if hash, ok = levels[level][offset]; ok || level == 0 {
		return hash, ok
	}
	left, ok := climb(levels, level-1, 2*offset)
	if !ok {
		return hash, false
	}
	right, ok := climb(levels, level-1, 2*offset+1)
	if !ok {
		return hash, false
	}
	if right == (frame.Hash{}) {
		right = left
	}
	return frame.HashOf(append(left[:], right[:]...)), true
}

// A bump reads the form of BRC-74; after the first thing that doesn't fit, bad is
// set and everything read is empty.
type bump struct {
	b   []byte
	bad bool
}

func (r *bump) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *bump) byte() byte { return r.take(1)[0] }

func (r *bump) length() (n uint64) {
	first := r.byte()
	size := map[byte]int{0xfd: 2, 0xfe: 4, 0xff: 8}[first]
	if size == 0 {
		return uint64(first)
	}
	for i, b := range r.take(size) {
		n |= uint64(b) << (8 * i)
	}
	return n
}

// What is said of a node.
const (
	nodeOwn  = 1 // it repeats its sibling; no hash follows
	nodeKind = 2 // the highest bit that is used: it is a transaction
)

// level reads the nodes of a level by their offset; the zero hash is one that
// repeats its sibling.
func (r *bump) level() map[uint64]frame.Hash {
	nodes := map[uint64]frame.Hash{}
	for n := r.length(); n > 0 && !r.bad; n-- {
		offset, kind := r.length(), r.byte()
		if kind > nodeKind {
			r.bad = true
			return nil
		}
		hash := frame.Hash{}
		if kind != nodeOwn {
			hash = frame.Hash(r.take(len(hash)))
		}
		if _, twice := nodes[offset]; twice {
			r.bad = true
		}
		nodes[offset] = hash
	}
	return nodes
}
