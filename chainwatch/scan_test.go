package chainwatch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

func wireSmall() (txs [][]byte) {
	return [][]byte{
		wireCoinbase,
		wireTx([]wireInput{{1, []byte("a")}}, wireForeign, wirePay(1)),
		wireTx([]wireInput{{2, []byte("b")}, {3, nil}}, wireMessage, wirePay(2)),
		wireTx([]wireInput{{4, nil}}, wirePay(3)),
		wireTx([]wireInput{{5, nil}}, wirePushes(frame.NPI), wireMessage),
	}
}

func summary(s *Scan) string {
	text := fmt.Sprintf("%d transactions, %d bytes, root %s:", s.Count, s.Bytes, s.Header.MerkleRoot())
	for _, tx := range s.Transactions {
		text += fmt.Sprintf(" %d %s", tx.Index, tx.ID)
		for _, f := range tx.Frames {
			text += fmt.Sprintf(" %d:%s:%s", f.Output, f.Protocol, f.Malformed)
		}
	}
	return text
}

func TestScannerBlock(t *testing.T) {
	txs := wireSmall()
	block := wireBlock(txs...)
	scan, err := NewScanner(frame.Regtest).Block(bytes.NewReader(block), nil)
	if err != nil {
		t.Fatal(err)
	}
	if scan.Count != 5 || scan.Bytes != int64(len(block)) || !bytes.Equal(scan.Header[:], block[:80]) || len(scan.Transactions) != 2 {
		t.Fatalf("got %s", summary(scan))
	}
	for i, index := range []uint32{2, 4} {
		tx := scan.Transactions[i]
		if tx.Index != index || tx.ID != frame.HashOf(txs[index]) || len(tx.Frames) != i+1 {
			t.Errorf("transaction %d: got index %d, id %s, %d frames", index, tx.Index, tx.ID, len(tx.Frames))
		}
	}
}

