package whatsonchain

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/sourcetest"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/internal/simchain"
)

// A backend is the chain behind a fake service.
type backend interface {
	height() (int32, error)
	at(height int32) (frame.Hash, error)
	block(hash frame.Hash) (raw []byte, height int32, err error) // on whatever branch, where it knows the height; errNone
}

var errNone = errors.New("none such")

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

func (m *mined) block(hash frame.Hash) ([]byte, int32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.tree.Blocks[hash]
	if b == nil {
		return nil, 0, errNone
	}
	return b.Bytes(), b.Height, nil
}

// A remote chain is that of a real node. It is asked one thing at a time, so that
// one connection will do.
type remote struct {
	rpc  *noderpc.Client
	turn sync.Mutex
}

// ask waits for the turn; done ends it.
func (r *remote) ask() (ctx context.Context, done func()) {
	r.turn.Lock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	return ctx, func() { cancel(); r.turn.Unlock() }
}

func (r *remote) height() (int32, error) {
	ctx, done := r.ask()
	defer done()
	return r.rpc.GetBlockCount(ctx)
}

func (r *remote) at(height int32) (frame.Hash, error) {
	ctx, done := r.ask()
	defer done()
	hash, err := r.rpc.GetBlockHash(ctx, height)
	return hash, orNone(err)
}

func (r *remote) block(hash frame.Hash) ([]byte, int32, error) {
	ctx, done := r.ask()
	defer done()
	height, ok, err := r.rpc.HeightOnBest(ctx, hash)
	if err == nil && !ok {
		err = errNone
	}
	if err != nil {
		return nil, 0, orNone(err)
	}
	raw, err := r.rpc.GetRawBlock(ctx, hash)
	return raw, height, orNone(err)
}

func orNone(err error) error {
	if errors.Is(err, noderpc.ErrNotFound) {
		return errNone
	}
	return err
}

// TestContract is what every source must do, with a service in front of a real
// node.
func TestContract(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) *sourcetest.Harness {
		var f *fake // one for each harness: it stays when the source is opened again
		h := sourcetest.BSVD(t, func(_ testing.TB, n sourcetest.Node) chainwatch.Source {
			if f == nil {
				rpc, err := noderpc.New(n.RPC)
				if err != nil {
					t.Fatal(err)
				}
				node := &remote{rpc: rpc}
				f = newFake(t, node)
				if _, err := node.height(); err != nil { // the connection is there
					t.Fatal(err)
				}
			}
			return open(t, f)
		})
		h.Live.Silent = true
		h.Open(t)
		return h
	})
}

// open makes a source of a fake service that doesn't wait.
func open(t testing.TB, f *fake) *Source {
	t.Helper()
	s, err := New(Config{Params: chainwatch.ParamsOf(frame.Regtest), URL: f.url, Poll: 50 * time.Millisecond, Backoff: 5 * time.Millisecond,
		Patience: 5 * time.Second, PerSecond: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
