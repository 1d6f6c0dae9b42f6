// Package testnode gives tests real nodes: bsvd on regtest, in a temporary
// folder, stopped when the test ends.
package testnode

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/signer"
)

// patience is how long anything that two nodes do together may take. It is much
// longer than it takes on a machine that does nothing else.
const patience = 30 * time.Second

// binary builds bsvd once for the tests of a package.
var binary = sync.OnceValues(func() (string, error) {
	var said bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return devnet.Build(ctx, &said)
})

// An Option changes how a node runs, its folder for one.
type Option func(*devnet.Config)

// Start starts a node that has mined 110 blocks of its own, and stops it when the
// test ends.
func Start(t testing.TB, opts ...Option) *devnet.Node {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cfg := devnet.Config{Binary: path}
	for _, o := range opts {
		o(&cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := devnet.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Errorf("stop the node: %v", err)
		}
	})
	return n
}

// Connect connects a to b and waits until both have the same best block. When
// they have chains of the same work, neither gives way: mine one more first.
func Connect(t testing.TB, a, b *devnet.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.Connect(ctx, b.Connection().P2P); err != nil {
		t.Fatal(err)
	}
	AwaitSameTip(t, a, b)
}

// Disconnect ends a connection that Connect made.
func Disconnect(t testing.TB, a, b *devnet.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.Disconnect(ctx, b.Connection().P2P); err != nil {
		t.Fatal(err)
	}
}

// Tip returns a node's best block.
func Tip(t testing.TB, n *devnet.Node) frame.Hash {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hash, err := n.RPC().GetBestBlockHash(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// Mine mines blocks and returns their hashes.
func Mine(t testing.TB, n *devnet.Node, blocks int) []frame.Hash {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hashes, err := n.Mine(ctx, blocks)
	if err != nil {
		t.Fatal(err)
	}
	return hashes
}

// Fund gives coins of the node's faucet away and returns the transaction, which is
// in the node's mempool.
func Fund(t testing.TB, n *devnet.Node, to frame.KeyHash, satoshis uint64) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	raw, err := n.Fund(ctx, to, satoshis)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// AwaitSameTip waits until two nodes have the same best block.
func AwaitSameTip(t testing.TB, a, b *devnet.Node) {
	t.Helper()
	Await(t, "both nodes have the same best block", func() bool { return Tip(t, a) == Tip(t, b) })
}

// Await asks again and again until something is so, or fails the test.
func Await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %s: %s", patience, what)
		}
	}
}

// A Fork is what Competing made.
type Fork struct {
	A, B     *devnet.Node // not connected; both have the blocks up to Base
	Base     frame.Hash   // the last block that both have
	OnA, OnB []frame.Hash // the branches, oldest first
}

// Competing starts two nodes with the same chain, cuts them apart and mines a
// branch of onA blocks with one and of onB blocks with the other. beforeMining,
// which may be nil, can put different transactions into their mempools: both
// faucets have the same coins.
// [Fork.Join] makes the shorter branch lose; branches of one length stay.
func Competing(t testing.TB, onA, onB int, beforeMining func(a, b *devnet.Node)) *Fork {
	t.Helper()
	key := signer.NewKey()
	f := &Fork{
		A: Start(t, func(c *devnet.Config) { c.MinerKey = key }),
		B: Start(t, func(c *devnet.Config) { c.MinerKey, c.Empty = key, true }),
	}
	Connect(t, f.A, f.B)
	Disconnect(t, f.A, f.B)
	f.Base = Tip(t, f.A)
	if beforeMining != nil {
		beforeMining(f.A, f.B)
	}
	f.OnA, f.OnB = Mine(t, f.A, onA), Mine(t, f.B, onB)
	return f
}

// Join connects the two nodes, and waits until the one with the shorter branch has
// taken the other's.
func (f *Fork) Join(t testing.TB) {
	t.Helper()
	Connect(t, f.A, f.B)
}
