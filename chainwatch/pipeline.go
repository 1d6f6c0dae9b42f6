package chainwatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"golang.org/x/sync/errgroup"
)

// errPathEnd says that a pipeline delivered all blocks of its path.
var errPathEnd = errors.New("end of the path")

// A blockError says that a block couldn't be had.
type blockError struct {
	Step
	err error
}

func (e *blockError) Error() string { return fmt.Sprintf("block %d %s: %v", e.Height, e.Hash, e.err) }
func (e *blockError) Unwrap() error { return e.err }

const ahead = 16 // blocks that are scanned and proved before they are saved

// A pipeline fetches, scans and proves the blocks of a path, a few ahead of who
// saves them. Blocks come out in order.
type pipeline struct {
	blocks chan *index.Block
	proofs *proofs // what is proved already
	health *health
	failed error // set before blocks is closed
}

// startPipeline starts the two goroutines of a pipeline: one reads blocks from
// the source, one proves their signatures on all cores. join waits for them.
// m is what is unconfirmed before the path's first block; health is told.
func startPipeline(ctx context.Context, source Source, params *Params, path []Step, m *mempool, health *health) *pipeline {
	p := &pipeline{blocks: make(chan *index.Block, ahead), proofs: m.proofs, health: health}
	spent := m.conflicting()
	scanned := make(chan *index.Block, ahead)
	var group errgroup.Group // of a failed fetch, the blocks before it are still delivered
	group.Go(func() error {
		defer close(scanned)
		return fetch(ctx, source, params, path, spent, scanned)
	})
	group.Go(func() error { return p.proveBlocks(ctx, params.Network, scanned) })
	go func() {
		p.failed = group.Wait()
		close(p.blocks)
	}()
	return p
}

// join waits until both goroutines are gone; the context must have ended, or the
// path must have.
func (p *pipeline) join() {
	for range p.blocks {
	}
}

// send hands a block on. While there is room it does so even when the group has
// failed: blocks that came before the one that fails are good, and are saved.
func send(ctx context.Context, to chan<- *index.Block, b *index.Block) error {
	select {
	case to <- b:
		return nil
	default:
	}
	select {
	case to <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func fetch(ctx context.Context, source Source, params *Params, path []Step, spent Spent, to chan<- *index.Block) error {
	scanner := NewScanner(params.Network)
	for _, step := range path {
		scan, err := fetchOne(ctx, source, scanner, step, spent)
		if err != nil {
			return &blockError{step, err}
		}
		b := &index.Block{Height: step.Height, Hash: step.Hash, Header: step.Header, MedianTime: step.MedianTime,
			Transactions: scan.Transactions, Conflicts: scan.Conflicts, Proofs: scan.Proofs}
		if err := send(ctx, to, b); err != nil {
			return err
		}
	}
	return nil
}

func fetchOne(ctx context.Context, source Source, scanner *Scanner, step Step, spent Spent) (*Scan, error) {
	if step.Height == 0 {
		// The genesis block's one transaction carries no frame, and nodes don't
		// serve it.
		return &Scan{Header: step.Header, Count: 1}, nil
	}
	scan, err := readBlock(ctx, source, scanner, step.Hash, spent)
	if err != nil {
		return nil, err
	}
	if scan.Header != step.Header {
		return nil, errors.New("the source sent another block")
	}
	return scan, nil
}

// readBlock reads a whole block, or what was picked out of it where the source
// has no more.
func readBlock(ctx context.Context, source Source, scanner *Scanner, hash frame.Hash, spent Spent) (*Scan, error) {
	if s, ok := source.(Selector); ok {
		picked, err := s.Selection(ctx, hash)
		if err != nil {
			return nil, err
		}
		return scanner.Selection(picked, spent)
	}
	r, err := source.Block(ctx, hash)
	if err != nil {
		return nil, err
	}
	scan, err := scanner.Block(r, spent)
	return scan, errors.Join(err, r.Close())
}

// batch collects blocks to be saved together: what is ready, up to the bounds.
// It fails with errPathEnd after the last block, or with what the pipeline
// failed with; the blocks returned beside an error are good.
func (p *pipeline) batch(ctx context.Context, bound Batch) ([]*index.Block, error) {
	var batch []*index.Block
	frames := 0
	var late <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-late:
			return batch, nil
		case b, ok := <-p.blocks:
			if !ok {
				return batch, p.ended()
			}
			batch = append(batch, b)
			for _, tx := range b.Transactions {
				frames += len(tx.Frames)
			}
			if len(batch) >= bound.Blocks || frames >= bound.Frames {
				return batch, nil
			}
			if late == nil {
				timer := time.NewTimer(bound.Delay)
				defer timer.Stop()
				late = timer.C
			}
		}
	}
}

func (p *pipeline) ended() error {
	if p.failed != nil {
		return p.failed
	}
	return errPathEnd
}
