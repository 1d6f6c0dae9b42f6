package junglebus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/internal/simchain"
)

// A mined chain lies in memory.
type mined struct {
	mu   sync.Mutex
	tree *simchain.Tree
	tip  *simchain.Block
}

func newMined() *mined {
	tree := simchain.NewTree()
	return &mined{tree: tree, tip: tree.Genesis}
}

// mine makes a block after one, and makes it the tip.
func (m *mined) mine(parent *simchain.Block, txs ...[]byte) *simchain.Block {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tip = m.tree.Mine(parent, 1_600_000_000+600*uint32(parent.Height+1), txs)
	return m.tip
}

func (m *mined) height() (int32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tip.Height, nil
}

func (m *mined) at(height int32) (frame.Hash, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.tip.Ancestor(height)
	if b == nil {
		return frame.Hash{}, errNone
	}
	return b.Hash, nil
}

func (m *mined) heightOf(hash frame.Hash) (int32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.tree.Blocks[hash]
	if b == nil || m.tip.Ancestor(b.Height) != b {
		return 0, errNone
	}
	return b.Height, nil
}

func (m *mined) block(hash frame.Hash) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.tree.Blocks[hash]
	if b == nil {
		return nil, errNone
	}
	return b.Bytes(), nil
}

// A remote chain is that of a real node. It is asked one thing at a time, so that
// one connection will do.
type remote struct {
	rpc  *noderpc.Client
	turn *sync.Mutex
}

// watch has a fake tell what happens at its node, as long as the test runs.
func (r remote) watch(t testing.TB, f *fake) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		known := map[frame.Hash]bool{}
		tip := frame.Hash{}
		for ctx.Err() == nil {
			r.turn.Lock()
			now, err := r.rpc.GetBestBlockHash(ctx)
			ids, _ := r.rpc.GetRawMempool(ctx)
			r.turn.Unlock()
			f.set(func(x *faults) { x.down = err != nil })
			if err != nil {
				f.hangUp()
			} else if now != tip {
				height, _ := r.height()
				if raw, err := r.block(now); err == nil && tip != (frame.Hash{}) && frame.Hash(raw[4:36]) != tip {
					f.tell(codeReorg, uint64(height))
				}
				f.tell(codeBlockDone, uint64(height))
				tip = now
			}
			for _, id := range ids {
				if known[id] {
					continue
				}
				if raw, err := r.transaction(ctx, id); err == nil {
					known[id] = true
					f.enter(raw)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

func (r remote) transaction(ctx context.Context, id frame.Hash) ([]byte, error) {
	r.turn.Lock()
	defer r.turn.Unlock()
	return r.rpc.GetRawTransaction(ctx, id)
}

// ask waits for the turn; done ends it.
func (r remote) ask() (ctx context.Context, done func()) {
	r.turn.Lock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	return ctx, func() { cancel(); r.turn.Unlock() }
}

func (r remote) height() (int32, error) {
	ctx, done := r.ask()
	defer done()
	return r.rpc.GetBlockCount(ctx)
}

func (r remote) at(height int32) (frame.Hash, error) {
	ctx, done := r.ask()
	defer done()
	hash, err := r.rpc.GetBlockHash(ctx, height)
	return hash, orNone(err)
}

func (r remote) heightOf(hash frame.Hash) (int32, error) {
	ctx, done := r.ask()
	defer done()
	height, ok, err := r.rpc.HeightOnBest(ctx, hash)
	if err == nil && !ok {
		err = errNone
	}
	return height, orNone(err)
}

func (r remote) block(hash frame.Hash) ([]byte, error) {
	ctx, done := r.ask()
	defer done()
	raw, err := r.rpc.GetRawBlock(ctx, hash)
	return raw, orNone(err)
}

func orNone(err error) error {
	if errors.Is(err, noderpc.ErrNotFound) {
		return errNone
	}
	return err
}
