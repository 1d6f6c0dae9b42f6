package chainwatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
)

// plainPath lists the siblings of a leaf level by level, as the definition says.
func plainPath(level []frame.Hash, at int) (path []frame.Hash) {
	level = slices.Clone(level)
	for ; len(level) > 1; at /= 2 {
		sibling := frame.Hash{}
		if len(level)%2 == 1 {
			level = append(level, level[len(level)-1])
		}
		if own := at^1 == len(level)-1 && level[at] == level[at^1]; !own {
			sibling = level[at^1]
		}
		path = append(path, sibling)
		var up []frame.Hash
		for i := 0; i < len(level); i += 2 {
			up = append(up, plainRoot(level[i:i+2]))
		}
		level = up
	}
	return path
}

// TestPaths: the paths of marked leaves are those of the definition, whichever
// are marked, however many leaves there are and in whatever pieces they come.
func TestPaths(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 7))
	sizes := []int{255, 256, 257, 1023, 1024, 1025, 2049, 3000}
	for n := range 40 {
		sizes = append(sizes, n+1)
	}
	for _, n := range sizes {
		for _, every := range []int{1, 2, 3, n} { // one in so many is marked
			list := leaves(n)
			var marked []int
			for i := range n {
				if random.IntN(every) == 0 {
					marked = append(marked, i)
				}
			}
			if len(marked) == 0 {
				marked = []int{n - 1}
			}
			checkPaths(t, fmt.Sprintf("%d leaves, %d marked", n, len(marked)), list, marked, random)
		}
	}
}

func checkPaths(t *testing.T, name string, list []frame.Hash, marked []int, random *rand.Rand) {
	t.Helper()
	var tree merkleTree
	next := 0
	for at := 0; at < len(list); {
		piece := list[at:min(len(list), at+1+random.IntN(1024))]
		for ; next < len(marked) && marked[next] < at+len(piece); next++ {
			tree.mark(uint64(marked[next]))
		}
		at += len(piece)
		tree.addAll(slices.Clone(piece))
	}
	root, ok := tree.root()
	if want := plainRoot(list); !ok || root != want {
		t.Fatalf("%s: the root is %s, %v; want %s", name, root, ok, want)
	}
	if len(list) > 300 {
		marked = []int{marked[0], marked[len(marked)/2], marked[len(marked)-1]}
	}
	for _, i := range marked {
		got, ok := tree.proofs.Path(uint32(i))
		if want := plainPath(list, i); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: the path of leaf %d is %v, %v; want %v", name, i, got, ok, want)
		}
		if folded := index.FoldPath(list[i], uint32(i), got); folded != root {
			t.Errorf("%s: the path of leaf %d leads to %s, want %s", name, i, folded, root)
		}
	}
}

// TestPathsUnmarked: a tree in which nothing is marked keeps no nodes, and one
// says so when it is asked for a path that it hasn't.
func TestPathsUnmarked(t *testing.T) {
	var tree merkleTree
	tree.addAll(leaves(100))
	if _, ok := tree.root(); !ok || tree.proofs != nil {
		t.Errorf("a root: %v, nodes: %v; want a root and none", ok, tree.proofs)
	}
	var one merkleTree
	one.mark(7)
	one.addAll(leaves(100))
	one.root()
	for leaf, want := range map[uint32]bool{7: true, 6: false, 50: false, 100: false} {
		if _, ok := one.proofs.Path(leaf); ok != want {
			t.Errorf("of 7, the path of leaf %d: got %v, want %v", leaf, ok, want)
		}
	}
}

