package chainwatch

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// signedTx makes a transaction with as many frames as given, signed by key; from
// makes it another one.
func signedTx(t testing.TB, key byte, from byte, frames int) *index.Transaction {
	t.Helper()
	k := frame.PrivateKey{Scalar: [32]byte{31: key}}
	var outputs [][]byte
	for i := range frames {
		fields := []string{frame.IMPI, "bob", "text", "plain", "hello", "", strconv.Itoa(i)}
		var preimage []byte
		for _, f := range fields {
			preimage = frame.AppendPreimage(preimage, []byte(f))
		}
		outputs = append(outputs, wirePushes(append(fields, string(k.Sign(preimage)))...))
	}
	tx, err := ReadTransaction(wireTx([]wireInput{{from: from}}, append(outputs, wirePushes(frame.IMPI))...), frame.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// provedFrames tells how many frames have the proof that Prove gives.
func provedFrames(txs ...*index.Transaction) (n int) {
	for _, tx := range txs {
		for _, f := range tx.Frames {
			if f.Malformed != "" {
				continue
			}
			again := *f
			again.Proofs = nil
			proveFrame(&again, frame.Regtest)
			if len(f.Proofs) == 1 && f.Proofs[0].Signature == again.Proofs[0].Signature && bytes.Equal(f.Proofs[0].Key, again.Proofs[0].Key) {
				n++
			}
		}
	}
	return n
}

// prover returns the proving half of a pipeline, and blocks that are all scanned.
func prover(m *mempool, blocks ...*index.Block) (p *pipeline, scanned chan *index.Block) {
	p = &pipeline{blocks: make(chan *index.Block, len(blocks)), proofs: m.proofs, health: &health{}}
	scanned = make(chan *index.Block, len(blocks))
	for _, b := range blocks {
		scanned <- b
	}
	close(scanned)
	return p, scanned
}

// TestProveBlocks: whatever blocks hold, they come out in order, each frame proved.
func TestProveBlocks(t *testing.T) {
	for _, c := range []struct {
		name string
		txs  []int // frames of the transactions of a block; -1 begins the next one
	}{
		{"no block", nil},
		{"one empty block", []int{-1}},
		{"a hundred empty blocks", slices.Repeat([]int{-1}, 100)},
		{"one frame", []int{1}},
		{"one transaction with forty frames", []int{40}},
		{"forty transactions", slices.Repeat([]int{1}, 40)},
		{"forty blocks of one frame", slices.Repeat([]int{1, -1}, 40)},
		{"empty blocks between full ones", []int{3, -1, -1, 1, 1, -1, -1, -1, 2, -1}},
		{"more than are proved together", []int{1, -1, proveTogether + 10, -1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var blocks []*index.Block
			frames := 0
			for i, n := range c.txs {
				if i == 0 || c.txs[i-1] == -1 {
					blocks = append(blocks, &index.Block{Height: int32(len(blocks))})
				}
				if n > 0 {
					last := blocks[len(blocks)-1]
					last.Transactions = append(last.Transactions, signedTx(t, byte(1+i%9), byte(i), n))
					frames += n
				}
			}
			p, scanned := prover(newMempool(nil, 0), blocks...)
			if err := p.proveBlocks(context.Background(), frame.Regtest, scanned); err != nil {
				t.Fatal(err)
			}
			close(p.blocks)
			height, proved := int32(0), 0
			for b := range p.blocks {
				if b.Height != height {
					t.Fatalf("block %d comes as number %d", b.Height, height)
				}
				height++
				proved += provedFrames(b.Transactions...)
			}
			if int(height) != len(blocks) || proved != frames {
				t.Errorf("%d blocks with %d proved frames, want %d with %d", height, proved, len(blocks), frames)
			}
			if got := p.health.h.Proved; got != uint64(frames) {
				t.Errorf("%d frames counted, want %d", got, frames)
			}
		})
	}
}

// TestProveBlocksEnds: when the context ends nothing that isn't proved gets out.
func TestProveBlocksEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p, scanned := prover(newMempool(nil, 0), &index.Block{Transactions: []*index.Transaction{signedTx(t, 7, 1, 3)}})
	if err := p.proveBlocks(ctx, frame.Regtest, scanned); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if len(p.blocks) > 0 {
		t.Error("a block came out unproved")
	}
}

// unprovedCopy is a transaction as it is read in a block.
func unprovedCopy(tx *index.Transaction) *index.Transaction {
	c := *tx
	c.Frames = nil
	for _, f := range tx.Frames {
		bare := *f
		bare.Proofs = nil
		c.Frames = append(c.Frames, &bare)
	}
	return &c
}

// TestProofsAreRemembered: what was proved while it was unconfirmed isn't proved
// in a block; all else is.
func TestProofsAreRemembered(t *testing.T) {
	seen, other := signedTx(t, 7, 1, 3), signedTx(t, 7, 2, 3)
	Prove(seen, frame.Regtest)
	der := signedTx(t, 7, 3, 2) // of no key that could be recovered
	der.Frames[0].Message.Signature = []byte("3006020101020101")
	der.Frames[1].Message.Signature = []byte("unreadable")
	Prove(der, frame.Regtest)
	halfProved := signedTx(t, 7, 4, 2)
	proveFrame(halfProved.Frames[0], frame.Regtest)
	moreFrames, fewerFrames := unprovedCopy(seen), unprovedCopy(seen)
	moreFrames.Frames = append(moreFrames.Frames, unprovedCopy(other).Frames...)
	fewerFrames.Frames = fewerFrames.Frames[1:]
	m := newMempool([]*index.Transaction{seen, der, halfProved}, 0)
	for _, c := range []struct {
		name               string
		tx                 *index.Transaction
		proved, remembered uint64
	}{
		{"the same transaction", unprovedCopy(seen), 0, 3},
		{"the same once more", unprovedCopy(seen), 0, 3},
		{"one without keys", unprovedCopy(der), 0, 2},
		{"one that was proved in part only", unprovedCopy(halfProved), 2, 0},
		{"another transaction with the same frames", unprovedCopy(other), 3, 0},
		{"the same id with more frames, which can't be", moreFrames, 6, 0},
		{"the same id with fewer frames, which can't be", fewerFrames, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scanned := prover(m, &index.Block{Transactions: []*index.Transaction{c.tx}})
			if err := p.proveBlocks(context.Background(), frame.Regtest, scanned); err != nil {
				t.Fatal(err)
			}
			if h := p.health.h; h.Proved != c.proved || h.Remembered != c.remembered {
				t.Errorf("%d proved and %d remembered, want %d and %d", h.Proved, h.Remembered, c.proved, c.remembered)
			}
			if got, want := provedFrames(c.tx), int(c.proved+c.remembered); got != want {
				t.Errorf("%d frames have the right proof, want %d", got, want)
			}
		})
	}
	m.remove(map[frame.Hash]bool{seen.ID: true})
	if m.proofs.recall(unprovedCopy(seen)) {
		t.Error("what is no longer unconfirmed is still remembered")
	}
}

