package junglebus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/service"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simchain"
)

// pay is a transaction like no other of another number.
func pay(n uint64) []byte {
	tx := &simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(n), nil)}, Outputs: []simchain.Output{simchain.Pay(frame.KeyHash{byte(n)}, n)}}
	return tx.Bytes()
}

// five is a chain of five blocks with 1, 2, 3, 4 and 5 transactions.
func five() *mined {
	m := newMined()
	for n := range 5 {
		var txs [][]byte
		for i := range n {
			txs = append(txs, pay(uint64(100*n+i+1)))
		}
		m.mine(m.tip, txs...)
	}
	return m
}

// run runs a source until the test ends.
func run(t *testing.T, s *Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v, want nil", err)
		}
	})
	await(t, "the source is connected", func() bool { return s.Status().Connected == 1 })
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never happens that %s", what)
		}
	}
}

// everything asks for all headers and all blocks, and checks them as the follower
// does.
func everything(ctx context.Context, s *Source) (headers, transactions int, err error) {
	chain := chainwatch.NewChain(s.cfg.Params)
	list, err := s.Headers(ctx, []frame.Hash{s.genesis})
	for _, h := range list {
		if _, addErr := chain.Add(h); addErr != nil {
			s.Refused(h, addErr)
			return headers, transactions, addErr
		}
		headers++
	}
	for i := 0; i < len(list) && err == nil; i++ {
		var picked *chainwatch.Selection
		if picked, err = s.Selection(ctx, list[i].Hash()); err != nil {
			break
		}
		if _, err = chainwatch.NewScanner(frame.Regtest).Selection(picked, nil); err == nil {
			transactions += len(picked.Transactions)
		}
	}
	return headers, transactions, err
}

// TestFaults: whatever a service does, nothing untrue gets through, what is wrong
// is said, and when it is over all goes on. A service that lies is dropped.
func TestFaults(t *testing.T) {
	var lie *service.LieError
	isLie := func(err error) bool { return errors.As(err, &lie) }
	tests := []struct {
		name  string
		fault func(*faults)
		want  func(error) bool // nil: all is well in spite of it
		lies  bool
	}{
		{"nothing", func(*faults) {}, nil, false},
		{"down", func(x *faults) { x.down = true }, func(err error) bool { return strings.Contains(err.Error(), "502") }, false},
		{"slow", func(x *faults) { x.slow = true }, func(err error) bool { return strings.Contains(err.Error(), "doesn't answer within") }, false},
		{"asked too often, twice", func(x *faults) { x.refuse = 2 }, nil, false},
		{"asked too often, for long", func(x *faults) { x.refuse = 1000 }, func(err error) bool { return strings.Contains(err.Error(), "too often") }, false},
		{"only ids are told", func(x *faults) { x.lite = true }, nil, false},
		{"wrong paths", func(x *faults) { x.wrongPath = true }, isLie, true},
		{"a transaction that isn't in the block", func(x *faults) { x.foreign = true }, isLie, true},
		{"other bytes", func(x *faults) { x.lite, x.wrongBytes = true, true }, isLie, true},
		{"a header with another hash", func(x *faults) { x.wrongHash = true }, isLie, true},
		{"a header without work", func(x *faults) { x.noWork = true }, func(err error) bool { return errors.Is(err, chainwatch.ErrWork) }, true},
		{"a transaction left out that is counted", func(x *faults) { x.lose = true }, nil, false},
		{"transactions of another block", func(x *faults) { x.otherBlock = true }, func(err error) bool { return errors.Is(err, ErrReplaced) }, false},
		{"more than anybody wants", func(x *faults) { x.giant = true }, func(err error) bool { return errors.Is(err, errTooLong) }, false},
		{"no JSON", func(x *faults) { x.garbage = true }, func(err error) bool { return errors.Is(err, errAnswer) }, false},
		{"blocks passed over in silence", func(x *faults) { x.passes = true }, nil, false},
		{"no blocks come", func(x *faults) { x.hush = true }, func(err error) bool { return strings.Contains(err.Error(), "nothing more of it comes") }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, five())
			s := open(t, f)
			s.cfg.Patience = 500 * time.Millisecond
			s.cfg.Poll = time.Hour // the questions are the test's
			f.set(tt.fault)
			_, transactions, err := everything(t.Context(), s)
			switch {
			case tt.want == nil && (err != nil || transactions < 10):
				t.Errorf("got %d transactions, %v, want all", transactions, err)
			case tt.want != nil && (err == nil || !tt.want(err)):
				t.Errorf("got %d transactions, %v, want another error", transactions, err)
			}
			f.set(func(x *faults) { *x = faults{} })
			trouble := s.Status().Trouble
			if tt.lies {
				if _, again := s.Headers(t.Context(), []frame.Hash{s.genesis}); again == nil || !strings.Contains(trouble, s.name) || !strings.Contains(trouble, "dropped") {
					t.Errorf("after a lie: got %v, trouble %q, want the service dropped and named", again, trouble)
				}
				s.trust.Forgive()
			}
			if headers, transactions, err := everything(t.Context(), s); headers != 5 || transactions != 15 || err != nil {
				t.Errorf("afterwards: got %d headers, %d transactions, %v, want 5 and 15", headers, transactions, err)
			}
		})
	}
}

