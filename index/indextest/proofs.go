package indextest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// wired writes a transaction of this package as on the wire, with a real id.
func wired(tx *index.Transaction) (*index.Transaction, []byte) {
	raw := []byte{1, 0, 0, 0, byte(max(len(tx.Spends), 1))}
	for i := range max(len(tx.Spends), 1) {
		outpoint := make([]byte, 36)
		var script []byte
		if !tx.Coinbase {
			copy(outpoint, tx.Spends[i].TxID[:])
			binary.LittleEndian.PutUint32(outpoint[32:], tx.Spends[i].Output)
			script = frame.AppendPush(frame.AppendPush(nil, make([]byte, 71)), tx.InputKeys[i])
		}
		raw = append(append(raw, outpoint...), byte(len(script)))
		raw = append(append(raw, script...), 0xff, 0xff, 0xff, 0xff)
	}
	raw = append(raw, byte(len(tx.Frames)+len(tx.Outputs)))
	output := func(value uint64, script []byte) {
		raw = append(binary.LittleEndian.AppendUint64(raw, value), 0xfd)
		raw = append(binary.LittleEndian.AppendUint16(raw, uint16(len(script))), script...)
	}
	for _, f := range tx.Frames {
		form := frame.Pushes
		if len(f.Message.Body) > 1000 {
			form = frame.Bracketed // which no store puts together again: it is kept whole
		}
		script, err := f.Message.AppendScript(nil, form)
		if err != nil {
			panic(err)
		}
		output(0, script)
	}
	for _, h := range tx.Outputs {
		output(1, append(append([]byte{0x76, 0xa9, 20}, h[:]...), 0x88, 0xac))
	}
	raw = append(raw, 0, 0, 0, 0)
	c := *tx
	c.ID = frame.HashOf(raw)
	return &c, raw
}

// A chain is blocks whose transactions are written in full, and a writer of them.
type chain struct {
	bench
	writer *index.Writer
	tip    *index.Block
}

func newChain(b bench) *chain {
	return &chain{bench: b, writer: index.NewWriter(b.store, index.DefaultRules(network), nil)}
}

// A leaf is a transaction at a place in a block; the others there carry no frame.
type leaf struct {
	place uint32
	tx    *index.Transaction
}

// connect appends a block of so many transactions.
func (c *chain) connect(count int, fork string, leaves ...leaf) *index.Block {
	c.Helper()
	b := &index.Block{Proofs: &index.Proofs{Count: uint64(count)}}
	if c.tip != nil {
		b.Height = c.tip.Height + 1
		copy(b.Header[4:36], c.tip.Hash[:])
	}
	level := make([]frame.Hash, count)
	for i := range level {
		level[i] = frame.HashOf(fmt.Append(nil, fork, b.Height, i))
	}
	for _, l := range leaves {
		tx, raw := wired(l.tx)
		tx.Index = l.place
		level[l.place] = tx.ID
		b.Transactions, b.Proofs.Raw = append(b.Transactions, tx), append(b.Proofs.Raw, raw)
	}
	root := fold(level, b.Proofs)
	copy(b.Header[36:68], root[:])
	binary.LittleEndian.PutUint32(b.Header[68:], uint32(firstTime+600*b.Height))
	b.Hash, b.MedianTime = frame.HashOf(b.Header[:]), firstTime+600*int64(b.Height)
	if err := c.writer.Connect(context.Background(), []*index.Block{b}); err != nil {
		c.Fatal(err)
	}
	c.tip = b
	return b
}

// fold returns the root above leaves, and gives all nodes to the proofs.
func fold(level []frame.Hash, proofs *index.Proofs) frame.Hash {
	for height := 0; len(level) > 1; height++ {
		var up []frame.Hash
		for i, node := range level {
			proofs.Add(height, uint64(i), node)
			if i%2 == 0 {
				up = append(up, index.FoldPath(node, 0, []frame.Hash{level[min(i+1, len(level)-1)]}))
			}
		}
		level = up
	}
	return level[0]
}

// disconnect takes the blocks above one off.
func (c *chain) disconnect(to *index.Block) {
	c.Helper()
	if err := c.writer.Disconnect(context.Background(), to.Height); err != nil {
		c.Fatal(err)
	}
	c.tip = to
}

