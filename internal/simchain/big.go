package simchain

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
)

// A Big is a block that is mostly foreign transactions, made as it is written:
// memory doesn't grow with its size.
type Big struct {
	Header chainwatch.Header
	Hash   frame.Hash
	Size   int64  // bytes of the block
	Count  uint64 // transactions

	first   []byte
	ours    map[uint64][]byte // by index in the block
	foreign int               // bytes of each foreign transaction
	last    int               // bytes of the last one, which fills the block up
	seed    uint64
}

const leastForeign = 4 + 1 + 36 + 9 + 4 + 1 + 8 + 9 + 4 // bytes without any script

// NewBig makes a block after parent of exactly size bytes: a coinbase, foreign
// transactions of the length given, and ours by their index in the block (from
// 1), which must be within it. It walks the block once to find its Merkle root:
// about 2 seconds for each GB. It fails when the sizes don't fit.
func NewBig(parent *Block, time uint32, size int64, foreign int, ours map[uint64][]byte) (*Big, error) {
	coinbase := &Tx{Inputs: []Input{Coinbase(parent.Height+1, uint64(size))}, Outputs: []Output{Pay(frame.KeyHash{}, 50e8)}}
	b := &Big{Size: size, first: coinbase.Bytes(), ours: ours, foreign: foreign, seed: uint64(time)}
	if foreign < leastForeign || foreign > 1<<30 {
		return nil, fmt.Errorf("foreign transactions of %d bytes, not %d to %d", foreign, leastForeign, 1<<30)
	}
	rest := size - chainwatch.HeaderSize - 9 - int64(len(b.first))
	for _, tx := range ours {
		rest -= int64(len(tx))
	}
	if rest < 2*int64(foreign) {
		return nil, fmt.Errorf("%d bytes are too few for the block", size)
	}
	fillers := rest / int64(foreign)
	b.last = foreign + int(rest-fillers*int64(foreign))
	b.Count = uint64(fillers) + 1 + uint64(len(ours))
	for _, i := range slices.Sorted(keys(ours)) {
		if i == 0 || i >= b.Count-1 {
			return nil, fmt.Errorf("transaction %d of ours isn't within a block of %d", i, b.Count)
		}
	}
	var tree merkle
	err := b.each(func(tx []byte) error {
		tree.add(frame.HashOf(tx))
		return nil
	})
	b.Header = header(parent, tree.root(), time)
	b.Hash = b.Header.Hash()
	return b, err
}

func keys(m map[uint64][]byte) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// each calls yield with every transaction in order; the bytes are overwritten by
// the next.
func (b *Big) each(yield func(tx []byte) error) error {
	filler := b.filler(b.foreign)
	for i := range b.Count {
		tx := filler
		switch own, mine := b.ours[i]; {
		case i == 0:
			tx = b.first
		case mine:
			tx = own
		case i == b.Count-1:
			tx = b.filler(b.last)
			fallthrough
		default:
			binary.LittleEndian.PutUint64(tx[5:], i)
		}
		if err := yield(tx); err != nil {
			return err
		}
	}
	return nil
}

// filler makes a foreign transaction of n bytes, most of it a data output of
// another protocol.
func (b *Big) filler(n int) []byte {
	tx := make([]byte, 0, n)
	tx = append(tx, 1, 0, 0, 0, 1)
	tx = append(tx, make([]byte, 8)...) // the number of the transaction goes here
	tx = binary.LittleEndian.AppendUint64(tx, b.seed)
	tx = append(tx, make([]byte, 16)...)
	tx = append(tx, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 1)
	tx = append(tx, make([]byte, 8)...)
	// The length takes nine bytes whatever it is, so that every n is possible.
	script := n - len(tx) - 9 - 4
	tx = append(tx, 0xff)
	tx = binary.LittleEndian.AppendUint64(tx, uint64(script))
	tx = append(tx, make([]byte, script)...)
	if script > 1 {
		tx[len(tx)-script+1] = 0x6a
	}
	return append(tx, 0, 0, 0, 0)
}

// WriteTo writes the block as on the wire.
func (b *Big) WriteTo(w io.Writer) (int64, error) {
	out := &counting{w: bufio.NewWriterSize(w, 1<<20)}
	head := append(b.Header[:len(b.Header):len(b.Header)], 0xff)
	err := out.write(binary.LittleEndian.AppendUint64(head, b.Count))
	if err == nil {
		err = b.each(out.write)
	}
	if err == nil {
		err = out.w.Flush()
	}
	return out.n, err
}

// WriteFile writes the block as it stands in a block file. It fails when the
// length doesn't fit into the file's four bytes.
func (b *Big) WriteFile(w io.Writer) error {
	head, err := fileHead(b.Size)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err = b.WriteTo(w)
	return err
}

type counting struct {
	w *bufio.Writer
	n int64
}

func (c *counting) write(b []byte) error {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return err
}