// TestScannedProofs: what the scanner keeps of a block proves, read back from an
// index, each transaction with a frame.
func TestScannedProofs(t *testing.T) {
	big := wireTx([]wireInput{{9, make([]byte, index.MaxProved)}}, wireMessage)
	foreign := func(n int) (txs [][]byte) {
		for i := range n {
			txs = append(txs, wireTx([]wireInput{{byte(i), []byte{byte(i >> 8)}}}, wirePay(1)))
		}
		return txs
	}
	message := func(n byte) []byte {
		return wireTx([]wireInput{{n, []byte("key")}}, wirePay(1), wireMessage, wirePay(2))
	}
	for _, c := range []struct {
		name string
		txs  [][]byte
	}{
		{"one transaction, with a frame", [][]byte{message(1)}},
		{"two", [][]byte{wireCoinbase, message(1)}},
		{"three, the last its own sibling", [][]byte{wireCoinbase, message(1), message(2)}},
		{"five, the last its own sibling twice", append([][]byte{wireCoinbase, message(1)}, append(foreign(2), message(2))...)},
		{"frames among many", append(append(append([][]byte{wireCoinbase}, foreign(1500)...), message(1)), append(foreign(700), message(2))...)},
		{"one larger than what is kept", [][]byte{wireCoinbase, message(1), big}},
	} {
		block := wireBlock(c.txs...)
		scan, err := NewScanner(frame.Regtest).Block(bytes.NewReader(block), nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		proved := 0
		store := storeOf(t, scan)
		for i, raw := range c.txs {
			p, err := proofIn(store, frame.HashOf(raw))
			if tx, _ := ReadTransaction(raw, frame.Regtest); len(tx.Frames) == 0 {
				if !errors.Is(err, index.ErrNotFound) {
					t.Errorf("%s: of transaction %d, without a frame, got %v, want %v", c.name, i, err, index.ErrNotFound)
				}
				continue
			}
			if len(raw) > index.MaxProved {
				raw = nil
			}
			if err != nil || !bytes.Equal(p.Raw, raw) || p.Index != uint32(i) || p.Header != scan.Header {
				t.Errorf("%s: of transaction %d got %+v, %v", c.name, i, p, err)
				continue
			}
			if root := p.Root(frame.HashOf(c.txs[i])); root != scan.Header.MerkleRoot() {
				t.Errorf("%s: the proof of transaction %d leads to %s, want %s", c.name, i, root, scan.Header.MerkleRoot())
			}
			proved++
		}
		if proved != len(scan.Transactions) {
			t.Errorf("%s: %d proved, want %d", c.name, proved, len(scan.Transactions))
		}
	}
}

// storeOf returns an index that holds a scanned block.
func storeOf(t *testing.T, scan *Scan) index.Store {
	t.Helper()
	store := memory.New()
	ProveAll(context.Background(), scan.Transactions, frame.Regtest)
	b := &index.Block{Hash: scan.Header.Hash(), Header: scan.Header, Transactions: scan.Transactions, Proofs: scan.Proofs}
	if err := index.NewWriter(store, index.DefaultRules(frame.Regtest), nil).Connect(context.Background(), []*index.Block{b}); err != nil {
		t.Fatal(err)
	}
	return store
}

func proofIn(store index.Store, txid frame.Hash) (p *index.Proof, err error) {
	err = store.View(context.Background(), func(v index.View) error {
		p, err = v.Proof(txid)
		return err
	})
	return p, err
}

// TestMainnetPaths: every transaction of a real block is proved by its path.
func TestMainnetPaths(t *testing.T) {
	block := mainnetBlock(t)
	var ids []frame.Hash
	for rest := block[83:]; len(rest) > 0; {
		n, _, err := walk(rest, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, frame.HashOf(rest[:n]))
		rest = rest[n:]
	}
	var tree merkleTree
	for i := range ids {
		tree.mark(uint64(i))
	}
	tree.addAll(slices.Clone(ids))
	tree.root()
	header := Header(block[:HeaderSize])
	for i, id := range ids {
		path, ok := tree.proofs.Path(uint32(i))
		if root := index.FoldPath(id, uint32(i), path); !ok || root != header.MerkleRoot() {
			t.Errorf("transaction %d: %v, the path leads to %s, want %s", i, ok, root, header.MerkleRoot())
		}
	}
}