// TestMempoolGap: what is lost of the mempool channel is noticed at the next
// publication, asked for and delivered once, in order.
func TestMempoolGap(t *testing.T) {
	f := newFake(t, five())
	s := open(t, f)
	run(t, s)
	await(t, "the channel is joined", func() bool { return f.listeners() > 0 })
	want := [][]byte{pay(1), pay(2), pay(3), pay(4), pay(5), pay(6)}
	f.enter(want[0])
	f.set(func(x *faults) { x.skipMempool = 2 })
	f.enter(want[1])
	f.enter(want[2])
	f.enter(want[3]) // shows that two are missing
	got := receive(t, s, 4)
	f.hangUp() // what comes while nobody listens is asked for too
	f.enter(want[4])
	f.enter(want[5])
	got = append(got, receive(t, s, 2)...)
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// TestMempoolForgotten: a service that keeps nothing isn't asked for ever.
func TestMempoolForgotten(t *testing.T) {
	f := newFake(t, five())
	s := open(t, f)
	f.set(func(x *faults) { x.forgets = true })
	run(t, s)
	await(t, "the channel is joined", func() bool { return f.listeners() > 0 })
	f.enter(pay(1))
	receive(t, s, 1)
	f.set(func(x *faults) { x.skipMempool = 1 })
	f.enter(pay(2))
	f.enter(pay(3))
	await(t, "the channel is left and joined again", func() bool { return f.count("websocket") > 1 && f.listeners() > 0 })
	await(t, "a transaction comes", func() bool {
		f.enter(pay(4))
		select {
		case got := <-s.Transactions():
			return slices.Equal(got, pay(4))
		case <-time.After(50 * time.Millisecond):
			return false
		}
	})
}

func receive(t *testing.T, s *Source, n int) (got [][]byte) {
	t.Helper()
	for len(got) < n {
		select {
		case raw := <-s.Transactions():
			got = append(got, raw)
		case <-time.After(20 * time.Second):
			t.Fatalf("got %d transactions, want %d", len(got), n)
		}
	}
	return got
}

// listeners counts who is in the mempool channel.
func (f *fake) listeners() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		if c.on["query:"+fakeSubscription+":mempool"] {
			n++
		}
	}
	return n
}

func (f *fake) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[what]
}

