package simchain

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// A Block is a block of a tree.
type Block struct {
	Parent *Block // nil of the genesis block
	Height int32
	Hash   frame.Hash
	Header chainwatch.Header
	Txs    [][]byte // as on the wire, the coinbase first; none of the genesis block
}

// Bytes returns the block as on the wire.
func (b *Block) Bytes() []byte {
	out := appendVarInt(append([]byte{}, b.Header[:]...), uint64(len(b.Txs)))
	for _, tx := range b.Txs {
		out = append(out, tx...)
	}
	return out
}

// Branch returns the blocks from the genesis block to this one.
func (b *Block) Branch() []*Block {
	list := make([]*Block, b.Height+1)
	for ; b != nil; b = b.Parent {
		list[b.Height] = b
	}
	return list
}

// Ancestor returns the block at a height of the branch that ends here; nil when
// there is none.
func (b *Block) Ancestor(height int32) *Block {
	for b != nil && b.Height > height {
		b = b.Parent
	}
	if b == nil || b.Height != height {
		return nil
	}
	return b
}

// A Tree is the genesis block of regtest and what was mined on it.
type Tree struct {
	Genesis *Block
	Blocks  map[frame.Hash]*Block
	mined   uint64
}

// NewTree returns a tree of the genesis block alone.
func NewTree() *Tree {
	header := chainwatch.ParamsOf(Network).Genesis
	g := &Block{Header: header, Hash: header.Hash()}
	return &Tree{Genesis: g, Blocks: map[frame.Hash]*Block{g.Hash: g}}
}

// Mine makes a block after parent with the time given in its header, in Unix
// seconds. The coinbase has the outputs given and one more, and is like no
// other.
func (t *Tree) Mine(parent *Block, time uint32, txs [][]byte, coinbase ...Output) *Block {
	t.mined++
	height := parent.Height + 1
	first := &Tx{Inputs: []Input{Coinbase(height, t.mined)}, Outputs: append(coinbase, Pay(frame.KeyHash{}, 50e8))}
	b := &Block{Parent: parent, Height: height, Txs: append([][]byte{first.Bytes()}, txs...)}
	var tree merkle
	for _, tx := range b.Txs {
		tree.add(frame.HashOf(tx))
	}
	b.Header = header(parent, tree.root(), time)
	b.Hash = b.Header.Hash()
	t.Blocks[b.Hash] = b
	return b
}

// header makes a header with proof of work: on regtest every second hash will do.
func header(parent *Block, root frame.Hash, time uint32) chainwatch.Header {
	var h chainwatch.Header
	h[3] = 0x20
	copy(h[4:], parent.Hash[:])
	copy(h[36:], root[:])
	binary.LittleEndian.PutUint32(h[68:], time)
	binary.LittleEndian.PutUint32(h[72:], chainwatch.ParamsOf(Network).PowLimit)
	for nonce := uint32(0); ; nonce++ {
		binary.LittleEndian.PutUint32(h[76:], nonce)
		if hash := h.Hash(); hash[31] < 0x7f {
			return h
		}
	}
}

// merkle folds transaction ids into a root as they come.
type merkle struct {
	level []frame.Hash // level[i] holds a full subtree of 2^i leaves where bit i of count is set
	count uint64
}

func join(left, right frame.Hash) frame.Hash {
	var b [64]byte
	copy(b[:], left[:])
	copy(b[32:], right[:])
	return frame.HashOf(b[:])
}

func (m *merkle) add(id frame.Hash) {
	i := 0
	for ; m.count>>i&1 == 1; i++ {
		id = join(m.level[i], id)
	}
	if i == len(m.level) {
		m.level = append(m.level, frame.Hash{})
	}
	m.level[i] = id
	m.count++
}

// root returns the root: a level with an odd number of nodes repeats its last.
func (m *merkle) root() frame.Hash {
	var last frame.Hash // of this level, where it isn't a full subtree
	have := false
	for i := range m.level {
		full := m.count>>i&1 == 1
		alone := m.count <= 1<<i // the only node of its level
		switch {
		case full && have:
			last = join(m.level[i], last)
		case full && alone:
			return m.level[i]
		case full:
			last, have = join(m.level[i], m.level[i]), true
		case have && alone:
			return last
		case have:
			last = join(last, last)
		}
	}
	return last
}

// WriteFile writes blocks as they stand in blk*.dat: the network's magic, the
// length in four bytes, the block. It fails for a block of 4 GiB or more: see
// [Big.WriteTo].
func WriteFile(w io.Writer, blocks ...*Block) error {
	for _, b := range blocks {
		raw := b.Bytes()
		head, err := fileHead(int64(len(raw)))
		if err != nil {
			return err
		}
		if _, err := w.Write(head); err != nil {
			return err
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

// fileHead returns what stands before a block in a block file.
func fileHead(size int64) ([]byte, error) {
	if size > math.MaxUint32 {
		return nil, fmt.Errorf("a block of %d bytes has no length in a block file", size)
	}
	head := binary.LittleEndian.AppendUint32(nil, chainwatch.ParamsOf(Network).Magic)
	return binary.LittleEndian.AppendUint32(head, uint32(size)), nil
}
