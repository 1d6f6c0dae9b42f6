package whatsonchain

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/chainwatch/service"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/simchain"
	"github.com/metaim/metaim/internal/woc"
)

// pay is a transaction like no other of another number.
func pay(n uint64) []byte {
	tx := &simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(n), nil)}, Outputs: []simchain.Output{simchain.Pay(frame.KeyHash{byte(n)}, n)}}
	return tx.Bytes()
}

// five is a chain of five blocks with 1, 4, 7, 10 and 13 transactions.
func five() *mined {
	m := newMined()
	for n := range 5 {
		var txs [][]byte
		for i := range 3 * n {
			txs = append(txs, pay(uint64(100*n+i+1)))
		}
		m.mine(m.tip, txs...)
	}
	return m
}

const (
	fiveBlocks       = 5
	fiveTransactions = 1 + 4 + 7 + 10 + 13
)

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
	scanner := chainwatch.NewScanner(frame.Regtest)
	for i := 0; i < len(list) && err == nil; i++ {
		r, openErr := s.Block(ctx, list[i].Hash())
		if err = openErr; err != nil {
			break
		}
		var scan *chainwatch.Scan
		if scan, err = scanner.Block(r, nil); err == nil {
			transactions += int(scan.Count)
		}
		err = errors.Join(err, r.Close())
	}
	return headers, transactions, err
}

// TestFaults: whatever the service does, nothing untrue gets through, what is wrong
// is said with its name, and when it is over all goes on. A service that lies is
// dropped.
func TestFaults(t *testing.T) {
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	says := func(text string) func(error) bool {
		return func(err error) bool { return strings.Contains(err.Error(), text) }
	}
	var lie *service.LieError
	isLie := func(err error) bool { return errors.As(err, &lie) }
	tests := []struct {
		name  string
		fault func(*faults)
		want  func(error) bool // nil: all is well in spite of it
		lies  bool
	}{
		{"nothing", func(*faults) {}, nil, false},
		{"down", func(x *faults) { x.down = true }, says("502"), false},
		{"slow", func(x *faults) { x.slow = true }, says("doesn't answer within"), false},
		{"asked too often, twice", func(x *faults) { x.refuse = 2 }, nil, false},
		{"asked too often, for long", func(x *faults) { x.refuse = 1000 }, says("too often"), false},
		{"fails twice", func(x *faults) { x.fail = 2 }, nil, false},
		{"half of each answer", func(x *faults) { x.truncated = true }, func(err error) bool { return isLie(err) || errors.Is(err, woc.ErrAnswer) }, false},
		{"more than anybody wants", func(x *faults) { x.giant = true }, is(woc.ErrTooLong), false},
		{"no answer at all", func(x *faults) { x.garbage = true }, is(woc.ErrAnswer), false},
		{"other bytes of a transaction", func(x *faults) { x.wrongBytes = true }, isLie, true},
		{"a transaction that is nowhere", func(x *faults) { x.missing = true }, is(woc.ErrMissing), false},
		{"a transaction that is had alone only", func(x *faults) { x.reluctant = true }, nil, false},
		{"headers that don't follow", func(x *faults) { x.unlinked = true }, isLie, true},
		{"a block's header with another hash", func(x *faults) { x.wrongHash = true }, isLie, true},
		{"headers one by one with another hash", func(x *faults) { x.noBulk, x.wrongHash = true, true }, isLie, true},
		{"a header without work", func(x *faults) { x.noWork = true }, is(chainwatch.ErrWork), true},
		{"another block", func(x *faults) { x.otherBlock = true }, isLie, true},
		{"the list in another order", func(x *faults) { x.order = true }, is(chainwatch.ErrMerkleRoot), true},
		{"a transaction left out and not counted", func(x *faults) { x.short = true }, is(chainwatch.ErrMerkleRoot), true},
		{"more listed than counted", func(x *faults) { x.excess = true }, isLie, true},
		{"a page missing", func(x *faults) { x.pageless = true }, says("page 2 is missing"), false},
		{"pages that begin where the short list ends", func(x *faults) { x.remainder = true }, nil, false},
		{"headers one by one", func(x *faults) { x.noBulk = true }, nil, false},
		{"no newest headers", func(x *faults) { x.noLatest = true }, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, five())
			s, err := New(Config{Params: chainwatch.ParamsOf(frame.Regtest), URL: f.url, PerSecond: 1e6, Backoff: time.Millisecond, Patience: 500 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if tt.name == "more than anybody wants" {
				s.cfg.MaxTx = 1000
			}
			f.set(tt.fault)
			_, transactions, err := everything(t.Context(), s)
			switch {
			case tt.want == nil && (err != nil || transactions != fiveTransactions):
				t.Errorf("got %d transactions, %v, want all %d", transactions, err, fiveTransactions)
			case tt.want != nil && (err == nil || !tt.want(err)):
				t.Errorf("got %d transactions, %v, want another error", transactions, err)
			case err != nil && !errors.Is(err, chainwatch.ErrWork) && !errors.Is(err, chainwatch.ErrMerkleRoot) && !strings.Contains(err.Error(), s.name):
				t.Errorf("got %v, want the service named", err)
			}
			f.set(func(x *faults) { *x = faults{} })
			trouble := s.Status().Trouble
			if dropped := strings.Contains(trouble, s.name) && strings.Contains(trouble, "dropped"); tt.lies && !dropped {
				t.Errorf("after a lie: got trouble %q, want the service dropped and named", trouble)
			}
			before := f.count("all")
			if _, again := s.Headers(t.Context(), []frame.Hash{s.genesis}); tt.lies && (again == nil || f.count("all") != before) {
				t.Errorf("after a lie: got %v and %d questions, want a refusal and none", again, f.count("all")-before)
			}
			s.trust.Forgive()
			if headers, transactions, err := everything(t.Context(), s); headers != fiveBlocks || transactions != fiveTransactions || err != nil {
				t.Errorf("afterwards: got %d headers, %d transactions, %v, want %d and %d", headers, transactions, err, fiveBlocks, fiveTransactions)
			}
		})
	}
}

