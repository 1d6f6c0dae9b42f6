package chainwatch

import "github.com/metaim/metaim/improtocol/frame"

// A merkleTree folds transaction ids into a root as they come, in memory that
// grows with the logarithm of their number.
type merkleTree struct {
	count   uint64
	level   [64]frame.Hash // level[i] holds a full subtree of 2^i leaves where bit i of count is set
	mutated bool           // two equal subtrees side by side: another list has the same root
}

func (m *merkleTree) add(id frame.Hash) {
	i := 0
	for ; m.count>>i&1 == 1; i++ {
		if m.level[i] == id {
			m.mutated = true
		}
		id = join(m.level[i], id)
	}
	m.level[i] = id
	m.count++
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
			node = join(m.level[i], node)
			rest--
		} else {
			node = join(node, node)
		}
		rest >>= 1
		i++
	}
	return node, true
}

func join(left, right frame.Hash) frame.Hash {
	var b [64]byte
	copy(b[:], left[:])
	copy(b[32:], right[:])
	return frame.HashOf(b[:])
}
