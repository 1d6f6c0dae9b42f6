package chainwatch

import (
	"math/bits"

	"github.com/metaim/metaim/chainwatch/doublesha"
	"github.com/metaim/metaim/improtocol/frame"
)

// A merkleTree folds transaction ids into a root as they come, in memory that
// grows with the logarithm of their number.
type merkleTree struct {
	count   uint64
	level   [64]frame.Hash // level[i] holds a full subtree of 2^i leaves where bit i of count is set
	mutated bool           // two equal subtrees side by side: another list has the same root
}

func (m *merkleTree) add(id frame.Hash) { m.subtree(0, id) }

// addAll adds ids in their order, and writes over them.
func (m *merkleTree) addAll(ids []frame.Hash) {
	for len(ids) > 0 {
		height := bits.Len(uint(len(ids))) - 1 // of the largest full subtree that begins here
		if m.count > 0 {
			height = min(height, bits.TrailingZeros64(m.count))
		}
		level := ids[:1<<height]
		ids = ids[1<<height:]
		for len(level) > 1 {
			for i := 0; i < len(level); i += 2 {
				m.mutated = m.mutated || level[i] == level[i+1]
			}
			level = doublesha.Pairs(level)
		}
		m.subtree(height, level[0])
	}
}

// subtree adds a full subtree of 2^height leaves by its root.
func (m *merkleTree) subtree(height int, node frame.Hash) {
	i := height
	for ; m.count>>i&1 == 1; i++ {
		if m.level[i] == node {
			m.mutated = true
		}
		node = doublesha.Pair(m.level[i], node)
	}
	m.level[i] = node
	m.count += 1 << height
}

// root returns the Merkle root: a level with an odd number of nodes repeats its
// last one. ok is false when there are no leaves, or when the list holds a
// subtree twice, so that a shorter list has the same root (CVE-2012-2459).
func (m *merkleTree) root() (root frame.Hash, ok bool) {
	if m.count == 0 || m.mutated {
		return frame.Hash{}, false
	}
	i := 0
	for m.count>>i&1 == 0 {
		i++
	}
	node := m.level[i]
	for rest := m.count>>i - 1; rest > 0; { // rest counts the subtrees left of node at level i
		if rest&1 == 1 {
			node = doublesha.Pair(m.level[i], node)
			rest--
		} else {
			node = doublesha.Pair(node, node)
		}
		rest >>= 1
		i++
	}
	return node, true
}
