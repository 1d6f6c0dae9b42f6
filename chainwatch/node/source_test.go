package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/noderpc"
)

// TestTrouble breaks a node, reads what Status says, and mends it.
func TestTrouble(t *testing.T) {
	for _, tt := range []struct {
		name   string
		breaks func(n *fakeNode)
		want   string
		mend   func(t *testing.T, n *fakeNode)
		lost   bool // the node answers, but Connected stays
	}{
		{"down", (*fakeNode).stop, "doesn't answer", func(t *testing.T, n *fakeNode) { n.listen(t) }, false},
		{"wrong credentials", func(n *fakeNode) { n.set(func() { n.status = http.StatusUnauthorized }) }, "refuses the user or the password",
			func(_ *testing.T, n *fakeNode) { n.set(func() { n.status = 0 }) }, false},
		{"still starting", func(n *fakeNode) { n.set(func() { n.status = http.StatusServiceUnavailable }) }, "is busy or still starting",
			func(_ *testing.T, n *fakeNode) { n.set(func() { n.status = 0 }) }, false},
		{"a web server", func(n *fakeNode) { n.set(func() { n.status = http.StatusNotFound }) }, "the node's answer makes no sense",
			func(_ *testing.T, n *fakeNode) { n.set(func() { n.status = 0 }) }, false},
		{"wiped", func(n *fakeNode) { n.wipe(regtest) }, "has lost blocks: it is at height 0 and was at 3",
			func(_ *testing.T, n *fakeNode) { n.mine(0, 1, 2, 3, 4) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := startFake(t)
			n.mine(0, 1, 2, 3)
			s := run(t, quick(n))
			until(t, "it is connected", func() bool { st := s.Status(); return st.Connected == 1 && st.Height == 3 && st.Trouble == "" })
			<-s.Wake()
			tt.breaks(n)
			until(t, "the trouble is told", func() bool {
				st := s.Status()
				return strings.Contains(st.Trouble, tt.want) && strings.Contains(st.Trouble, n.addr) && (st.Connected == 1) == tt.lost
			})
			if got := s.Status().Trouble; strings.Contains(got, "u:p@") {
				t.Errorf("the password stands in %q", got)
			}
			select {
			case <-s.Wake(): // a wiped node has another best block
			default:
			}
			tt.mend(t, n)
			until(t, "all is well again", func() bool { st := s.Status(); return st.Connected == 1 && st.Trouble == "" })
			awaitWake(t, s)
		})
	}
}

func TestAnotherNetworkEndsRun(t *testing.T) {
	n := startFake(t)
	n.wipe(chainwatch.ParamsOf(frame.Main))
	n.pay("of another network")
	s := newSource(t, quick(n))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := s.Run(ctx)
	var network *NetworkError
	want := "node http://" + n.addr + " is of network main, not of network regtest"
	if !errors.As(err, &network) || err.Error() != want || s.Status().Trouble != want {
		t.Errorf("Run ended with %v, status %+v, want %q", err, s.Status(), want)
	}
	if len(s.txs) != 0 {
		t.Errorf("%d transactions of another network were delivered", len(s.txs))
	}
	if _, err := s.Headers(ctx, []frame.Hash{regtest.Genesis.Hash()}); !errors.Is(err, ErrForeign) {
		t.Errorf("headers: got %v, want %v", err, ErrForeign)
	}
	if err := s.Run(ctx); err == nil {
		t.Error("a second Run: got no error")
	}
}

