package chainwatch

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// plainRoot folds level by level, as the definition says.
func plainRoot(level []frame.Hash) frame.Hash {
	level = slices.Clone(level)
	for len(level) > 1 {
		if len(level)%2 == 1 {
			level = append(level, level[len(level)-1])
		}
		var up []frame.Hash
		for i := 0; i < len(level); i += 2 {
			up = append(up, frame.HashOf(append(slices.Clone(level[i][:]), level[i+1][:]...)))
		}
		level = up
	}
	return level[0]
}

func treeOf(leaves []frame.Hash) (frame.Hash, bool) {
	var tree merkleTree
	for _, id := range leaves {
		tree.add(id)
	}
	return tree.root()
}

func leaves(n int) []frame.Hash {
	list := make([]frame.Hash, n)
	for i := range list {
		list[i] = frame.HashOf(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	return list
}

func TestMerkleRoot(t *testing.T) {
	for n := 1; n <= 70; n++ {
		got, ok := treeOf(leaves(n))
		if want := plainRoot(leaves(n)); !ok || got != want {
			t.Errorf("%d leaves: got %s %v, want %s", n, got, ok, want)
		}
	}
	if root, ok := treeOf(nil); ok {
		t.Errorf("no leaves have the root %s", root)
	}
}

// TestMerkleAddAll: ids that come in pieces of any length have the same root, and
// the same repeats are refused.
func TestMerkleAddAll(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := 1; n <= 3000; n += 1 + n/7 {
		for _, twins := range []bool{false, true} {
			list := leaves(n)
			if twins {
				list[n-1] = list[max(n-2, 0)]
			}
			want, wantOK := treeOf(list)
			var tree merkleTree
			for rest := list; len(rest) > 0; {
				k := 1 + r.IntN(len(rest))
				tree.addAll(rest[:k])
				rest = rest[k:]
			}
			if got, ok := tree.root(); got != want || ok != wantOK {
				t.Errorf("%d leaves, twins %v: got %s %v, want %s %v", n, twins, got, ok, want, wantOK)
			}
		}
	}
}

// TestMerkleRepeats: lists with a part repeated at their end have the root of a
// shorter one (CVE-2012-2459). All of them are refused.
func TestMerkleRepeats(t *testing.T) {
	tried := 0
	for n := 1; n <= 70; n++ {
		want := plainRoot(leaves(n))
		list := leaves(n)
		for width := 1; width < len(list); width *= 2 {
			if len(list)/width%2 == 0 {
				continue
			}
			list = append(list, list[len(list)-width:]...)
			tried++
			if got := plainRoot(list); got != want {
				t.Fatalf("%d leaves, the last %d repeated: root %s, want that of the list before, %s", n, width, got, want)
			}
			if root, ok := treeOf(list); ok {
				t.Errorf("%d leaves, the last %d repeated: taken, root %s", n, width, root)
			}
			var tree merkleTree
			tree.addAll(slices.Clone(list))
			if root, ok := tree.root(); ok {
				t.Errorf("%d leaves, the last %d repeated, added at once: taken, root %s", n, width, root)
			}
		}
	}
	if tried < 70 {
		t.Errorf("only %d lists were tried", tried)
	}
}

// TestMerkleTwins: two equal neighbours anywhere that pair are refused; two that
// don't are two transactions of one id, which a block can't hold anyway.
func TestMerkleTwins(t *testing.T) {
	for _, n := range []int{2, 3, 7, 8, 33} {
		for i := 0; i+1 < n; i += 2 {
			list := leaves(n)
			list[i+1] = list[i]
			if root, ok := treeOf(list); ok {
				t.Errorf("%d leaves, %d and %d equal: taken, root %s", n, i, i+1, root)
			}
		}
	}
}
