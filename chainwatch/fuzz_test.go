package chainwatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/metaim/metaim/improtocol/frame"
)

// vectorBlocks returns blocks of the shared vectors.
func vectorBlocks(t testing.TB) (blocks [][]byte) {
	t.Helper()
	for _, name := range []string{"base.dat", "reorg.dat"} {
		b, err := os.ReadFile(filepath.Join("testdata", "chain", name))
		if err != nil {
			t.Fatal(err)
		}
		for len(b) >= 8 {
			n := binary.LittleEndian.Uint32(b[4:])
			blocks = append(blocks, b[8:8+n])
			b = b[8+n:]
		}
	}
	if len(blocks) == 0 {
		t.Fatal("the vectors hold no blocks")
	}
	return blocks
}

func vectorTransactions(t testing.TB) (txs [][]byte) {
	t.Helper()
	for _, block := range vectorBlocks(t) {
		c := cursor{b: block, at: HeaderSize}
		for count := c.varint(); count > 0; count-- {
			n, ours, err := walk(block[c.at:], nil)
			if err != nil {
				t.Fatal(err)
			}
			if ours {
				txs = append(txs, block[c.at:c.at+n])
			}
			c.skip(n)
		}
	}
	if len(txs) < 100 {
		t.Fatalf("the vectors hold %d transactions with frames", len(txs))
	}
	return txs
}

// FuzzReadTransaction: reading and walking never panic, and agree: what is read
// is walked to its end, and is ours exactly when it has frames. Every frame
// stands in an output that is ours, and proving its signatures never panics.
func FuzzReadTransaction(f *testing.F) {
	for i, tx := range vectorTransactions(f) {
		if i%20 == 0 {
			f.Add(tx)
		}
	}
	for _, tx := range wireSmall() {
		f.Add(tx)
	}
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, ours, walked := walk(raw, nil)
		tx, err := ReadTransaction(raw, frame.Regtest)
		if err != nil {
			if !errors.Is(err, ErrTransaction) || tx != nil {
				t.Fatalf("got %+v, %v", tx, err)
			}
			return
		}
		if walked != nil || n != len(raw) || ours != (len(tx.Frames) > 0) {
			t.Fatalf("read whole; walked to %d of %d, ours %v, %v; %d frames", n, len(raw), ours, walked, len(tx.Frames))
		}
		scripts := outputScripts(raw)
		for _, found := range tx.Frames {
			if !frame.Ours(scripts[found.Output]) {
				t.Fatalf("output %d isn't ours", found.Output)
			}
			set := 0
			for _, is := range []bool{found.Malformed != "", found.Message != nil, found.Record != nil} {
				if is {
					set++
				}
			}
			if set != 1 {
				t.Fatalf("output %d is %+v", found.Output, found)
			}
		}
		Prove(tx, frame.Regtest)
		tx.Reached()
	})
}

// FuzzScannerBlock: scanning never panics; a block that is taken is whole, has
// the Merkle root of its transactions, and is the same byte by byte. Since no
// change to a block would ever keep its root, a second input says to give the
// header the root of what follows it.
func FuzzScannerBlock(f *testing.F) {
	for _, block := range vectorBlocks(f) {
		if len(block) < 700 { // fuzzing small ones is thousands of times faster
			f.Add(block, false)
		}
	}
	for _, tx := range wireSmall() {
		f.Add(wireBlock(tx), true)
	}
	block := wireBlock(wireSmall()[:3]...)
	f.Add(block, true)
	f.Add(block[:len(block)-1], false)
	f.Add(append(make([]byte, 80), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), true)
	f.Fuzz(func(t *testing.T, block []byte, root bool) {
		ids, whole := idsOf(block)
		if whole && root {
			r := plainRoot(ids)
			block = bytes.Clone(block)
			copy(block[36:], r[:])
		}
		// Small buffers, which must grow, and new ones, so that an input shows the
		// fuzzer the same coverage each time.
		scan, err := (&Scanner{network: frame.Regtest, buf: make([]byte, 512)}).Block(bytes.NewReader(block), nil)
		again, errAgain := (&Scanner{network: frame.Regtest, buf: make([]byte, 16)}).Block(iotest.OneByteReader(bytes.NewReader(block)), nil)
		if (err == nil) != (errAgain == nil) {
			t.Fatalf("whole: %v; byte by byte: %v", err, errAgain)
		}
		if err != nil {
			if !errors.Is(err, ErrBlockSize) && !errors.Is(err, ErrMerkleRoot) && !errors.Is(err, ErrTransaction) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if a, b := summary(scan), summary(again); a != b {
			t.Fatalf("whole %s\nbyte by byte %s", a, b)
		}
		if !whole || scan.Bytes != int64(len(block)) || uint64(len(ids)) != scan.Count || plainRoot(ids) != scan.Header.MerkleRoot() {
			t.Fatalf("taken: %s", summary(scan))
		}
	})
}

// idsOf walks a block and returns the ids of its transactions; whole tells
// whether it ends with the last of as many as it says, one at least.
func idsOf(block []byte) (ids []frame.Hash, whole bool) {
	c := cursor{b: block}
	c.bytes(HeaderSize)
	count := c.varint()
	for !c.short && c.at < len(block) {
		n, _, err := walk(block[c.at:], nil)
		if err != nil {
			return nil, false
		}
		ids = append(ids, frame.HashOf(block[c.at:c.at+n]))
		c.skip(n)
	}
	return ids, !c.short && len(ids) > 0 && uint64(len(ids)) == count
}