// TestScannerPieces: however a block arrives, it is the same.
func TestScannerPieces(t *testing.T) {
	block := wireBlock(append(wireSmall(), wireTx([]wireInput{{6, make([]byte, 3*scanBuffer)}}, wireMessage), wireTx([]wireInput{{7, nil}}, wirePay(4)))...)
	s := NewScanner(frame.Regtest)
	whole, err := s.Block(bytes.NewReader(block), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{
		"one byte at a time":              iotest.OneByteReader(bytes.NewReader(block)),
		"half of what is asked for":       iotest.HalfReader(bytes.NewReader(block)),
		"the end with the last bytes":     iotest.DataErrReader(bytes.NewReader(block)),
		"now and then nothing":            &lazy{r: bytes.NewReader(block)},
		"the scanner's own buffer, again": bytes.NewReader(block),
	} {
		got, err := s.Block(r, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if a, b := summary(got), summary(whole); a != b {
			t.Errorf("%s: got %s\nwant %s", name, a, b)
		}
	}
	// What was found doesn't alias the buffer, which other blocks then fill.
	if m := whole.Transactions[0].Frames[0].Message; string(m.Body) != "hello" || m.Source != "bob" {
		t.Errorf("after other blocks the message says %q by %q", m.Body, m.Source)
	}
}

// lazy gives nothing every other time.
type lazy struct {
	r    io.Reader
	idle bool
}

func (l *lazy) Read(b []byte) (int, error) {
	if l.idle = !l.idle; l.idle {
		return 0, nil
	}
	return l.r.Read(b[:min(len(b), 4096)])
}

// TestScannerCut: a block that ends at any byte before its end is refused.
func TestScannerCut(t *testing.T) {
	block := wireBlock(wireSmall()...)
	s := NewScanner(frame.Regtest)
	for n := range block {
		if scan, err := s.Block(bytes.NewReader(block[:n]), nil); !errors.Is(err, ErrBlockSize) || scan != nil {
			t.Errorf("cut to %d bytes: got %v, want %v", n, err, ErrBlockSize)
		}
	}
}

func TestScannerRefuses(t *testing.T) {
	txs := wireSmall()
	block := wireBlock(txs...)
	change := func(at int) []byte {
		b := slices.Clone(block)
		b[at] ^= 1
		return b
	}
	broken := errors.New("the line went dead")
	repeated := append(slices.Clone(txs[:3]), txs[2]) // has the root of the first three
	forged := append(slices.Clone(wireBlock(txs[:3]...)[:80]), 4)
	for _, tx := range repeated {
		forged = append(forged, tx...)
	}
	for _, c := range []struct {
		name string
		r    io.Reader
		want error
	}{
		{"a byte behind it", bytes.NewReader(append(slices.Clone(block), 0)), ErrBlockSize},
		{"a byte behind it, alone", io.MultiReader(bytes.NewReader(block), bytes.NewReader([]byte{0})), ErrBlockSize},
		{"another root in the header", bytes.NewReader(change(40)), ErrMerkleRoot},
		{"a lock time changed", bytes.NewReader(change(len(block) - 1)), ErrMerkleRoot},
		{"the coinbase changed", bytes.NewReader(change(82)), ErrMerkleRoot},
		{"two transactions exchanged", bytes.NewReader(append(slices.Clone(block[:80]), wireBlock(txs[1], txs[0], txs[2], txs[3], txs[4])[80:]...)), ErrMerkleRoot},
		{"the last of three repeated, with the same root", bytes.NewReader(forged), ErrMerkleRoot},
		{"no transactions", bytes.NewReader(append(make([]byte, 80), 0)), ErrMerkleRoot},
		{"one fewer than it says", bytes.NewReader(append(append(slices.Clone(block[:80]), 6), block[81:]...)), ErrBlockSize},
		{"one more than it says", bytes.NewReader(append(append(slices.Clone(block[:80]), 4), block[81:]...)), ErrBlockSize},
		{"a reader that fails", io.MultiReader(bytes.NewReader(block[:200]), iotest.ErrReader(broken)), broken},
		{"a reader that fails at the very end", io.MultiReader(bytes.NewReader(block), iotest.ErrReader(broken)), broken},
		{"a reader that gives nothing", silent{}, io.ErrNoProgress},
		{"a reader that falls silent at the end", io.MultiReader(bytes.NewReader(block), silent{}), io.ErrNoProgress},
		{"ours, without inputs", bytes.NewReader(wireBlock(wireTx(nil, wireMessage))), ErrTransaction},
	} {
		t.Run(c.name, func(t *testing.T) {
			if scan, err := NewScanner(frame.Regtest).Block(c.r, nil); !errors.Is(err, c.want) || scan != nil {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// TestScannerClaims: what a block claims costs nothing: memory follows what
// arrives.
func TestScannerClaims(t *testing.T) {
	header := make([]byte, 80)
	huge, long := "\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\xfe\xff\xff\xff\xff"
	input := string(make([]byte, 36))
	s := NewScanner(frame.Regtest)
	for name, claim := range map[string]string{
		"2^64-1 transactions":       huge,
		"2^64-1 inputs":             "\x01" + "\x01\x00\x00\x00" + huge,
		"2^32-1 inputs":             "\x01" + "\x01\x00\x00\x00" + long,
		"an input of 2^64-1 bytes":  "\x01" + "\x01\x00\x00\x00" + "\x01" + input + huge,
		"an input of 4 GB":          "\x01" + "\x01\x00\x00\x00" + "\x01" + input + long,
		"2^64-1 outputs":            "\x01" + "\x01\x00\x00\x00" + "\x01" + input + "\x00\xff\xff\xff\xff" + huge,
		"an output of 2^64-1 bytes": "\x01" + "\x01\x00\x00\x00" + "\x01" + input + "\x00\xff\xff\xff\xff" + "\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00" + huge,
		"an output of 4 GB":         "\x01" + "\x01\x00\x00\x00" + "\x01" + input + "\x00\xff\xff\xff\xff" + "\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00" + long,
	} {
		block := append(slices.Clone(header), claim...)
		var err error
		got := wireAllocated(func() { _, err = s.Block(bytes.NewReader(block), nil) })
		if !errors.Is(err, ErrBlockSize) {
			t.Errorf("%s: got %v, want %v", name, err, ErrBlockSize)
		}
		if const64 := uint64(16 << 10); got > const64 {
			t.Errorf("%s: %d bytes allocated, want at most %d", name, got, const64)
		}
	}
}

// TestScannerGiant: a transaction larger than the buffer makes it grow to fit,
// not more than twice, and the next block finds it small again.
func TestScannerGiant(t *testing.T) {
	const size = 40 * scanBuffer
	block := wireBlock(wireCoinbase, wireTx([]wireInput{{1, nil}}, make([]byte, size)))
	s := NewScanner(frame.Regtest)
	if _, err := s.Block(bytes.NewReader(block), nil); err != nil {
		t.Fatal(err)
	}
	if got := len(s.buf); got > 2*size {
		t.Errorf("the buffer holds %d bytes for a transaction of %d", got, size)
	}
	if _, err := s.Block(bytes.NewReader(wireBlock(wireCoinbase)), nil); err != nil {
		t.Fatal(err)
	}
	if got := len(s.buf); got != scanBuffer {
		t.Errorf("after the next block the buffer holds %d bytes, want %d", got, scanBuffer)
	}
}

// TestScannerSmallPieces: a large transaction that arrives in small pieces isn't
// walked from its beginning for each of them. Walked so, this one takes minutes.
func TestScannerSmallPieces(t *testing.T) {
	block := wireBlock(wireTx(make([]wireInput, 400_000), wirePay(1)))
	start := time.Now()
	if _, err := NewScanner(frame.Regtest).Block(&lazy{r: &small{bytes.NewReader(block)}}, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("%d bytes in pieces of 256 took %s", len(block), took)
	}
}

type small struct{ r io.Reader }

func (s *small) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), 256)]) }

// TestScannerConflicts: which unconfirmed transactions a block double-spends. A
// transaction that is itself in the block is no conflict.
func TestScannerConflicts(t *testing.T) {
	txs := wireSmall()
	same, foreign := frame.HashOf(txs[2]), frame.Hash{0xee}
	spent := Spent{
		wireInput{from: 2}.outpoint(): {same},
		wireInput{from: 4}.outpoint(): {foreign, {0xcc}, {0xaa}},
		wireInput{from: 5}.outpoint(): {foreign},
		wireInput{from: 8}.outpoint(): {{0xdd}},
	}
	s := NewScanner(frame.Regtest)
	for _, r := range []io.Reader{bytes.NewReader(wireBlock(txs...)), iotest.OneByteReader(bytes.NewReader(wireBlock(txs...)))} {
		scan, err := s.Block(r, spent)
		if err != nil {
			t.Fatal(err)
		}
		if want := []frame.Hash{{0xaa}, {0xcc}, foreign}; !slices.Equal(scan.Conflicts, want) {
			t.Errorf("conflicts %v, want each once: %v", scan.Conflicts, want)
		}
	}
}

// foreignBlock holds transactions that aren't ours, one much like it among them.
func foreignBlock(n int) []byte {
	txs := [][]byte{wireCoinbase}
	for i := range n {
		txs = append(txs, wireTx([]wireInput{{byte(i) | 1, make([]byte, 107)}}, wireForeign, wirePay(byte(i)), []byte{0, 0x6a, 0x22, byte(i >> 8)}))
	}
	return wireBlock(txs...)
}

// TestScannerAllocatesNothing: a block of ten times as many foreign
// transactions costs no allocation more, with and without a mempool to compare.
func TestScannerAllocatesNothing(t *testing.T) {
	s := NewScanner(frame.Regtest)
	for name, spent := range map[string]Spent{"no mempool": nil, "a mempool": {wireInput{from: 200}.outpoint(): {{1}}}} {
		count := func(block []byte) float64 {
			return testing.AllocsPerRun(20, func() {
				if _, err := s.Block(bytes.NewReader(block), spent); err != nil {
					t.Fatal(err)
				}
			})
		}
		few, many := count(foreignBlock(100)), count(foreignBlock(1000))
		if many > few {
			t.Errorf("%s: %v allocations for 100 foreign transactions, %v for 1,000", name, few, many)
		}
	}
}

// TestWalk: what a walk finds is what a scan finds, and a block that ends too
// early or too late is refused.
func TestWalk(t *testing.T) {
	txs := wireSmall()
	block := wireBlock(txs...)
	type ours struct {
		index uint64
		id    frame.Hash
	}
	var found []ours
	count, err := Walk(block, func(i uint64, tx []byte) { found = append(found, ours{i, frame.HashOf(tx)}) })
	if want := []ours{{2, frame.HashOf(txs[2])}, {4, frame.HashOf(txs[4])}}; err != nil || count != 5 || !slices.Equal(found, want) {
		t.Errorf("got %v of %d transactions, %v, want %v of 5", found, count, err, want)
	}
	nothing := func(uint64, []byte) {}
	for n := range block {
		if count, err := Walk(block[:n], nothing); !errors.Is(err, ErrBlockSize) || count != 0 {
			t.Errorf("cut to %d bytes: got %d, %v, want %v", n, count, err, ErrBlockSize)
		}
	}
	if count, err := Walk(append(slices.Clone(block), 0), nothing); !errors.Is(err, ErrBlockSize) || count != 0 {
		t.Errorf("a byte behind it: got %d, %v, want %v", count, err, ErrBlockSize)
	}
	if got := testing.AllocsPerRun(10, func() { _, _ = Walk(block, nothing) }); got > 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

// judgedReader notes what it is told of its block.
type judgedReader struct {
	io.Reader
	omitted, refused bool
}

func (j *judgedReader) OmitChecksum() { j.omitted = true }
func (j *judgedReader) Refuse()       { j.refused = true }

// TestScannerJudges: a reader needn't check what the Merkle root proves, and hears
// when the block is none.
func TestScannerJudges(t *testing.T) {
	block := wireBlock(wireSmall()...)
	changed := slices.Clone(block)
	changed[len(block)-1] ^= 1
	for _, c := range []struct {
		name    string
		r       io.Reader
		refused bool
	}{
		{"a good block", bytes.NewReader(block), false},
		{"a changed block", bytes.NewReader(changed), true},
		{"a block that is cut", bytes.NewReader(block[:len(block)-1]), true},
		{"a line that goes dead", io.MultiReader(bytes.NewReader(block[:200]), iotest.ErrReader(io.ErrClosedPipe)), false},
	} {
		r := &judgedReader{Reader: c.r}
		_, err := NewScanner(frame.Regtest).Block(r, nil)
		if !r.omitted || r.refused != c.refused {
			t.Errorf("%s: %v; checksum omitted %v, refused %v, want refused %v", c.name, err, r.omitted, r.refused, c.refused)
		}
	}
}

// TestScannerManyTransactions: blocks larger than the buffer and than the queue
// of ids, of transactions of all lengths, some of them ours, in pieces too.
func TestScannerManyTransactions(t *testing.T) {
	txs := [][]byte{wireCoinbase}
	for i := range 9000 {
		script := wireForeign
		if i%500 == 3 {
			script = wireMessage
		}
		txs = append(txs, wireTx([]wireInput{{byte(i) | 1, make([]byte, i*7%900)}}, script, wirePay(byte(i>>8))))
	}
	block := wireBlock(txs...)
	s := NewScanner(frame.Regtest)
	whole, err := s.Block(bytes.NewReader(block), nil)
	if err != nil || whole.Count != 9001 || len(whole.Transactions) != 18 {
		t.Fatalf("got %+v, %v, want 9,001 transactions, 18 of them ours", whole, err)
	}
	for i, tx := range whole.Transactions {
		if want := frame.HashOf(txs[tx.Index]); tx.ID != want || tx.Index != uint32(500*i+4) {
			t.Errorf("transaction %d of ours: got %d %s, want %d %s", i, tx.Index, tx.ID, 500*i+4, want)
		}
	}
	got, err := s.Block(&lazy{r: bytes.NewReader(block)}, Spent{wireInput{from: 9}.outpoint(): {{1}}})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := summary(got), summary(whole); a != b {
		t.Errorf("in pieces: got %s\nwant %s", a, b)
	}
	for _, at := range []int{len(block) / 3, len(block) - 1} {
		changed := slices.Clone(block)
		changed[at-2] ^= 1
		if _, err := s.Block(bytes.NewReader(changed), nil); err == nil {
			t.Errorf("byte %d of %d changed: got no error", at-2, len(block))
		}
	}
}

func BenchmarkScannerForeign(b *testing.B) {
	block := foreignBlock(10_000)
	s := NewScanner(frame.Regtest)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Block(bytes.NewReader(block), nil); err != nil {
			b.Fatal(err)
		}
	}
}
