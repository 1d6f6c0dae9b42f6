package p2p_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/p2p"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
)

const patience = 30 * time.Second

// follow runs a source on nodes until the test ends, and waits until it is
// connected to all.
func follow(t *testing.T, nodes ...string) *p2p.Source {
	t.Helper()
	s := p2p.New(p2p.Config{Params: chainwatch.ParamsOf(frame.Regtest), Peers: nodes})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v, want nil", err)
		}
	})
	testnode.Await(t, "the source is connected", func() bool { return s.Status().Connected == len(nodes) })
	return s
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func fromGenesis(t *testing.T, s *p2p.Source) []chainwatch.Header {
	t.Helper()
	genesis := chainwatch.ParamsOf(frame.Regtest).Genesis
	list, err := s.Headers(within(t), []frame.Hash{genesis.Hash()})
	if err != nil {
		t.Fatal(err)
	}
	prev := genesis.Hash()
	for i, h := range list {
		if h.Prev() != prev {
			t.Fatalf("header %d doesn't follow the one before", i)
		}
		prev = h.Hash()
	}
	return list
}

func TestRealNode(t *testing.T) {
	node := testnode.Start(t)
	s := follow(t, node.Connection().P2P)

	list := fromGenesis(t, s)
	tip := testnode.Tip(t, node)
	if len(list) == 0 || list[len(list)-1].Hash() != tip {
		t.Fatalf("got %d headers, want them to end with the tip %s", len(list), tip)
	}
	if got, err := s.Headers(within(t), []frame.Hash{tip}); err != nil || len(got) != 0 {
		t.Errorf("headers after the tip: got %d, %v, want none", len(got), err)
	}

	// A new block wakes, is in the headers, and comes whole.
	drain(s.Wake())
	mined := testnode.Mine(t, node, 1)[0]
	select {
	case <-s.Wake():
	case <-time.After(patience):
		t.Fatal("a block doesn't wake")
	}
	got, err := s.Headers(within(t), []frame.Hash{tip})
	if err != nil || len(got) != 1 || got[0].Hash() != mined {
		t.Fatalf("got %d headers, %v, want that of %s", len(got), err, mined)
	}
	want, err := node.RPC().GetRawBlock(within(t), mined)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Block(within(t), mined)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(raw, want) {
		t.Errorf("got a block of %d bytes, %v, want %d", len(raw), err, len(want))
	}
	if _, err := s.Block(within(t), frame.Hash{1}); !errors.Is(err, p2p.ErrNotFound) {
		t.Errorf("a block that doesn't exist: got %v, want %v", err, p2p.ErrNotFound)
	}
}

func TestRealTransaction(t *testing.T) {
	node := testnode.Start(t)
	before := testnode.Fund(t, node, frame.KeyHash{1}, 1000)
	s := follow(t, node.Connection().P2P)
	expect(t, s, before, patience) // what is in the mempool at the start

	during := testnode.Fund(t, node, frame.KeyHash{2}, 1000)
	sent := time.Now()
	expect(t, s, during, patience)
	if took := time.Since(sent); took > time.Second {
		t.Errorf("a transaction took %s, want at most a second", took)
	}
	s.RequestMempool()
	again := map[string]bool{string(before): true, string(during): true}
	for range 2 {
		select {
		case raw := <-s.Transactions():
			if !again[string(raw)] {
				t.Errorf("got a transaction of %d bytes that wasn't asked for, or twice", len(raw))
			}
			delete(again, string(raw))
		case <-time.After(patience):
			t.Fatal("the mempool doesn't come again")
		}
	}
}

func expect(t *testing.T, s *p2p.Source, want []byte, limit time.Duration) {
	t.Helper()
	select {
	case got := <-s.Transactions():
		if !bytes.Equal(got, want) {
			t.Errorf("got a transaction of %d bytes, want another of %d", len(got), len(want))
		}
	case <-time.After(limit):
		t.Fatal("no transaction arrives")
	}
}

func TestRealNodeRestarts(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	same := func(c *devnet.Config) { c.Dir, c.P2PPort = dir, port }
	ln.Close()

	node := testnode.Start(t, same)
	s := follow(t, node.Connection().P2P)
	tip := testnode.Tip(t, node)
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}
	testnode.Await(t, "the loss is told", func() bool {
		st := s.Status()
		return st.Connected == 0 && strings.Contains(st.Trouble, node.Connection().P2P)
	})
	testnode.Start(t, same)
	testnode.Await(t, "the source is connected again", func() bool { return s.Status().Connected == 1 })
	if list := fromGenesis(t, s); len(list) == 0 || list[len(list)-1].Hash() != tip {
		t.Errorf("got %d headers, want them to end with the tip from before", len(list))
	}
	if got := s.Status().Trouble; got != "" {
		t.Errorf("trouble %q, want none", got)
	}
}

// TestRealNodeOfAnotherNetwork shows what is seen of it: nothing but the end.
func TestRealNodeOfAnotherNetwork(t *testing.T) {
	node := testnode.Start(t)
	s := p2p.New(p2p.Config{Params: chainwatch.ParamsOf(frame.Main), Peers: []string{node.Connection().P2P}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	testnode.Await(t, "the trouble is told", func() bool {
		return strings.Contains(s.Status().Trouble, "closes the connection on hello: it may be of another network than mainnet")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v, want nil", err)
	}
}

// TestRealFork follows two nodes with different chains: headers of both come,
// and after they have joined one run.
func TestRealFork(t *testing.T) {
	fork := testnode.Competing(t, 2, 3, nil)
	s := follow(t, fork.A.Connection().P2P, fork.B.Connection().P2P)
	want := append(append([]frame.Hash{}, fork.OnA...), fork.OnB...)
	checkHeaders(t, s, fork.Base, want)
	fork.Join(t)
	checkHeaders(t, s, fork.Base, fork.OnB)
}

func checkHeaders(t *testing.T, s *p2p.Source, base frame.Hash, want []frame.Hash) {
	t.Helper()
	list, err := s.Headers(within(t), []frame.Hash{base})
	if err != nil {
		t.Fatal(err)
	}
	var got []frame.Hash
	for _, h := range list {
		got = append(got, h.Hash())
	}
	if len(got) != len(want) {
		t.Fatalf("got %d headers, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("header %d: got %s, want %s", i, got[i], want[i])
		}
	}
}

func drain(ch <-chan struct{}) {
	select {
	case <-ch:
	default:
	}
}
