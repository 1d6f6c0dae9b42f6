package blockfile

import (
	"errors"
	"math"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// A block is one that stands in the files, at the first place that holds it.
type block struct {
	place
	header chainwatch.Header
	hash   frame.Hash
	file   int32 // number of the file
	height int32 // on the best branch, or -1
}

// A copyOf is another place of a block.
type copyOf struct {
	place
	file int32
}

// A tree is all that was found, in the order of the files.
type tree struct {
	blocks []block
	index  map[frame.Hash]int32
	copies map[frame.Hash][]copyOf
	best   []int32 // blocks of the best branch from height 1 on
}

func newTree() *tree {
	return &tree{index: map[frame.Hash]int32{}, copies: map[frame.Hash][]copyOf{}}
}

// add notes a block.
func (t *tree) add(h chainwatch.Header, file int32, p place) {
	hash := h.Hash()
	if _, ok := t.index[hash]; ok {
		t.copies[hash] = append(t.copies[hash], copyOf{place: p, file: file})
		return
	}
	if len(t.blocks) == math.MaxInt32 {
		return // over 200 GB of headers: the memory ended long before
	}
	t.index[hash] = int32(len(t.blocks))
	t.blocks = append(t.blocks, block{place: p, header: h, hash: hash, file: file, height: -1})
}

// choose finds the branch with the most work, and returns how many blocks lead
// nowhere, since a predecessor isn't in the files, and the first of them.
//
// Of branches with equal work the one whose last block stands first is best.
// [chainwatch.Chain] keeps the one that came first; so the blocks go in as they
// stand, each after those of its predecessors that stand behind it. The last
// block of a best branch is nobody's predecessor, hence none of them goes in
// before its own turn.
func (t *tree) choose(params *chainwatch.Params) (orphans int, first *block, err error) {
	chain := chainwatch.NewChain(params)
	genesis := params.Genesis.Hash()
	var line []int32
	for i := range t.blocks {
		line = append(line[:0], int32(i))
		for { // back to a block that is in the chain
			prev := t.blocks[line[len(line)-1]].header.Prev()
			parent, ok := t.index[prev]
			if _, known := chain.Height(prev); known || !ok || t.blocks[parent].height == lost {
				break
			}
			line = append(line, parent)
		}
		for n := len(line) - 1; n >= 0; n-- {
			b := &t.blocks[line[n]]
			if b.height == lost || b.hash == genesis {
				continue
			}
			_, err := chain.Add(b.header)
			switch {
			case errors.Is(err, chainwatch.ErrOrphan):
				b.height = lost
				orphans++
				first = firstOf(first, b)
			case err != nil:
				return 0, nil, err
			}
		}
	}
	for _, step := range chain.Path(0, math.MaxInt32-1) {
		i := t.index[step.Hash]
		t.blocks[i].height = step.Height
		t.best = append(t.best, i)
	}
	return orphans, first, nil
}

// lost is the height of a block whose predecessors aren't in the files.
const lost = -2

// firstOf returns the block that stands first.
func firstOf(a, b *block) *block {
	if a == nil || b.file < a.file || b.file == a.file && b.at < a.at {
		return b
	}
	return a
}
