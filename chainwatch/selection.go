package chainwatch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// ErrPath says that a transaction's Merkle path doesn't show that the block holds
// it.
var ErrPath = errors.New("the Merkle path doesn't lead to the root in the block's header")

// A Selector is a source that has no whole blocks: of each it gives the
// transactions that a service picked out, with what shows that the block holds
// them. Nobody can invent one so, or move it to another place; what the service
// leaves out is not noticed. The follower asks it for selections and never for
// blocks. docs/operations.md, "Without a node of your own".
type Selector interface {
	// Selection returns what was picked out of a block.
	Selection(ctx context.Context, hash frame.Hash) (*Selection, error)
}

// A Selection is what was picked out of a block.
type Selection struct {
	Header       Header
	Transactions []Selected // in the block's order
}

// A Selected is a transaction of a block.
type Selected struct {
	Index uint32       // in the block
	Raw   []byte       // as on the wire
	Path  []frame.Hash // siblings, that of the leaf first; the zero hash where a node is its own sibling
}

const (
	nodePair    = 64 // bytes of two hashes: what is hashed into a node above the leaves
	deepestPath = 32 // levels: places are counted in 32 bits
)

// Selection reads what was picked out of a block. It checks that each transaction
// stands in the block where it is said to, not the header's work. spent is as in
// [Scanner.Block]; of what wasn't picked nothing is known, so double spends by
// others aren't found. It fails with ErrPath or ErrTransaction.
func (s *Scanner) Selection(picked *Selection, spent Spent) (*Scan, error) {
	scan := &Scan{Header: picked.Header, Bytes: HeaderSize}
	look := &conflicts{spent: spent, found: map[frame.Hash]bool{}}
	var ours []Selected
	for i := range picked.Transactions {
		p := &picked.Transactions[i]
		if i > 0 && (p.Index <= picked.Transactions[i-1].Index || len(p.Path) != len(picked.Transactions[0].Path)) {
			return nil, fmt.Errorf("transaction %d: %w", p.Index, ErrPath)
		}
		isOurs, err := s.pick(scan, p, look)
		if err != nil {
			return nil, fmt.Errorf("transaction %d: %w", p.Index, err)
		}
		if isOurs {
			ours = append(ours, *p)
		}
	}
	if len(look.found) > 0 {
		scan.Conflicts = slices.SortedFunc(maps.Keys(look.found), func(a, b frame.Hash) int { return slices.Compare(a[:], b[:]) })
	}
	if len(ours) > 0 {
		var err error
		if scan.Proofs, err = joinPaths(picked.Transactions, ours); err != nil {
			return nil, err
		}
		scan.Proofs.Raw = scan.raw
		scan.Count = scan.Proofs.Count
	}
	return scan, nil
}

// pick checks one transaction, and reads it if it carries frames.
func (s *Scanner) pick(scan *Scan, p *Selected, look *conflicts) (ours bool, err error) {
	if len(p.Raw) == nodePair || len(p.Raw) > MaxTransaction {
		return false, ErrTransaction // two hashes side by side could pass for a transaction
	}
	id := frame.HashOf(p.Raw)
	if !leadsTo(scan.Header.MerkleRoot(), id, p.Index, p.Path) {
		return false, ErrPath
	}
	look.hits = look.hits[:0]
	n, ours, err := walk(p.Raw, look)
	if err != nil || n != len(p.Raw) {
		return false, ErrTransaction
	}
	scan.Bytes += int64(n)
	if ours {
		err := s.take(scan, p.Index, p.Raw, look)
		s.ids.Reset() // no tree is folded
		return true, err
	}
	look.settle(id)
	return false, nil
}

// leadsTo tells whether a path leads from a leaf at a place to the root.
func leadsTo(root, leaf frame.Hash, place uint32, path []frame.Hash) bool {
	if len(path) > deepestPath || uint64(place)>>len(path) > 0 {
		return false
	}
	for level, sibling := range path {
		own := sibling == frame.Hash{}
		// Only the last node of a level repeats itself, and then it stands left.
		if own && place>>level&1 == 1 || !own && sibling == index.FoldPath(leaf, place, path[:level]) {
			return false
		}
	}
	return index.FoldPath(leaf, place, path) == root
}

// joinPaths puts the paths of ours together, each node once. How many
// transactions the block has isn't told; the smallest number is taken with which
// all paths are as they are.
func joinPaths(all, ours []Selected) (*index.Proofs, error) {
	last, err := lastLeaf(all)
	if err != nil {
		return nil, err
	}
	proofs := &index.Proofs{Count: last + 1}
	for level := range ours[0].Path {
		nodes := map[uint64]frame.Hash{}
		for i := range ours {
			offset, sibling := uint64(ours[i].Index)>>level, ours[i].Path[level]
			if sibling != (frame.Hash{}) {
				nodes[offset^1] = sibling
			}
		}
		for _, offset := range slices.Sorted(maps.Keys(nodes)) {
			proofs.Add(level, offset, nodes[offset])
		}
	}
	return proofs, nil
}

// lastLeaf returns the smallest place that the last leaf can have.
func lastLeaf(all []Selected) (uint64, error) {
	depth := len(all[0].Path)
	low, high := uint64(0), uint64(1)<<depth-1
	if depth > 0 {
		low = uint64(1) << (depth - 1)
	}
	for i := range all {
		low = max(low, uint64(all[i].Index))
		for level, sibling := range all[i].Path {
			offset := uint64(all[i].Index) >> level
			switch {
			case sibling == frame.Hash{}:
				low, high = max(low, offset<<level), min(high, (offset+1)<<level-1)
			case offset&1 == 0:
				low = max(low, (offset+1)<<level)
			}
		}
	}
	if low > high {
		return 0, ErrPath
	}
	return low, nil
}
