package chainwatch

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
)

// mainnetBlock returns block 705,985 of mainnet: header, count, transactions. It
// is kept outside the tree; METAIM_SHARED names the folder.
func mainnetBlock(t testing.TB) []byte {
	t.Helper()
	folder := cmp.Or(os.Getenv("METAIM_SHARED"), filepath.Join("..", "..", "shared"))
	block, err := os.ReadFile(filepath.Join(folder, "data", "mainnet-block-705985.bin"))
	if os.IsNotExist(err) {
		t.Skip("the block isn't there: METAIM_SHARED names the folder that holds data/mainnet-block-705985.bin")
	}
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// TestMainnetBlock scans a real block: work, Merkle root, every transaction; and
// finds 391 data outputs, none of them a frame.
func TestMainnetBlock(t *testing.T) {
	block := mainnetBlock(t)
	s := NewScanner(frame.Main)
	scan, err := s.Block(bytes.NewReader(block), nil)
	if err != nil {
		t.Fatal(err)
	}
	if scan.Count != 648 || scan.Bytes != int64(len(block)) || len(scan.Transactions) != 0 {
		t.Errorf("got %s", summary(scan))
	}
	if _, err := ParamsOf(frame.Main).proof(&scan.Header, scan.Header.Hash()); err != nil {
		t.Errorf("the header's work: %v", err)
	}
	data, outputs, transactions := 0, 0, 0
	for rest := block[83:]; len(rest) > 0; transactions++ {
		n, ours, err := walk(rest, nil)
		if err != nil || ours {
			t.Fatalf("transaction %d: ours %v, %v", transactions, ours, err)
		}
		tx, err := ReadTransaction(rest[:n], frame.Main)
		if err != nil || tx.Coinbase != (transactions == 0) {
			t.Fatalf("transaction %d: coinbase %v, %v", transactions, tx.Coinbase, err)
		}
		for _, script := range outputScripts(rest[:n]) {
			outputs++
			if bytes.HasPrefix(script, []byte{0, 0x6a}) {
				data++
			}
		}
		rest = rest[n:]
	}
	if transactions != 648 || data != 391 {
		t.Errorf("%d transactions with %d outputs, %d of data; want 648 and 391 of data", transactions, outputs, data)
	}
	fresh := testing.AllocsPerRun(5, func() {
		if _, err := s.Block(bytes.NewReader(block), nil); err != nil {
			t.Fatal(err)
		}
	})
	one := wireBlock(wireCoinbase)
	few := testing.AllocsPerRun(5, func() {
		if _, err := s.Block(bytes.NewReader(one), nil); err != nil {
			t.Fatal(err)
		}
	})
	if fresh > few {
		t.Errorf("%v allocations for 648 foreign transactions, %v for one", fresh, few)
	}
}

// outputScripts walks a whole transaction.
func outputScripts(raw []byte) (scripts [][]byte) {
	c := cursor{b: raw, at: 4}
	for inputs := c.varint(); inputs > 0; inputs-- {
		c.skip(36)
		c.bytes(c.varint())
		c.skip(4)
	}
	for outputs := c.varint(); outputs > 0; outputs-- {
		c.skip(8)
		scripts = append(scripts, c.bytes(c.varint()))
	}
	return scripts
}

func BenchmarkScannerMainnet(b *testing.B) {
	block := mainnetBlock(b)
	s := NewScanner(frame.Main)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Block(bytes.NewReader(block), nil); err != nil {
			b.Fatal(err)
		}
	}
}
