package p2p

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/metaim/metaim/improtocol/frame"
)

// givesTxs answers requests for transactions from a list.
func givesTxs(txs ...[]byte) acts {
	byID := make(map[frame.Hash][]byte)
	for _, tx := range txs {
		byID[frame.HashOf(tx)] = tx
	}
	return acts{"getdata": func(c *fakeConn, payload []byte) {
		_, hashes := items(payload)
		for _, h := range hashes {
			if tx, ok := byID[h]; ok {
				c.say("tx", tx)
			} else {
				c.say("notfound", rawItems(1, h))
			}
		}
	}}
}

func announces(txs ...[]byte) func(c *fakeConn) {
	hashes := make([]frame.Hash, len(txs)) // at most 65,535
	for i, tx := range txs {
		hashes[i] = frame.HashOf(tx)
	}
	return func(c *fakeConn) { c.say("inv", rawItems(1, hashes...)) }
}

// expectTxs takes transactions until the last of want has come, and checks that
// nothing else came before it and nothing twice.
func expectTxs(t *testing.T, s *Source, want ...[]byte) {
	t.Helper()
	left := make(map[string]bool)
	for _, tx := range want {
		left[string(tx)] = true
	}
	for range want {
		got := string(receive(t, s))
		if !left[got] {
			t.Fatalf("got %q, which is foreign or a repetition", got)
		}
		delete(left, got)
	}
}

func TestTransactions(t *testing.T) {
	x, y, end := []byte("transaction x"), []byte("transaction y"), []byte("the last transaction")
	loses := acts{"getdata": func(*fakeConn, []byte) {}}
	asked := 0
	second := acts{"getdata": func(c *fakeConn, _ []byte) {
		if asked++; asked > 1 {
			c.say("tx", x)
		}
	}}
	tests := []struct {
		name  string
		nodes []*fakeNode
		want  [][]byte
	}{
		{"announced by one", []*fakeNode{{on: givesTxs(x, y), ready: announces(x, y)}}, [][]byte{x, y}},
		{"announced by two, delivered once", []*fakeNode{
			{on: givesTxs(x), ready: announces(x)}, {on: givesTxs(x), ready: announces(x, x)}}, [][]byte{x}},
		{"announced twice by one", []*fakeNode{{on: givesTxs(x), ready: func(c *fakeConn) { announces(x)(c); announces(x)(c) }}}, [][]byte{x}},
		{"lost by one, given by the other", []*fakeNode{
			{on: loses, ready: announces(x)}, {on: givesTxs(x), ready: announces(x)}}, [][]byte{x}},
		{"not found by one, given by the other", []*fakeNode{
			{on: givesTxs(), ready: announces(x)}, {on: givesTxs(x), ready: announces(x)}}, [][]byte{x}},
		{"lost once by the only one", []*fakeNode{{on: second, ready: announces(x)}}, [][]byte{x}},
		{"nobody asked for it", []*fakeNode{{ready: func(c *fakeConn) { c.say("tx", x); c.say("tx", x) }}}, [][]byte{x}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range tt.nodes {
				n.start(t)
			}
			s := run(t, shortLimits(addrs(tt.nodes...)...))
			expectTxs(t, s, tt.want...)
			until(t, "all are connected", func() bool { return s.Status().Connected == len(tt.nodes) })
			for _, n := range tt.nodes { // whatever came twice would come before this
				until(t, "the script was played", func() bool { return n.received("ready") > 0 })
				n.last().say("tx", append(end, n.addr...))
			}
			for range tt.nodes {
				if got := receive(t, s); !bytes.HasPrefix(got, end) {
					t.Errorf("got %q, want no more", got)
				}
			}
		})
	}
}

