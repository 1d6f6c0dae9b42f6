package devnet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

// MaxMine is how many blocks Mine makes at most at once.
const MaxMine = 1000

// restore gives bsvd its kept chain back, or begins one.
func (n *Node) restore(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := &chainwatch.Header{}
	chain, err := openChainFile(n.path("chain.dat"), func(raw []byte) error {
		last = (*chainwatch.Header)(raw)
		return n.replay(ctx, raw)
	})
	if err != nil {
		return err
	}
	best, err := n.rpc.GetBestBlockHash(ctx)
	if err == nil && best != chain.tip {
		err = fmt.Errorf("the kept chain ends with block %s, and bsvd made %s of it", chain.tip, best)
	}
	if err != nil {
		return errors.Join(err, chain.close())
	}
	n.chain = chain
	if err := n.count(ctx); err != nil {
		return err
	}
	switch height := n.purse.height; {
	case n.cfg.Empty:
	case height < firstBlocks:
		_, err = n.mine(ctx, int(firstBlocks-height))
	case time.Since(time.Unix(last.Time(), 0)) > stale:
		_, err = n.mine(ctx, 1)
	}
	return err
}

func (n *Node) replay(ctx context.Context, raw []byte) error {
	err := n.rpc.SubmitBlock(ctx, raw)
	if errors.Is(err, noderpc.ErrAlreadyKnown) {
		return nil
	}
	return err
}

// Mine mines blocks, at most MaxMine, and returns their hashes. They are kept when
// it returns.
func (n *Node) Mine(ctx context.Context, blocks int) ([]frame.Hash, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	hashes, err := n.mine(ctx, blocks)
	if err != nil {
		return nil, fmt.Errorf("mine: %w", err)
	}
	return hashes, nil
}

func (n *Node) mine(ctx context.Context, blocks int) ([]frame.Hash, error) {
	if blocks < 1 || blocks > MaxMine {
		return nil, fmt.Errorf("%d blocks are asked for: from 1 to %d are mined at once", blocks, MaxMine)
	}
	hashes, err := n.rpc.Generate(ctx, blocks)
	if err != nil {
		return nil, err
	}
	if err := n.keep(ctx); err != nil {
		return nil, err
	}
	for _, hash := range hashes {
		if _, kept := n.chain.blocks[hash]; !kept {
			return nil, fmt.Errorf("block %s lost against another node's", hash)
		}
	}
	return hashes, nil
}

// keep writes the blocks that came since the last time to the chain file, whoever
// mined them, and counts the miner's coins.
func (n *Node) keep(ctx context.Context) error {
	best, err := n.rpc.GetBestBlockHash(ctx)
	if err != nil {
		return err
	}
	var blocks [][]byte // newest first
	for hash := best; hash != regtest.Genesis.Hash(); {
		if _, kept := n.chain.blocks[hash]; kept {
			break
		}
		raw, err := n.rpc.GetRawBlock(ctx, hash)
		if err != nil {
			return err
		}
		if len(raw) < chainwatch.HeaderSize || blockHash(raw) != hash {
			return fmt.Errorf("bsvd answers with another block than %s", hash)
		}
		blocks = append(blocks, raw)
		hash = blockParent(raw)
	}
	slices.Reverse(blocks)
	turned := len(blocks) > 0 && blockParent(blocks[0]) != n.chain.tip
	if err := n.chain.append(blocks); err != nil {
		return err
	}
	if turned || n.purse == nil {
		return n.count(ctx)
	}
	for _, raw := range blocks {
		if err := n.purse.block(n.purse.height+1, raw); err != nil {
			n.purse = nil // it is half counted
			return err
		}
	}
	return nil
}

// keepLast keeps what peers mined since the last block of ours, before the end.
func (n *Node) keepLast() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.chain == nil {
		return nil
	}
	select {
	case <-n.child.done:
		return nil // nobody to ask
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), gentleness)
	defer cancel()
	if err := n.keep(ctx); err != nil {
		return fmt.Errorf("keep the newest blocks: %w", err)
	}
	return nil
}

// Run mines a block whenever it finds transactions in the mempool, looking every
// Config.BlockEvery, and an empty one when Config.Heartbeat has passed without. It
// ends with ctx, without an error, or when bsvd has ended by itself.
func (n *Node) Run(ctx context.Context) error {
	tick := time.NewTicker(n.cfg.BlockEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.child.done:
			return n.child.ended()
		case <-tick.C:
		}
		mined, err := n.mineIfDue(ctx, last)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.log.Warn("no block could be mined", "error", err) // the next tick tries again
		case mined:
			last = time.Now()
		}
	}
}

func (n *Node) mineIfDue(ctx context.Context, last time.Time) (bool, error) {
	waiting, err := n.rpc.GetRawMempool(ctx)
	if err != nil {
		return false, err
	}
	beat := n.cfg.Heartbeat > 0 && time.Since(last) >= n.cfg.Heartbeat
	if len(waiting) == 0 && !beat {
		return false, nil
	}
	hashes, err := n.Mine(ctx, 1)
	if err == nil {
		n.log.Info("block mined", "hash", hashes[0].String(), "transactions", len(waiting))
	}
	return err == nil, err
}

// Info is what a node says of itself.
type Info struct {
	Network frame.Network `json:"network"`
	Height  int32         `json:"height"`
	Best    string        `json:"best"` // hash of the best block
	P2P     string        `json:"p2p"`  // host:port
	RPC     string        `json:"rpc"`  // URL
}

// Info asks the node how it is.
func (n *Node) Info(ctx context.Context) (Info, error) {
	height, err := n.rpc.GetBlockCount(ctx)
	if err != nil {
		return Info{}, err
	}
	best, err := n.rpc.GetBlockHash(ctx, height)
	if err != nil {
		return Info{}, err
	}
	return Info{Network: frame.Regtest, Height: height, Best: best.String(), P2P: n.connection.P2P, RPC: n.connection.RPC}, nil
}