// proved checks that a transaction is proved to be in a block at a place.
func (c *chain) proved(what string, l leaf, in *index.Block) {
	c.Helper()
	tx, raw := wired(l.tx)
	c.view(func(v index.View) {
		p, err := v.Proof(tx.ID)
		if err != nil {
			c.Errorf("%s: %v, want a proof", what, err)
			return
		}
		if !bytes.Equal(p.Raw, raw) || p.Index != l.place || p.Height != in.Height || p.Block != in.Hash || p.Header != in.Header {
			c.Errorf("%s: got %+v, want transaction %d of block %d %s", what, p, l.place, in.Height, in.Hash)
		}
		if root := p.Root(tx.ID); root != frame.Hash(in.Header[36:68]) {
			c.Errorf("%s: the path leads to %s, want %s", what, root, frame.Hash(in.Header[36:68]))
		}
	})
}

// unproved checks that there is no proof of a transaction.
func (c *chain) unproved(what string, l leaf) {
	c.Helper()
	tx, _ := wired(l.tx)
	c.view(func(v index.View) {
		if p, err := v.Proof(tx.ID); !errors.Is(err, index.ErrNotFound) {
			c.Errorf("%s: got %+v, %v, want %v", what, p, err, index.ErrNotFound)
		}
	})
}

func mail(label string, n uint64) *index.Transaction {
	return transaction(label, alice, []person{bob}, text(alice, label, n))
}

// proofsOfBlocks proves transactions in blocks of every shape, also after the
// store was opened again.
func proofsOfBlocks(b bench, reopen func() bench) {
	c := newChain(b)
	coinbase := &index.Transaction{Coinbase: true, Outputs: []frame.KeyHash{alice.hash}, Frames: []*index.Frame{text(alice, "from a coinbase", 1)}}
	two := transaction("two frames", alice, []person{bob, carol}, text(alice, "one", 2), der(alice, "two", 3))
	two.Frames[1].Output = 1
	type shape struct {
		what   string
		count  int
		leaves []leaf
	}
	shapes := []shape{
		{"a coinbase with a frame, alone", 1, []leaf{{0, coinbase}}},
		{"the last of two", 2, []leaf{{1, mail("b", 11)}}},
		{"the last of three, its own sibling", 3, []leaf{{2, mail("c", 12)}}},
		{"the last of five, its own sibling twice", 5, []leaf{{4, mail("d", 13)}}},
		{"several of many", 37, []leaf{{1, mail("e", 14)}, {2, two}, {17, mail("f", 15)}, {36, mail("g", 16)}}},
	}
	var blocks []*index.Block
	for _, s := range shapes {
		blocks = append(blocks, c.connect(s.count, "", s.leaves...))
	}
	var heavy []leaf
	for i := range uint32(40) {
		heavy = append(heavy, leaf{i, mail(fmt.Sprint("heavy ", i)+strings.Repeat(" and long", 6000), 50+uint64(i))})
	}
	shapes = append(shapes, shape{"more bytes than a statement has", 41, heavy})
	blocks = append(blocks, c.connect(41, "", heavy...))
	var crowd []leaf
	for i := range uint32(300) {
		crowd = append(crowd, leaf{3 * i, mail(fmt.Sprint("crowd ", i), 100+uint64(i))})
	}
	full := c.connect(1000, "", crowd...)
	check := func(when string) {
		for i, s := range shapes {
			for _, l := range s.leaves {
				c.proved(fmt.Sprintf("%s%s, at %d", s.what, when, l.place), l, blocks[i])
			}
		}
		for _, i := range []int{0, 1, 126, 127, 128, 255, 256, 299} {
			c.proved(fmt.Sprintf("one of a crowd%s, at %d", when, crowd[i].place), crowd[i], full)
		}
	}
	check("")
	c.unproved("what no block has", leaf{0, mail("never", 5)})
	c.bench = reopen()
	check(", opened again")
}

