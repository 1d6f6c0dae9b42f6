package index_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/nprotocol"
)

// vectorChain returns the best chain of files of the shared vectors, the genesis
// block first, its frames proved.
func vectorChain(t *testing.T, files ...string) (blocks []*index.Block) {
	t.Helper()
	chain := chainwatch.NewChain(chainwatch.ParamsOf(network))
	raw := map[frame.Hash][]byte{}
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join("..", "chainwatch", "testdata", "chain", name))
		if err != nil {
			t.Fatal(err)
		}
		for len(b) >= 8 {
			n := binary.LittleEndian.Uint32(b[4:])
			raw[frame.HashOf(b[8:88])] = b[8 : 8+n]
			b = b[8+n:]
		}
	}
	if len(raw) < 50 {
		t.Fatalf("%d blocks: the vectors aren't there", len(raw))
	}
	for added := 1; added > 0; { // they stand in any order
		added = 0
		for _, b := range raw {
			if isNew, err := chain.Add(chainwatch.Header(b[:80])); err == nil && isNew {
				added++
			}
		}
	}
	scanner := chainwatch.NewScanner(network)
	for _, step := range chain.Path(-1, 1<<20) {
		block := &index.Block{Height: step.Height, Hash: step.Hash, Header: step.Header, MedianTime: step.MedianTime}
		if b, ok := raw[step.Hash]; ok {
			scan, err := scanner.Block(bytes.NewReader(b), nil)
			if err != nil {
				t.Fatal(err)
			}
			block.Transactions = scan.Transactions
		}
		for _, tx := range block.Transactions {
			chainwatch.Prove(tx, network)
		}
		blocks = append(blocks, block)
	}
	return blocks
}

// The state hashes of the shared chain vectors. They change only when the rules
// do, or the encoding: then StartHash must name another version.
const (
	goldenStart = "1cb967c4445b0f8811619add5d282009c9c2df88f5aa35ec96587449ca11a59a"
	goldenBase  = "c632c66d947b855683e70166987d7c092f344eec5c4290b3f79354abfd96299b"
	goldenReorg = "3fbb226995504d5051ac95a451466b60e0efad3f0d68521815c7e1c32eb66b9a"
)

