//go:build unix

package devnet_test

import (
	"errors"
	"testing"

	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
	"github.com/metaim/metaim/internal/testnode"
)

// onChain tells whether a block is on a node's best chain.
func onChain(t *testing.T, n *devnet.Node, hash frame.Hash) bool {
	t.Helper()
	for h := height(t, n); h > 0; h-- {
		got, err := n.RPC().GetBlockHash(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if got == hash {
			return true
		}
	}
	return false
}

func TestShorterBranchGivesWay(t *testing.T) {
	var onB, mined []byte
	fork := testnode.Competing(t, 3, 2, func(a, b *devnet.Node) {
		// Different amounts of the same coin: one of them can be true at last.
		mined = testnode.Fund(t, a, stranger(), 1000)
		onB = testnode.Fund(t, b, stranger(), 2000)
	})
	for _, hash := range fork.OnB {
		if !onChain(t, fork.B, hash) {
			t.Fatalf("before the nodes meet, B isn't on its own branch with %s", hash)
		}
	}
	fork.Join(t)
	if got, want := testnode.Tip(t, fork.B), fork.OnA[2]; got != want {
		t.Errorf("B's tip is %s, want A's %s", got, want)
	}
	for _, hash := range fork.OnB {
		if onChain(t, fork.B, hash) {
			t.Errorf("block %s of the shorter branch is still on B's best chain", hash)
		}
	}
	if _, err := fork.B.RPC().GetRawTransaction(t.Context(), frame.HashOf(mined)); err != nil {
		t.Errorf("the winning branch's transaction on B: %v", err)
	}
	if mempool(t, fork.B)[frame.HashOf(onB)] {
		t.Errorf("the losing branch's double spend is back in B's mempool")
	}
	// B's faucet counts again: its coins are those of the other branch now.
	raw := testnode.Fund(t, fork.B, stranger(), 3000)
	testnode.Await(t, "A has B's transaction", func() bool { return mempool(t, fork.A)[frame.HashOf(raw)] })
}

func TestTransactionReturnsToTheMempool(t *testing.T) {
	var raw []byte
	fork := testnode.Competing(t, 2, 1, func(_, b *devnet.Node) { raw = testnode.Fund(t, b, stranger(), 2000) })
	if mempool(t, fork.B)[frame.HashOf(raw)] {
		t.Fatal("the transaction wasn't mined on B's branch")
	}
	fork.Join(t)
	testnode.Await(t, "the transaction is back in B's mempool", func() bool { return mempool(t, fork.B)[frame.HashOf(raw)] })
	// The faucet knows that its coin is spent in the mempool.
	testnode.Fund(t, fork.B, stranger(), 3000)
	testnode.Mine(t, fork.B, 1)
	if got := mempool(t, fork.B); len(got) != 0 {
		t.Errorf("%d transactions weren't mined again", len(got))
	}
}

func TestRestartAfterAReorganisation(t *testing.T) {
	dir := t.TempDir()
	a := testnode.Start(t)
	b := testnode.Start(t, inFolder(dir)) // its own 110 blocks will lose
	testnode.Mine(t, a, 2)
	testnode.Connect(t, a, b)
	testnode.Disconnect(t, a, b)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	again := testnode.Start(t, inFolder(dir))
	if got, want := testnode.Tip(t, again), testnode.Tip(t, a); got != want {
		t.Errorf("after a restart the tip is %s, want the other node's %s", got, want)
	}
	if _, err := again.Fund(t.Context(), stranger(), 1); !errors.Is(err, devnet.ErrFaucetEmpty) {
		t.Errorf("a faucet whose blocks all lost: got %v, want %v", err, devnet.ErrFaucetEmpty)
	}
}

func TestDisconnectedNodesStayApart(t *testing.T) {
	a := testnode.Start(t)
	b := testnode.Start(t, func(c *devnet.Config) { c.Empty = true })
	testnode.Connect(t, a, b)
	testnode.Mine(t, a, 1)
	testnode.AwaitSameTip(t, a, b)
	testnode.Disconnect(t, a, b)
	tip := testnode.Tip(t, b)
	testnode.Mine(t, a, 1)
	peers, err := b.RPC().GetPeerInfo(t.Context())
	if err != nil || len(peers) != 0 {
		t.Errorf("B has peers %v, error %v; want none", peers, err)
	}
	if got := testnode.Tip(t, b); got != tip {
		t.Errorf("B took block %s though nobody is connected", got)
	}
	if err := a.Disconnect(t.Context(), b.Connection().P2P); err == nil {
		t.Error("disconnecting twice: got no error")
	}
	testnode.Connect(t, a, b)
}

func TestBlockIsSubmittedTwice(t *testing.T) {
	n := testnode.Start(t)
	raw, err := n.RPC().GetRawBlock(t.Context(), testnode.Tip(t, n))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.RPC().SubmitBlock(t.Context(), raw); !errors.Is(err, noderpc.ErrAlreadyKnown) {
		t.Errorf("a known block: got %v, want %v", err, noderpc.ErrAlreadyKnown)
	}
	raw[40]++ // of the Merkle root
	if err := n.RPC().SubmitBlock(t.Context(), raw); err == nil {
		t.Error("a block with a wrong Merkle root is accepted")
	}
	if _, err := n.RPC().GetRawBlock(t.Context(), frame.Hash{1}); !errors.Is(err, noderpc.ErrNotFound) {
		t.Errorf("an unknown block: got %v, want %v", err, noderpc.ErrNotFound)
	}
	if _, err := n.RPC().GetBlockHash(t.Context(), 1_000_000); !errors.Is(err, noderpc.ErrNotFound) {
		t.Errorf("a height above the tip: got %v, want %v", err, noderpc.ErrNotFound)
	}
}