// TestReorganisation: control code 300 wakes, what was streamed before it is
// forgotten, and the new branch is followed.
func TestReorganisation(t *testing.T) {
	m := five()
	f := newFake(t, m)
	s := open(t, f)
	s.cfg.Poll = time.Hour // only the control channel tells
	run(t, s)
	await(t, "the channel is joined", func() bool { return f.listeners() > 0 })
	if headers, _, err := everything(t.Context(), s); headers != 5 || err != nil {
		t.Fatalf("before: got %d headers, %v", headers, err)
	}
	await(t, "it is quiet", func() bool {
		select {
		case <-s.Wake():
			return false
		case <-time.After(50 * time.Millisecond):
			return true
		}
	})
	old := m.tip
	m.mine(m.mine(old.Parent, pay(7)), pay(8))
	f.tell(codeReorg, uint64(old.Height))
	select {
	case <-s.Wake():
	case <-time.After(20 * time.Second):
		t.Fatal("nothing wakes")
	}
	list, err := s.Headers(t.Context(), []frame.Hash{old.Hash, old.Parent.Hash, s.genesis})
	if err != nil || len(list) != 2 || list[1].Hash() != m.tip.Hash {
		t.Errorf("got %d headers, %v, want the two of the new branch", len(list), err)
	}
	if _, err := s.Selection(t.Context(), old.Hash); err == nil {
		t.Error("a block that was replaced: no error")
	}
	picked, err := s.Selection(t.Context(), m.tip.Hash)
	if err != nil || len(picked.Transactions) != 2 || !slices.Equal(picked.Transactions[1].Raw, pay(8)) {
		t.Errorf("the new tip: got %v, %v, want its two transactions", picked, err)
	}
	if trouble := s.Status().Trouble; trouble != "" {
		t.Errorf("a reorganisation is no lie: got %q", trouble)
	}
}

// TestAddresses lists addresses that are refused, and what becomes of good ones.
func TestAddresses(t *testing.T) {
	params := chainwatch.ParamsOf(frame.Regtest)
	for address, want := range map[string]string{
		"https://junglebus.gorillapool.io/abc":  "https://junglebus.gorillapool.io abc",
		"https://junglebus.gorillapool.io/abc/": "https://junglebus.gorillapool.io abc",
		"http://127.0.0.1:8080/bus/abc":         "http://127.0.0.1:8080/bus abc",
		"https://junglebus.gorillapool.io":      "",
		"https://junglebus.gorillapool.io/":     "",
		"https://user:secret@host/abc":          "",
		"ftp://host/abc":                        "",
		"https://host/a:b":                      "",
		"https://host/abc?token=secret":         "",
		"host/abc":                              "",
	} {
		s, err := New(Config{Params: params, URL: address})
		got := ""
		if err == nil {
			got = s.name + " " + s.subscription
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the secret: %v", address, err)
		}
		if got != want {
			t.Errorf("%s: got %q, %v, want %q", address, got, err, want)
		}
	}
}

// TestNetwork: a service of another network ends Run.
func TestNetwork(t *testing.T) {
	f := newFake(t, five())
	s, err := New(Config{Params: chainwatch.ParamsOf(frame.Main), URL: f.url()})
	if err != nil {
		t.Fatal(err)
	}
	var network *service.NetworkError
	if err := s.Run(t.Context()); !errors.As(err, &network) {
		t.Errorf("got %v, want a *service.NetworkError", err)
	}
}

// TestPassedOver: a run of blocks in which nothing matches, and of which nothing is
// said, is had with two connections.
func TestPassedOver(t *testing.T) {
	m := newMined()
	for range 10 {
		m.mine(m.tip)
	}
	f := newFake(t, m)
	s := open(t, f)
	s.cfg.Poll = time.Hour // no connection but for blocks: Run isn't called
	f.set(func(x *faults) { x.passes = true })
	headers, transactions, err := everything(t.Context(), s)
	if headers != 10 || transactions != 0 || err != nil {
		t.Errorf("got %d headers, %d transactions, %v, want 10 and none", headers, transactions, err)
	}
	if n := f.count("websocket"); n > 4 {
		t.Errorf("%d connections, want two for each of the two runs at most", n)
	}
}