// TestBroken: answers that break off in the middle of a block are asked for again,
// and the block goes on.
func TestBroken(t *testing.T) {
	f := newFake(t, five())
	s := open(t, f)
	hash := f.backend.(*mined).tip.Hash
	r, err := s.Block(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	f.set(func(x *faults) { x.cut = batchTries - 1 })
	scan, err := chainwatch.NewScanner(frame.Regtest).Block(r, nil)
	if err != nil || scan.Count != 13 {
		t.Errorf("broken off %d times: got %v, want 13 transactions", batchTries-1, err)
	}
	if r, err = s.Block(t.Context(), hash); err != nil {
		t.Fatal(err)
	}
	f.set(func(x *faults) { x.cut = 1000 })
	if _, err := chainwatch.NewScanner(frame.Regtest).Block(r, nil); err == nil {
		t.Error("broken off for ever: no error")
	}
	if trouble := s.Status().Trouble; trouble != "" {
		t.Errorf("a connection that breaks is no lie: got %q", trouble)
	}
}

// TestBounds: transactions and blocks over the limit are refused, and a block that
// is closed while it is read ends the reading.
func TestBounds(t *testing.T) {
	f := newFake(t, five())
	tip := f.backend.(*mined).tip.Hash
	tests := []struct {
		name  string
		set   func(*Config)
		fault func(*faults)
		want  error
	}{
		{"a block over the limit", func(c *Config) { c.MaxBlock = 500 }, func(*faults) {}, ErrTooLarge},
		{"a transaction over the limit", func(c *Config) { c.MaxTx = 20 }, func(x *faults) { x.reluctant = true }, woc.ErrTooLong},
		{"neither", func(*Config) {}, func(*faults) {}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, f)
			tt.set(&s.cfg)
			f.set(tt.fault)
			defer f.set(func(x *faults) { *x = faults{} })
			r, err := s.Block(t.Context(), tip)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = chainwatch.NewScanner(frame.Regtest).Block(r, nil); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	s := open(t, f)
	r, err := s.Block(t.Context(), tip)
	if err != nil {
		t.Fatal(err)
	}
	f.set(func(x *faults) { x.slow = true })
	ended := make(chan error, 1)
	go func() {
		_, err := chainwatch.NewScanner(frame.Regtest).Block(r, nil)
		ended <- err
	}()
	before := f.count("txs")
	await(t, "transactions are asked for", func() bool { return f.count("txs") > before || f.count("txs") > 0 })
	if err := r.Close(); err != nil {
		t.Errorf("closing: got %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("a block closed while it is read: no error")
	}
}

func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never happens that %s", what)
		}
	}
}