// proofsTurn: a proof goes with its block, and comes with another.
func proofsTurn(b bench, _ func() bench) {
	for depth := int32(1); depth <= 4; depth++ {
		name := fmt.Sprintf("a reorganisation of %d: ", depth)
		c := newChain(b)
		c.tip = nil
		if depth > 1 {
			c.view(func(v index.View) {
				tip, err := v.Tip()
				if err != nil {
					c.Fatal(err)
				}
				c.tip = &index.Block{Height: tip.Height, Hash: tip.Hash, Header: tip.Header}
			})
		}
		time := uint64(depth) * 1000
		stays := leaf{3, mail(name+"stays", time)}
		base := c.connect(5, name, stays)
		moves, goes := leaf{2, mail(name+"moves", time+1)}, leaf{1, mail(name+"goes", time+2)}
		old := c.connect(4, name+"old", goes, moves)
		for range depth - 1 {
			c.connect(2, name+"old")
		}
		c.proved(name+"before", moves, old)
		c.disconnect(base)
		c.unproved(name+"off the chain", moves)
		c.unproved(name+"off the chain", goes)
		c.proved(name+"in a block that stays", stays, base)
		c.connect(3, name+"new")
		c.unproved(name+"in a rival without it", moves)
		again := leaf{6, moves.tx}
		block := c.connect(9, name+"new", again)
		c.proved(name+"in another block", again, block)
		c.unproved(name+"in no block of the rival", goes)
		back := leaf{0, goes.tx}
		c.proved(name+"late", back, c.connect(1, name+"new", back))
		c.proved(name+"still", again, block)
	}
}

// proofsTwice: of one transaction in two blocks the first proves it, and the
// second when it comes in the place of the first.
func proofsTwice(b bench, _ func() bench) {
	c := newChain(b)
	base := c.connect(1, "")
	twice, other := leaf{1, mail("twice", 1)}, leaf{2, mail("other", 2)}
	first := c.connect(3, "", twice, other)
	again := leaf{5, twice.tx}
	second := c.connect(7, "", again)
	c.proved("in two blocks", twice, first)
	c.disconnect(first)
	c.proved("after the second has gone", twice, first)
	c.connect(7, "again", again)
	c.disconnect(base)
	c.unproved("after both have gone", twice)
	c.connect(2, "rival")
	third := c.connect(7, "rival", again)
	c.proved("in a rival", again, third)
	if third.Hash == second.Hash {
		c.Error("the rival is the same block")
	}
}

// proofsMissing: what is too large is proved without its bytes, and a block whose
// proofs aren't given has none.
func proofsMissing(b bench, _ func() bench) {
	c := newChain(b)
	c.connect(1, "")
	large := leaf{1, mail("large", 1)}
	tx, _ := wired(large.tx)
	tx.Index = 1
	make2 := func(proofs *index.Proofs) *index.Block {
		next := &index.Block{Height: c.tip.Height + 1, Transactions: []*index.Transaction{tx}, Proofs: proofs}
		copy(next.Header[4:36], c.tip.Hash[:])
		root := fold([]frame.Hash{{1}, tx.ID}, &index.Proofs{})
		if proofs != nil {
			fold([]frame.Hash{{1}, tx.ID}, proofs)
		}
		copy(next.Header[36:68], root[:])
		next.Hash = frame.HashOf(next.Header[:])
		return next
	}
	base := c.tip
	if err := c.writer.Connect(context.Background(), []*index.Block{make2(nil)}); err != nil {
		c.Fatal(err)
	}
	c.unproved("a block without proofs", large)
	c.disconnect(base)
	if err := c.writer.Connect(context.Background(), []*index.Block{make2(&index.Proofs{Count: 2, Raw: [][]byte{nil}})}); err != nil {
		c.Fatal(err)
	}
	c.view(func(v index.View) {
		p, err := v.Proof(tx.ID)
		if err != nil || p.Raw != nil || len(p.Path) != 1 || p.Path[0] != (frame.Hash{1}) {
			c.Errorf("too large: got %+v, %v; want a path and no bytes", p, err)
		}
	})
	bad := make2(&index.Proofs{Count: 2})
	bad.Height++
	copy(bad.Header[4:36], make2(nil).Hash[:])
	if err := c.writer.Connect(context.Background(), []*index.Block{bad}); err == nil {
		c.Error("proofs of other transactions than the block's: no error")
	}
}