// TestDisconnectedWithAQuestionOpen has a node that goes when it is asked.
func TestDisconnectedWithAQuestionOpen(t *testing.T) {
	x := []byte("transaction x")
	told := make(chan struct{})
	a := (&fakeNode{ready: announces(x), on: acts{"getdata": func(c *fakeConn, _ []byte) {
		<-told // the other has announced it too
		c.Close()
	}}}).start(t)
	b := (&fakeNode{on: givesTxs(x)}).start(t)
	cfg := shortLimits(a.addr, b.addr)
	cfg.RetryAfter = patience // it must come for another reason
	s := run(t, cfg)
	until(t, "the first is asked", func() bool { return a.received("getdata") > 0 })
	until(t, "the other is connected", func() bool { return s.Status().Connected == 2 })
	announces(x)(b.last())
	until(t, "the other's announcement is read", func() bool {
		s.inventory.mu.Lock()
		defer s.inventory.mu.Unlock()
		w := s.inventory.wanted[frame.HashOf(x)]
		return w != nil && len(w.announcers) == 2
	})
	close(told)
	expectTxs(t, s, x)
}

// TestMempool checks who is asked for the mempool, and that RequestMempool
// delivers again.
func TestMempool(t *testing.T) {
	x := []byte("transaction x")
	bsvd := &fakeNode{agent: agentBSV, on: givesTxs(x)}
	bsvd.on["mempool"] = func(c *fakeConn, _ []byte) { announces(x)(c) }
	bsvd.start(t)
	sv := (&fakeNode{agent: agentSV}).start(t)
	s := run(t, shortLimits(addrs(bsvd, sv)...))
	until(t, "both are connected", func() bool { return s.Status().Connected == 2 })
	expectTxs(t, s, x)
	for range mempoolBurst - 1 {
		s.RequestMempool()
		expectTxs(t, s, x)
	}
	s.RequestMempool()
	s.RequestMempool()
	announces(x)(bsvd.last()) // it was forgotten in spite of the pace
	expectTxs(t, s, x)
	if got := bsvd.received("mempool"); got != mempoolBurst {
		t.Errorf("bsvd was asked %d times, want %d", got, mempoolBurst)
	}
	if got := sv.received("mempool"); got != 0 {
		t.Errorf("the reference node was asked %d times, want 0", got)
	}
}

// TestNothingIsDropped has more transactions than find room, and a reader that
// comes late; headers must come in spite of that.
func TestNothingIsDropped(t *testing.T) {
	var txs [][]byte
	for i := range 3000 {
		txs = append(txs, fmt.Appendf(nil, "transaction %d", i))
	}
	for _, tt := range []struct {
		name string
		set  func(c *Config)
	}{
		{"bounded by number", func(c *Config) { c.QueueLength = 10 }},
		{"bounded by bytes", func(c *Config) { c.QueueBytes = 20000 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			node := &fakeNode{on: givesTxs(txs...), ready: announces(txs...)}
			node.on["getheaders"] = func(c *fakeConn, _ []byte) { c.say("headers", rawHeaders(testHeader(1))) }
			node.start(t)
			cfg := shortLimits(node.addr)
			cfg.RetryAfter = patience
			tt.set(&cfg)
			s := run(t, cfg)
			until(t, "the queue is full", func() bool { return s.queue.full(cfg.QueueLength) })
			if got, err := s.Headers(within(t), nil); err != nil || len(got) != 1 {
				t.Errorf("headers while the queue is full: got %d, %v, want 1", len(got), err)
			}
			expectTxs(t, s, txs...)
		})
	}
}

// TestFullQueueHoldsTheReader pushes transactions that nobody asked for into a
// full queue: the connection waits, and all arrive.
func TestFullQueueHoldsTheReader(t *testing.T) {
	var txs [][]byte
	for i := range 200 {
		txs = append(txs, fmt.Appendf(nil, "transaction %d", i))
	}
	node := (&fakeNode{ready: func(c *fakeConn) {
		for _, tx := range txs {
			c.say("tx", tx)
		}
	}}).start(t)
	cfg := shortLimits(node.addr)
	cfg.QueueBytes = 100
	s := run(t, cfg)
	until(t, "the queue is full", func() bool { return s.queue.full(cfg.QueueLength) })
	time.Sleep(10 * time.Millisecond) // gives a dropping queue the time to drop
	expectTxs(t, s, txs...)
}