func TestConfig(t *testing.T) {
	rpc := noderpc.Config{URL: "http://127.0.0.1:1"}
	for name, cfg := range map[string]Config{
		"no network": {RPC: rpc}, "no URL": {Params: regtest}, "ZMQ without tcp": {Params: regtest, RPC: rpc, ZMQ: []string{"127.0.0.1:1"}},
		"ZMQ without port": {Params: regtest, RPC: rpc, ZMQ: []string{"tcp://127.0.0.1:1", "tcp://host"}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	addresses := []string{"tcp://127.0.0.1:1", "tcp://[::1]:2"}
	s, err := New(Config{Params: regtest, RPC: rpc, ZMQ: addresses})
	if err != nil || !slices.Equal(s.cfg.ZMQ, []string{"127.0.0.1:1", "[::1]:2"}) || addresses[0] != "tcp://127.0.0.1:1" {
		t.Errorf("got %v, %v, want the addresses without scheme, and the caller's as they were", s.cfg.ZMQ, err)
	}
	if st := s.Status(); st.Connected != 0 || st.Height != -1 || st.Trouble != "" {
		t.Errorf("before Run: got %+v, want nothing known", st)
	}
}

// TestChainTurnsWhileAskedFor gives headers of two branches for one question.
func TestChainTurnsWhileAskedFor(t *testing.T) {
	var a, b chainwatch.Header
	genesis := regtest.Genesis.Hash()
	copy(a[4:], genesis[:])
	hash := a.Hash()
	copy(b[4:], hash[:])
	for _, tt := range []struct {
		name string
		in   []chainwatch.Header
		want int
	}{
		{"linked", []chainwatch.Header{a, b}, 2},
		{"second of another branch", []chainwatch.Header{a, a}, 1},
		{"first of another branch", []chainwatch.Header{b, a}, 0},
		{"the last one is gone", []chainwatch.Header{a, b, {}}, 2},
	} {
		if got := linked(genesis, tt.in); len(got) != tt.want {
			t.Errorf("%s: got %d headers, want %d", tt.name, len(got), tt.want)
		}
	}
}

func TestBlockOverRESTOrRPC(t *testing.T) {
	n := startFake(t)
	hashes := n.mine(0, 1, 2)
	s := newSource(t, quick(n))
	read := func() {
		t.Helper()
		r, err := s.Block(t.Context(), hashes[1])
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, n.blocks[hashes[1]]) {
			t.Errorf("got %d bytes, %v, want the block", len(got), err)
		}
	}
	n.set(func() { n.rest = true })
	read()
	if got := n.count("getblock"); got != 0 {
		t.Errorf("asked %d times over RPC though there is REST, want 0", got)
	}
	if _, err := s.Block(t.Context(), frame.Hash{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: got %v, want %v", err, ErrNotFound)
	}
	read()
	if got := n.count("rest"); got != 3 {
		t.Errorf("asked %d times over REST, want 3: an unknown block doesn't mean that there is none", got)
	}
	n.set(func() { n.rest = false })
	read()
	read()
	if rest, rpc := n.count("rest"), n.count("getblock"); rest != 4 || rpc != 3 {
		t.Errorf("asked %d times over REST and %d over RPC, want 4 and 3: without REST it is tried once", rest, rpc)
	}
	s.cfg.MaxBlock = 1000
	r, err := s.Block(t.Context(), hashes[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: got %v, want %v", err, ErrTooLarge)
	}
}

func TestMempoolIsDeliveredOnce(t *testing.T) {
	n := startFake(t)
	n.pay("first")
	s := run(t, quick(n))
	expect(t, s, "first")
	n.pay("second")
	expect(t, s, "second")
	lists := n.count("getrawmempool")
	until(t, "the mempool is listed again", func() bool { return n.count("getrawmempool") > lists+3 })
	if len(s.txs) != 0 {
		t.Errorf("got %q again", <-s.txs)
	}
	// What leaves and comes back is news.
	n.set(func() { n.hidden = true })
	lists = n.count("getrawmempool")
	until(t, "the empty mempool is listed", func() bool { return n.count("getrawmempool") > lists+3 })
	if list, err := s.Mempool(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v, want none", list, err)
	}
	n.set(func() { n.hidden = false; delete(n.mempool, frame.HashOf([]byte("first"))) })
	expect(t, s, "second")
	s.RequestMempool()
	expect(t, s, "second")
	if list, err := s.Mempool(t.Context()); err != nil || !slices.Equal(list, []frame.Hash{frame.HashOf([]byte("second"))}) {
		t.Errorf("got %v, %v, want the second only", list, err)
	}
}

// TestNobodyReadsTransactions has more in the mempool than is taken: blocks are
// still noticed, and in the end all has come.
func TestNobodyReadsTransactions(t *testing.T) {
	n := startFake(t)
	const many = 200
	for i := range many {
		n.pay("transaction " + strings.Repeat("x", i))
	}
	s := run(t, quick(n))
	until(t, "the buffer is full", func() bool { return len(s.txs) == cap(s.txs) })
	<-s.Wake()
	n.mine(0, 1)
	awaitWake(t, s)
	seen := map[string]bool{}
	deadline := time.After(patience)
	for len(seen) < many {
		select {
		case raw := <-s.Transactions():
			seen[string(raw)] = true
		case <-deadline:
			t.Fatalf("got %d transactions, want %d", len(seen), many)
		}
	}
}