// TestProofsAreBounded: the oldest go when room is short, and what never fits is
// not taken; what was forgotten makes room.
func TestProofsAreBounded(t *testing.T) {
	var txs []*index.Transaction
	for i := range byte(8) {
		tx := signedTx(t, 7, i, 1)
		Prove(tx, frame.Regtest)
		txs = append(txs, tx)
	}
	big := signedTx(t, 7, 100, 60)
	Prove(big, frame.Regtest)
	const one = proofsEntry + 1 + 33
	p := newProofs(4*one + 10)
	known := func() (list []int) {
		for i, tx := range txs {
			if p.recall(unprovedCopy(tx)) {
				list = append(list, i)
			}
		}
		return list
	}
	for _, c := range []struct {
		name string
		do   func()
		want []int
	}{
		{"four fit", func() { p.remember(txs[0]); p.remember(txs[1]); p.remember(txs[2]); p.remember(txs[3]) }, []int{0, 1, 2, 3}},
		{"one that is there takes nobody's place", func() { p.remember(txs[0]) }, []int{0, 1, 2, 3}},
		{"the fifth pushes the first out", func() { p.remember(txs[4]) }, []int{1, 2, 3, 4}},
		{"one too large for all of it is passed over", func() { p.remember(big) }, []int{1, 2, 3, 4}},
		{"forgetting makes room", func() { p.forget(map[frame.Hash]bool{txs[2].ID: true, txs[7].ID: true}); p.remember(txs[5]) }, []int{1, 3, 4, 5}},
		{"what came back is the youngest", func() { p.remember(txs[2]); p.remember(txs[6]) }, []int{2, 4, 5, 6}},
	} {
		c.do()
		if got := known(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v are known, want %v", c.name, got, c.want)
		}
		if p.bytes != len(c.want)*one || p.order.Len() != len(c.want) {
			t.Errorf("%s: %d bytes, %d entries, want %d and %d", c.name, p.bytes, p.order.Len(), len(c.want)*one, len(c.want))
		}
	}
}

// BenchmarkProvePool compares the pool, from scanned blocks to proved ones, with
// the bare library on as many cores: what reading a signature, making preimages,
// handing over and waiting for one another costs.
func BenchmarkProvePool(b *testing.B) {
	const frames = 512
	var txs []*index.Transaction
	for i := range frames {
		txs = append(txs, signedTx(b, byte(1+i%50), byte(i), 1))
	}
	b.Run("bare library", func(b *testing.B) {
		f := txs[0].Frames[0]
		s, err := frame.ParseSignature(f.Message.Signature)
		if err != nil {
			b.Fatal(err)
		}
		preimage := f.Preimage(frame.Regtest)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = s.Recover(preimage)
			}
		})
	})
	for _, size := range []int{1, 3, 17, frames} {
		b.Run("blocks of "+strconv.Itoa(size), func(b *testing.B) {
			scanned := make(chan *index.Block, ahead)
			go func() {
				defer close(scanned)
				for sent := 0; sent < b.N; sent += size {
					at := sent % (frames - size + 1)
					block := &index.Block{}
					for _, tx := range txs[at : at+min(size, b.N-sent)] {
						block.Transactions = append(block.Transactions, unprovedCopy(tx))
					}
					scanned <- block
				}
			}()
			p := &pipeline{blocks: make(chan *index.Block, ahead), proofs: newProofs(proofsBytes), health: &health{}}
			go func() {
				for range p.blocks {
				}
			}()
			if err := p.proveBlocks(context.Background(), frame.Regtest, scanned); err != nil {
				b.Fatal(err)
			}
			close(p.blocks)
		})
	}
}
