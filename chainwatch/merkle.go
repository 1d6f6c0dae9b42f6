package chainwatch

import (
	"math/bits"

	"github.com/metaim/metaim/chainwatch/doublesha"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A merkleTree folds transaction ids into a root as they come, in memory that
// grows with the logarithm of their number.
type merkleTree struct {
	count   uint64
	level   [64]frame.Hash // level[i] holds a full subtree of 2^i leaves where bit i of count is set
	mutated bool           // two equal subtrees side by side: another list has the same root

	// Of the leaves that were marked the siblings of all nodes above are kept:
	// each once, however many paths it belongs to.
	proofs *index.Proofs // nil: none is marked
	marked []uint64      // leaves that aren't folded yet
	ours   [64]bool      // whether level[i] stands above one
}

func (m *merkleTree) add(id frame.Hash) { m.addAll([]frame.Hash{id}) }

// mark says that the path of a leaf, one of those to be added yet, is to be kept.
// Leaves are marked in their order.
func (m *merkleTree) mark(leaf uint64) {
	if m.proofs == nil {
		m.proofs = &index.Proofs{}
	}
	m.marked = append(m.marked, leaf)
}

// due returns the places of the marked ones among the next leaves.
func (m *merkleTree) due(leaves uint64) []uint64 {
	n := 0
	for n < len(m.marked) && m.marked[n]-m.count < leaves {
		m.marked[n] -= m.count
		n++
	}
	due := m.marked[:n]
	m.marked = m.marked[n:]
	return due
}

// keep keeps the siblings of the nodes of a level at the places given, each of
// which stands above a marked leaf, and returns the places of their parents.
func (m *merkleTree) keep(level []frame.Hash, height int, places []uint64) []uint64 {
	first := m.count >> height
	parents := places[:0]
	for i := 0; i < len(places); i++ {
		left := places[i] &^ 1
		if both := i+1 < len(places) && places[i+1] == left+1; both {
			m.proofs.Add(height, first+left, level[left])
			m.proofs.Add(height, first+left+1, level[left+1])
			i++
		} else {
			m.proofs.Add(height, first+places[i]^1, level[places[i]^1])
		}
		parents = append(parents, left/2)
	}
	return parents
}

// join keeps of two subtrees side by side the one that is a sibling of what stands
// above a marked leaf. offset is the left one's in its level.
func (m *merkleTree) join(height int, offset uint64, left, right frame.Hash, rightOurs bool) {
	if rightOurs {
		m.proofs.Add(height, offset, left)
	}
	if m.ours[height] {
		m.proofs.Add(height, offset+1, right)
	}
}

// addAll adds ids in their order, and writes over them.
func (m *merkleTree) addAll(ids []frame.Hash) {
	for len(ids) > 0 {
		height := bits.Len(uint(len(ids))) - 1 // of the largest full subtree that begins here
		if m.count > 0 {
			height = min(height, bits.TrailingZeros64(m.count))
		}
		level := ids[:1<<height]
		ids = ids[1<<height:]
		places := m.due(1 << height)
		for h := 0; len(level) > 1; h++ {
			for i := 0; i < len(level); i += 2 {
				m.mutated = m.mutated || level[i] == level[i+1]
			}
			if len(places) > 0 {
				places = m.keep(level, h, places)
			}
			level = doublesha.Pairs(level)
		}
		m.subtree(height, level[0], len(places) > 0)
	}
}

// subtree adds a full subtree of 2^height leaves by its root. ours tells whether
// one of them is marked.
func (m *merkleTree) subtree(height int, node frame.Hash, ours bool) {
	i := height
	for ; m.count>>i&1 == 1; i++ {
		if m.level[i] == node {
			m.mutated = true
		}
		m.join(i, m.count>>i-1, m.level[i], node, ours)
		ours = ours || m.ours[i]
		node = doublesha.Pair(m.level[i], node)
	}
	m.level[i], m.ours[i] = node, ours
	m.count += 1 << height
}

// root returns the Merkle root: a level with an odd number of nodes repeats its
// last one. ok is false when there are no leaves, or when the list holds a
// subtree twice, so that a shorter list has the same root (CVE-2012-2459). After
// it the proofs are whole, and nothing can be added.
func (m *merkleTree) root() (root frame.Hash, ok bool) {
	if m.count == 0 || m.mutated {
		return frame.Hash{}, false
	}
	i := 0
	for m.count>>i&1 == 0 {
		i++
	}
	node, ours := m.level[i], m.ours[i]
	for rest := m.count>>i - 1; rest > 0; { // rest counts the subtrees left of node at level i
		if rest&1 == 1 {
			m.join(i, rest-1, m.level[i], node, ours)
			ours = ours || m.ours[i]
			node = doublesha.Pair(m.level[i], node)
			rest--
		} else {
			node = doublesha.Pair(node, node)
		}
		rest >>= 1
		i++
	}
	if m.proofs != nil {
		m.proofs.Count = m.count
	}
	return node, true
}