// TestAddresses lists what is refused before anything is asked.
func TestAddresses(t *testing.T) {
	tests := []struct {
		name    string
		network frame.Network
		url     string
		key     string
		want    string // of the name; empty: refused
	}{
		{"the service", frame.Main, "", "", "https://api.whatsonchain.com/v1/bsv/main"},
		{"its testnet", frame.Test, "", "akey", "https://api.whatsonchain.com/v1/bsv/test"},
		{"another address", frame.Main, "https://127.0.0.1:8080/woc/", "", "https://127.0.0.1:8080/woc/main"},
		{"a network it doesn't know", frame.Regtest, "", "", ""},
		{"a stand-in for one", frame.Regtest, "http://127.0.0.1:8080", "", "http://127.0.0.1:8080/test"},
		{"a password", frame.Main, "https://user:secret@host", "", ""},
		{"a key in the address", frame.Main, "https://host?key=secret", "", ""},
		{"another scheme", frame.Main, "ftp://host", "", ""},
		{"no scheme", frame.Main, "host", "", ""},
		{"a key of two lines", frame.Main, "", "secret\r\nhost: x", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(Config{Params: chainwatch.ParamsOf(tt.network), URL: tt.url, Key: tt.key})
			got := ""
			if err == nil {
				got = s.name
			} else if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the secret: %v", err)
			}
			if got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestNetwork: a service of another network ends Run, and one that knows nothing of
// ours is said to.
func TestNetwork(t *testing.T) {
	f := newFake(t, five())
	f.set(func(x *faults) { x.otherNet = true })
	s := open(t, f)
	var network *service.NetworkError
	if err := s.Run(t.Context()); !errors.As(err, &network) || network.Got != `chain "stn"` {
		t.Errorf("got %v, want a *service.NetworkError", err)
	}
	f.set(func(x *faults) { *x = faults{} })
	s, err := New(Config{Params: chainwatch.ParamsOf(frame.Test), URL: f.url, PerSecond: 1e6, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range []func(*faults){func(*faults) {}, func(x *faults) { x.noBulk = true }} {
		f.set(fault)
		if _, err := s.Headers(t.Context(), []frame.Hash{s.genesis}); !errors.Is(err, ErrForeign) {
			t.Errorf("got %v, want %v", err, ErrForeign)
		}
	}
}

// TestKey: the key is shown to the service, and stands in no error and no status.
func TestKey(t *testing.T) {
	f := newFake(t, five())
	s, err := New(Config{Params: chainwatch.ParamsOf(frame.Regtest), URL: f.url, Key: "topsecret", PerSecond: 1e6, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := everything(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	if len(f.keys) != 1 || !f.keys["topsecret"] {
		t.Errorf("the service was shown %v, want the key alone", f.keys)
	}
	f.mu.Unlock()
	f.set(func(x *faults) { x.down = true })
	_, err = s.Headers(t.Context(), []frame.Hash{s.genesis})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	// The look fails, and ends what watches.
	_ = s.trust.Watch(ctx, time.Hour, func(ctx context.Context) error { defer time.AfterFunc(time.Millisecond, stop); return s.lookAtTip(ctx) })
	if text := err.Error() + s.Status().Trouble; strings.Contains(text, "topsecret") || !strings.Contains(text, "502") {
		t.Errorf("got %q, want the status and no key", text)
	}
}