// TestStateHashGolden: the state hashes of the vectors, as the judge chains them
// over facts in memory.
func TestStateHashGolden(t *testing.T) {
	start := rules.StartHash()
	if got := hex.EncodeToString(start[:]); got != goldenStart {
		t.Errorf("before the first block: got %s, want %s", got, goldenStart)
	}
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"base":        {[]string{"base.dat"}, goldenBase},
		"reorganised": {[]string{"base.dat", "reorg.dat"}, goldenReorg},
	} {
		hash := start
		facts := index.NewFacts()
		for _, b := range vectorChain(t, c.files...) {
			decisions := judgeBlock(facts, b)
			next := index.StateHash(hash, b, decisions, facts.Ledger)
			if want := documented(hash, b, decisions, facts.Ledger); next != want {
				t.Fatalf("%s: block %d has state hash %x, the specification says %x", name, b.Height, next, want)
			}
			hash = next
		}
		if got := hex.EncodeToString(hash[:]); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func judgeBlock(facts *index.Facts, b *index.Block) [][]index.Decision {
	decisions := make([][]index.Decision, len(b.Transactions))
	for i, tx := range b.Transactions {
		for _, f := range tx.Frames {
			at := nprotocol.Moment{Position: nprotocol.Position{Height: b.Height, Index: tx.Index, Output: f.Output}, Time: b.Time(), Now: b.MedianTime}
			decisions[i] = append(decisions[i], rules.Judge(facts, tx, f, at))
		}
	}
	return decisions
}

// TestStateHashOfWriter: an index written block by block, one written in
// batches, and one that lived through the reorganisation have the golden state
// hash too.
func TestStateHashOfWriter(t *testing.T) {
	base, reorg := vectorChain(t, "base.dat"), vectorChain(t, "base.dat", "reorg.dat")
	fork := 0
	for fork+1 < len(base) && base[fork+1].Hash == reorg[fork+1].Hash {
		fork++
	}
	for _, batch := range []int{1, 7, 1000} {
		store := memory.New()
		w := index.NewWriter(store, rules, nil)
		connect(t, w, base, batch)
		checkTip(t, w, "base", goldenBase)
		if err := w.Disconnect(context.Background(), int32(fork)); err != nil {
			t.Fatal(err)
		}
		connect(t, w, reorg[fork+1:], batch)
		checkTip(t, w, "reorganised", goldenReorg)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func connect(t *testing.T, w *index.Writer, blocks []*index.Block, batch int) {
	t.Helper()
	for part := range slices.Chunk(blocks, batch) {
		if err := w.Connect(context.Background(), part); err != nil {
			t.Fatal(err)
		}
	}
}

func checkTip(t *testing.T, w *index.Writer, what, want string) {
	t.Helper()
	tip, err := w.Tip(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(tip.StateHash[:]); got != want {
		t.Errorf("%s: state hash %s at %d, want %s", what, got, tip.Height, want)
	}
}

// TestStartHash: other rules are another index from the first block on.
func TestStartHash(t *testing.T) {
	seen := map[[32]byte]string{}
	one := []index.Registration{{Address: frame.KeyHash{1}}}
	for name, r := range map[string]index.Rules{
		"main": index.DefaultRules(frame.Main), "test": index.DefaultRules(frame.Test), "regtest": index.DefaultRules(frame.Regtest),
		"none": {Network: network}, "names": {Network: network, Names: one}, "peers": {Network: network, Peers: one},
		"later": {Network: network, Names: []index.Registration{{FromHeight: 1, Address: frame.KeyHash{1}}}},
		"two":   {Network: network, Names: append(one, one...)},
	} {
		h := r.StartHash()
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s have one start hash", name, other)
		}
		seen[h] = name
		if want := documentedStart(r); h != want {
			t.Errorf("%s: got %x, the specification says %x", name, h, want)
		}
	}
}

// What docs/spec/index.md, "State hash", says, written a second time.

func n8(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

func str(b []byte, s string) []byte { return append(n8(b, int64(len(s))), s...) }

func yes(b []byte, is bool) []byte {
	if is {
		return append(b, 1)
	}
	return append(b, 0)
}

func documentedStart(r index.Rules) [32]byte {
	b := str(str(nil, "metaim state 1"), string(r.Network))
	for _, list := range [][]index.Registration{r.Names, r.Peers} {
		b = n8(b, int64(len(list)))
		for _, g := range list {
			b = append(n8(b, int64(g.FromHeight)), g.Address[:]...)
		}
	}
	return sha256.Sum256(b)
}

func documented(prev [32]byte, block *index.Block, decisions [][]index.Decision, ledger *nprotocol.Ledger) [32]byte {
	b := append(slices.Clone(prev[:]), block.Hash[:]...)
	names, peers := map[string][]byte{}, map[string][]byte{}
	for i, tx := range block.Transactions {
		for j, f := range tx.Frames {
			d := decisions[i][j]
			b = append(b, tx.ID[:]...)
			b = n8(n8(b, int64(tx.Index)), int64(f.Output))
			b = str(str(str(b, string(f.Protocol)), f.Operation()), string(d.Verdict))
			b = append(b, f.ID[:]...)
			b = yes(b, d.Address != nil)
			if d.Address != nil {
				b = append(b, d.Address[:]...)
			}
			if f.Message != nil {
				to := (&index.Entry{Tx: tx, Frame: f, Decision: d}).Recipients()
				b = n8(b, int64(len(to)))
				for _, h := range to {
					b = append(b, h[:]...)
				}
			}
			if f.Record == nil || d.Verdict != frame.Valid {
				continue
			}
			if f.Protocol == frame.N {
				n := ledger.Names[f.Record.Name]
				r := append(str(nil, n.Name), n.Address[:]...)
				r = n8(n8(n8(r, int64(n.Since.Height)), int64(n.Since.Index)), int64(n.Since.Output))
				names[n.Name] = yes(n8(n8(r, n.RegisteredAt), n.ExpiresAt), n.Deleted)
				continue
			}
			p := ledger.Peers[nprotocol.PeerKey{Address: f.Record.Address, IP: f.Record.IP}]
			r := str(slices.Clone(p.Address[:]), p.IP)
			peers[string(p.Address[:])+p.IP] = yes(n8(n8(r, p.RegisteredAt), p.ExpiresAt), p.Deleted)
		}
	}
	for _, records := range []map[string][]byte{names, peers} {
		b = n8(b, int64(len(records)))
		var keys []string
		for key := range records {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			b = append(b, records[key]...)
		}
	}
	return sha256.Sum256(b)
}
