package chainwatch

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Prove recovers the keys of the frames' signatures: the costly part of judging
// them, and one that needs no state.
func Prove(tx *index.Transaction, network frame.Network) {
	for _, f := range tx.Frames {
		proveFrame(f, network)
	}
}

func proveFrame(f *index.Frame, network frame.Network) {
	if f.Malformed != "" {
		return
	}
	preimage := f.Preimage(network)
	f.Proofs = f.Proofs[:0]
	for _, field := range signatures(f) {
		f.Proofs = append(f.Proofs, frame.Prove(preimage, field))
	}
}

func signatures(f *index.Frame) [][]byte {
	if f.Message != nil {
		return [][]byte{f.Message.Signature}
	}
	return f.Record.Signatures
}

// ProveAll is [Prove] for many transactions, on all cores. What isn't proved when
// ctx ends stays so.
func ProveAll(ctx context.Context, txs []*index.Transaction, network frame.Network) {
	var frames []*index.Frame
	for _, tx := range txs {
		frames = framesOf(frames, tx)
	}
	proveFrames(ctx, frames, network)
}

// framesOf adds the frames of a transaction that have signatures.
func framesOf(frames []*index.Frame, tx *index.Transaction) []*index.Frame {
	for _, f := range tx.Frames {
		if f.Malformed == "" {
			frames = append(frames, f)
		}
	}
	return frames
}

// proveFrames proves frames on all cores until ctx ends. Whoever is free takes
// the next frame: beside the curve that costs nothing, and no core waits for
// another longer than for one frame, however they lie in transactions.
func proveFrames(ctx context.Context, frames []*index.Frame, network frame.Network) {
	var next atomic.Int64
	work := func() {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(frames) {
				return
			}
			proveFrame(frames[i], network)
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(frames)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

const proveTogether = 256 // frames: some 15 ms on two cores

// proveBlocks proves the blocks of a pipeline and hands them on in order. Those
// that are scanned already are proved together, or a core would idle at the end
// of each block that has few frames.
func (p *pipeline) proveBlocks(ctx context.Context, network frame.Network, scanned <-chan *index.Block) error {
	for b := range scanned {
		blocks := []*index.Block{b}
		frames := p.unproved(nil, b)
		for len(frames) < proveTogether && len(blocks) < ahead {
			b := ready(scanned)
			if b == nil {
				break
			}
			blocks = append(blocks, b)
			frames = p.unproved(frames, b)
		}
		proveFrames(ctx, frames, network)
		if ctx.Err() != nil {
			return ctx.Err() // the rest isn't proved
		}
		for _, b := range blocks {
			if err := send(ctx, p.blocks, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// ready returns a block if one waits.
func ready(scanned <-chan *index.Block) *index.Block {
	select {
	case b := <-scanned: // nil when the channel is closed
		return b
	default:
		return nil
	}
}

// unproved adds those frames of a block that have still to be proved, and gives
// those of transactions that were unconfirmed the proofs of then.
func (p *pipeline) unproved(frames []*index.Frame, b *index.Block) []*index.Frame {
	before, remembered := len(frames), 0
	for _, tx := range b.Transactions {
		add := framesOf(frames, tx)
		if p.proofs.recall(tx) {
			remembered += len(add) - len(frames)
			continue
		}
		frames = add
	}
	p.health.proving(len(frames)-before, remembered)
	return frames
}
