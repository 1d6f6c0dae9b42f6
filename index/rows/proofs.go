package rows

import (
	"errors"
	"iter"
	"math"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Proofs are kept in groups of transactions of one block, a row for each: their
// Merkle paths meet soon, and what they share is kept once. A row belongs to its
// block and goes with it, so that none outlives its place in the chain.
const (
	groupMost  = 128      // transactions
	groupBytes = 64 << 10 // beyond which nothing is added
)

// A Group is a row of proofs.
type Group struct {
	Place uint32 // in the block, of the first transaction
	Data  []byte
}

// Groups yields the proofs of a block, packed, each group when it is asked for: all
// of them may be as large as the block. A block without proofs has none.
func Groups(b *index.Block) iter.Seq2[Group, error] {
	return func(yield func(Group, error) bool) {
		if b.Proofs == nil {
			return
		}
		if len(b.Proofs.Raw) != len(b.Transactions) {
			yield(Group{}, errors.New("proofs of other transactions than the block's"))
			return
		}
		var p packer
		for rest := b.Proofs.Raw; len(rest) > 0; {
			g, taken, err := p.group(b, len(b.Transactions)-len(rest))
			if !yield(g, err) || err != nil {
				return
			}
			rest = rest[taken:]
		}
	}
}

// group packs the transactions of a block from one on, as many as make a group.
func (p *packer) group(b *index.Block, from int) (g Group, taken int, err error) {
	places, sizes := make([]uint64, 0, groupMost), make([]int, 0, groupMost)
	p.b = p.b[:0]
	for i := from; i < len(b.Transactions) && len(places) < groupMost && len(p.b) < groupBytes; i++ {
		tx := b.Transactions[i]
		if i > 0 && b.Transactions[i-1].Index >= tx.Index {
			return Group{}, 0, errors.New("the block's transactions aren't in order")
		}
		places, sizes = append(places, uint64(tx.Index)), append(sizes, p.pack(b.Proofs.Raw[i], tx))
	}
	hashes, err := nodesOf(b.Proofs, places, b.Transactions[from:from+len(places)])
	if err != nil {
		return Group{}, 0, err
	}
	return Group{uint32(places[0]), packGroup(b.Proofs.Count, places, sizes, hashes, p.b)}, len(places), nil
}

func packGroup(count uint64, places []uint64, sizes []int, hashes []frame.Hash, raws []byte) []byte {
	w := &writer{b: make([]byte, 0, 16+4*len(places)+len(raws)+len(frame.Hash{})*len(hashes))}
	w.number(count)
	w.number(uint64(len(places)))
	last := places[0]
	for i, place := range places {
		w.number(place - last)
		w.number(uint64(sizes[i]))
		last = place
	}
	for i := range hashes {
		w.raw(hashes[i][:])
	}
	w.raw(raws)
	return w.b
}

// nodesOf returns the nodes that a group keeps, in the order in which a climb
// asks for them.
func nodesOf(p *index.Proofs, places []uint64, txs []*index.Transaction) (hashes []frame.Hash, err error) {
	c := climb{count: p.Count, places: append([]uint64(nil), places...)}
	if len(places) > 1 {
		for _, tx := range txs {
			hashes = append(hashes, tx.ID)
		}
	}
	for ; c.height < p.Depth(); c.up() {
		for i := range c.places {
			if !c.lacks(i) {
				continue
			}
			sibling, ok := p.Sibling(c.height, c.places[i])
			if !ok {
				return nil, errors.New("a block's proofs lack a node of its Merkle tree")
			}
			hashes = append(hashes, sibling)
		}
	}
	return hashes, nil
}

// A climb goes up a Merkle tree from some leaves. Of each level it has the places
// of the nodes above these leaves, in order.
type climb struct {
	count  uint64 // leaves of the tree
	height int
	places []uint64
}

// lacks tells whether the sibling of a node must be told: it has one, and that
// doesn't stand above one of the leaves.
func (c *climb) lacks(i int) bool {
	place := c.places[i]
	if place&1 == 0 {
		return place != (c.count-1)>>c.height && (i+1 == len(c.places) || c.places[i+1] != place+1)
	}
	return i == 0 || c.places[i-1] != place-1
}

// up goes one level up.
func (c *climb) up() {
	parents := c.places[:0]
	for _, place := range c.places {
		if n := len(parents); n == 0 || parents[n-1] != place>>1 {
			parents = append(parents, place>>1)
		}
	}
	c.places = parents
	c.height++
}

// ProofOf reads the proof of a transaction: what the view says of its frames, and
// the group that group returns, the last of those at a height that begin at a
// place or before. It fails with [index.ErrNotFound] or a *[CorruptError].
func ProofOf(v index.View, txid frame.Hash, group func(height int32, place uint32) (*Group, error)) (*index.Proof, error) {
	entries, err := v.InTransaction(txid)
	if err != nil {
		return nil, err
	}
	var first *index.Entry
	for _, e := range entries {
		if e.State == index.Confirmed && (first == nil || e.Height < first.Height || e.Height == first.Height && e.Tx.Index < first.Tx.Index) {
			first = e
		}
	}
	if first == nil {
		return nil, index.ErrNotFound
	}
	var frames []*index.Frame
	for _, e := range entries {
		if e.State == index.Confirmed && e.Height == first.Height && e.Tx.Index == first.Tx.Index {
			frames = append(frames, e.Frame)
		}
	}
	g, err := group(first.Height, first.Tx.Index)
	if err != nil {
		return nil, err
	}
	block, err := v.BlockAt(first.Height)
	if err != nil {
		return nil, err
	}
	proof := &index.Proof{Height: block.Height, Index: first.Tx.Index, Block: block.Hash, Header: block.Header}
	found, err := g.read(proof, first.Tx, frames)
	switch root := proof.Root(txid); {
	case err != nil:
		return nil, err
	case !found:
		return nil, index.ErrNotFound
	case root != frame.Hash(proof.Header[36:68]), proof.Raw != nil && frame.HashOf(proof.Raw) != txid:
		return nil, errGroup
	}
	return proof, nil
}

var errGroup = &CorruptError{"proofs.data"}

// read sets what the group says of a transaction. It returns false when the
// transaction isn't in the group.
func (g *Group) read(proof *index.Proof, tx *index.Transaction, frames []*index.Frame) (found bool, err error) {
	r := &reader{b: g.Data}
	count := r.number()
	n := r.count(2)
	places, sizes := make([]uint64, n), make([]uint64, n)
	last, at := uint64(g.Place), -1
	for i := range places {
		step := r.number()
		sizes[i] = r.number()
		if r.bad || step > math.MaxUint32 || i > 0 && step == 0 {
			return false, errGroup
		}
		last += step
		if places[i] = last; last == uint64(proof.Index) {
			at = i
		}
	}
	if r.bad || n == 0 || last >= count {
		return false, errGroup
	}
	if at < 0 {
		return false, nil
	}
	if proof.Path = r.path(count, places, at); r.bad {
		return false, errGroup
	}
	var raw []byte
	for i, size := range sizes {
		if b := r.take(size); i == at {
			raw = b
		}
	}
	if r.bad || len(r.b) > 0 || len(raw) == 0 {
		return false, errGroup
	}
	if raw[0] == rawNone {
		return true, nil
	}
	whole, ok := unpackRaw(nil, raw, tx, frames)
	if !ok {
		return false, errGroup
	}
	proof.Raw = whole
	return true, nil
}

// path reads the nodes of a group and returns the siblings of one leaf. Where
// leaves share a path, what isn't kept is computed from those below.
func (r *reader) path(count uint64, places []uint64, at int) (path []frame.Hash) {
	c := climb{count: count, places: places}
	leaf := places[at]
	nodes := make([]frame.Hash, len(places)) // of c.places
	if len(places) > 1 {
		for i := range nodes {
			r.fill(nodes[i][:])
		}
	}
	for depth := index.TreeDepth(count); c.height < depth && !r.bad; c.up() {
		mine := leaf >> c.height
		parents := nodes[:0]
		for i := 0; i < len(c.places); i++ {
			place, node := c.places[i], nodes[i]
			var sibling frame.Hash // zero: its own
			shared := place&1 == 0 && i+1 < len(c.places) && c.places[i+1] == place+1
			switch {
			case shared:
				sibling = nodes[i+1]
				i++
			case c.lacks(i):
				r.fill(sibling[:])
			}
			if place == mine {
				path = append(path, sibling)
			} else if shared && place+1 == mine {
				path = append(path, node)
			}
			if len(places) == 1 {
				parents = append(parents, frame.Hash{}) // nobody asks for it
				continue
			}
			parents = append(parents, index.FoldPath(node, uint32(place&1), []frame.Hash{sibling}))
		}
		nodes = parents
	}
	return path
}

// ProofKey is the column id of the group that begins at a place of the block at a
// height, which is not negative.
func ProofKey(height int32, place uint32) int64 { return int64(height)<<32 | int64(place) }

// PlaceOfKey undoes [ProofKey].
func PlaceOfKey(key int64) uint32 { return uint32(key & math.MaxUint32) } //nolint:gosec // what is left fits
