package proof_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bsv-blockchain/go-sdk/chainhash"
	"github.com/bsv-blockchain/go-sdk/transaction"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/proof"
)

// pathsOf returns the root above leaves, and the siblings of each.
func pathsOf(leaves []frame.Hash) (root frame.Hash, paths [][]frame.Hash) {
	paths = make([][]frame.Hash, len(leaves))
	level := leaves
	for height := 0; len(level) > 1; height++ {
		var up []frame.Hash
		for i := range paths {
			sibling := frame.Hash{}
			if at := i>>height ^ 1; at < len(level) {
				sibling = level[at]
			}
			paths[i] = append(paths[i], sibling)
		}
		for i := 0; i < len(level); i += 2 {
			right := level[min(i+1, len(level)-1)]
			up = append(up, frame.HashOf(append(level[i][:], right[:]...)))
		}
		level = up
	}
	return level[0], paths
}

// readBack reads a path with this package and with the BSV SDK for Go, and tells
// what is wrong with what they find.
func readBack(t *testing.T, p proof.BUMP, root frame.Hash) {
	t.Helper()
	written := p.Append(nil)
	got, err := proof.ReadBUMP(written)
	if err != nil || fmt.Sprint(*got) != fmt.Sprint(p) {
		t.Errorf("transaction %d: read back as %+v, %v; want %+v", p.Index, got, err, p)
		return
	}
	theirs, err := transaction.NewMerklePathFromBinary(written)
	if err != nil {
		t.Errorf("transaction %d: the SDK reads %x: %v", p.Index, written, err)
		return
	}
	id := chainhash.Hash(p.TxID)
	if computed, err := theirs.ComputeRoot(&id); err != nil || frame.Hash(*computed) != root || theirs.BlockHeight != p.Height {
		t.Errorf("transaction %d: the SDK finds the root %v at height %d, %v; want %s at %d", p.Index, computed, theirs.BlockHeight, err, root, p.Height)
	}
	if again := theirs.Bytes(); !bytes.Equal(again, written) {
		t.Errorf("transaction %d: the SDK writes %x, this package %x", p.Index, again, written)
	}
}

// TestBUMP: paths are written as others read them, in blocks of every size.
func TestBUMP(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 100, 257, 600} {
		leaves := make([]frame.Hash, n)
		for i := range leaves {
			leaves[i] = frame.HashOf(binary.BigEndian.AppendUint32(nil, uint32(i)))
		}
		root, paths := pathsOf(leaves)
		for i, path := range paths {
			if folded := index.FoldPath(leaves[i], uint32(i), path); folded != root {
				t.Fatalf("of %d leaves %d: folded to %s, want %s", n, i, folded, root)
			}
			readBack(t, proof.BUMP{Height: uint32(70000 * n), Index: uint32(i), TxID: leaves[i], Path: path}, root)
		}
	}
}

// TestMainnetBUMP: every transaction of a real block. It is kept outside the tree;
// METAIM_SHARED names the folder.
func TestMainnetBUMP(t *testing.T) {
	folder := cmp.Or(os.Getenv("METAIM_SHARED"), filepath.Join("..", "..", "shared"))
	block, err := os.ReadFile(filepath.Join(folder, "data", "mainnet-block-705985.bin"))
	if os.IsNotExist(err) {
		t.Skip("the block isn't there: METAIM_SHARED names the folder that holds data/mainnet-block-705985.bin")
	}
	if err != nil {
		t.Fatal(err)
	}
	var leaves []frame.Hash
	for rest := bytes.NewReader(block[83:]); rest.Len() > 0; {
		from := len(block) - rest.Len()
		if _, err := new(transaction.Transaction).ReadFrom(rest); err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, frame.HashOf(block[from:len(block)-rest.Len()]))
	}
	header := chainwatch.Header(block[:80])
	root, paths := pathsOf(leaves)
	if root != header.MerkleRoot() || len(leaves) != 648 {
		t.Fatalf("%d transactions with the root %s, want 648 with %s", len(leaves), root, header.MerkleRoot())
	}
	for i, path := range paths {
		readBack(t, proof.BUMP{Height: 705985, Index: uint32(i), TxID: leaves[i], Path: path}, root)
	}
}

// anyRoot takes one Merkle root for right.
type anyRoot struct {
	root   frame.Hash
	height uint32
}

func (a anyRoot) IsValidRootForHeight(_ context.Context, root *chainhash.Hash, height uint32) (bool, error) {
	return frame.Hash(*root) == a.root && height == a.height, nil
}

func (a anyRoot) CurrentHeight(context.Context) (uint32, error) { return a.height, nil }

// TestBEEF: the BSV SDK for Go reads the BEEF of a message, finds the transaction
// and its proof, and writes the same bytes.
func TestBEEF(t *testing.T) {
	w := newWorld()
	w.mine()
	raw := w.message("hello", simchain.Compact, simchain.Pushes)
	block := w.mine(append(w.foreign(4), raw)...)
	p := w.proofs(t, raw)[0]
	beef := unhex(t, p.BEEF)
	tx, err := transaction.NewTransactionFromBEEF(beef)
	if err != nil {
		t.Fatal(err)
	}
	if tx.TxID().String() != p.TxID || !bytes.Equal(tx.Bytes(), raw) {
		t.Errorf("the SDK finds %s, want %s", tx.TxID(), p.TxID)
	}
	ok, err := tx.MerklePath.Verify(t.Context(), tx.TxID(), anyRoot{block.Header.MerkleRoot(), 2})
	if err != nil || !ok {
		t.Errorf("the SDK's verdict on the path: %v, %v", ok, err)
	}
	if again, err := tx.BEEF(); err != nil || !bytes.Equal(again, beef) {
		t.Errorf("the SDK writes %x, %v; want %x", again, err, beef)
	}
}

// TestSDKReaders shows why proofs aren't read with the SDK: bytes that anyone can
// make end the program.
func TestSDKReaders(t *testing.T) {
	many := append([]byte{0, 1}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)
	many = append(many, make([]byte, 40)...)
	for name, read := range map[string]func(){
		"more nodes than memory": func() { _, _ = transaction.NewMerklePathFromBinary(many) },
		"a path without a level": func() {
			p, _ := transaction.NewMerklePathFromBinary(make([]byte, 40))
			_, _ = p.ComputeRoot(nil)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic: the SDK has become better, and this package may use it", name)
				}
			}()
			read()
		}()
	}
	for name, b := range map[string][]byte{"more nodes than memory": many, "no level": make([]byte, 40)} {
		if p, err := proof.ReadBUMP(b); err == nil {
			t.Errorf("%s: got %+v, want %v", name, p, proof.ErrBUMP)
		}
	}
}

// FuzzReadBUMP: any bytes are refused or are what is written for what was read.
func FuzzReadBUMP(f *testing.F) {
	for _, p := range []proof.BUMP{
		{Height: 1, TxID: frame.Hash{1}},
		{Height: 800_000, Index: 2, TxID: frame.Hash{1}, Path: []frame.Hash{{}, {3}}},
		{Height: 5, Index: 1, TxID: frame.Hash{1}, Path: []frame.Hash{{2}, {}, {4}}},
	} {
		f.Add(p.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := proof.ReadBUMP(b)
		if err != nil {
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x is read as %+v, which is written as %x", b, p, again)
		}
	})
}
