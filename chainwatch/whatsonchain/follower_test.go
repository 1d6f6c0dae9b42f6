package whatsonchain

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
)

// messages are kept: signing takes its time.
var messages = map[uint64][]byte{}

// message makes a transaction with a message.
func message(n uint64) []byte {
	if raw, ok := messages[n]; ok {
		return raw
	}
	messages[n] = newMessage(n)
	return messages[n]
}

func newMessage(n uint64) []byte {
	p := simchain.NewPerson(5, 0)
	m := improtocol.Message{Source: p.Address(), Type: "text", Encryption: "plain", Body: fmt.Appendf(nil, "message %d", n)}
	m.SetTime(n)
	script := simchain.Message(&m, p.Key, simchain.Compact, simchain.Pushes)
	tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(n), p.Key.PublicKey())},
		Outputs: []simchain.Output{simchain.Data(script), simchain.Pay(p.Hash, 1000)}}
	return tx.Bytes()
}

// An end is an index and who feeds it.
type end struct {
	*chainwatch.Follower
	writer *index.Writer
	store  *memory.Store
}

func feed(t *testing.T, s chainwatch.Source) end {
	t.Helper()
	store := memory.New()
	writer := index.NewWriter(store, index.DefaultRules(frame.Regtest), nil)
	f := chainwatch.NewFollower(s, writer, chainwatch.Config{Params: chainwatch.ParamsOf(frame.Regtest)})
	if err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return end{f, writer, store}
}

// sync runs a round, and returns the tip after it.
func (e end) sync(t *testing.T) (index.Tip, error) {
	t.Helper()
	err := e.Sync(t.Context())
	tip, tipErr := e.writer.Tip(context.Background())
	if tipErr != nil {
		t.Fatal(tipErr)
	}
	return tip, err
}

// TestFollower: an index that is fed by the service has the state hash of one that
// is fed by a node, through a reorganisation, and while the service lies it stays
// as it is.
func TestFollower(t *testing.T) {
	m := newMined()
	for n := range uint64(60) { // more than the files hold at once
		m.mine(m.tip, message(3*n+1), pay(n+1), message(3*n+2))
	}
	fork := m.mine(m.tip, message(500), pay(500), message(501), pay(501), message(502), pay(502), message(503), pay(503))
	m.mine(fork, message(1000), message(1001))
	f := newFake(t, m)
	s := open(t, f)
	truth := simchain.NewSource(m.tree)
	ours, theirs := feed(t, s), feed(t, truth)
	check := func(when string, want int) {
		t.Helper()
		truth.SetTips(m.tip)
		got, err := ours.sync(t)
		same, sameErr := theirs.sync(t)
		if err != nil || sameErr != nil || got != same || got.Hash != m.tip.Hash {
			t.Errorf("%s: got %+v, %v, want %+v, %v", when, got, err, same, sameErr)
		}
		if proved := ours.proved(t); proved != want {
			t.Errorf("%s: %d messages are proved, want %d", when, proved, want)
		}
	}
	check("first", 126)
	m.mine(m.mine(fork, message(1001)), pay(3000), message(1002))
	check("after a reorganisation", 126)
	lies := []struct {
		name  string
		fault func(*faults)
	}{
		{"other bytes", func(x *faults) { x.wrongBytes = true }},
		{"another order", func(x *faults) { x.order = true }},
		{"a transaction left out", func(x *faults) { x.short = true }},
		{"no work", func(x *faults) { x.noWork = true }},
		{"headers that don't follow", func(x *faults) { x.unlinked = true }},
		{"another block", func(x *faults) { x.otherBlock = true }},
		{"a hash that isn't the header's", func(x *faults) { x.wrongHash = true }},
	}
	for i, lie := range lies {
		m.mine(m.tip, message(uint64(1003+i)))
		before, err := ours.writer.Tip(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.set(lie.fault)
		after, err := ours.sync(t)
		if err == nil || after != before {
			t.Errorf("%s: got %+v, %v, want an error and %+v", lie.name, after, err, before)
		}
		if s.Status().Trouble == "" {
			t.Errorf("%s: the service isn't named", lie.name)
		}
		if h := ours.Health(); h.Synced {
			t.Errorf("%s: the index is said to be at the tip", lie.name)
		}
		f.set(func(x *faults) { *x = faults{} })
		s.trust.Forgive()
		check("after "+lie.name, 127+i)
	}
}

// proved counts the messages with a proof that leads to their block's root.
func (e end) proved(t *testing.T) (n int) {
	t.Helper()
	for i, raw := range messages {
		id := frame.HashOf(raw)
		err := e.store.View(context.Background(), func(v index.View) error {
			p, err := v.Proof(id)
			if err != nil {
				return nil // no such message
			}
			h := chainwatch.Header(p.Header)
			if p.Root(id) != h.MerkleRoot() {
				t.Errorf("the proof of message %d doesn't lead to the root", i)
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestHeaders counts what a chain's headers cost: of a long one a question for each
// file and a few more, and of one that hasn't grown a single one.
func TestHeaders(t *testing.T) {
	m := newMined()
	for range 413 {
		m.mine(m.tip)
	}
	locator := func(c *chainwatch.Chain) []frame.Hash { hash, _ := c.Best(); return c.Locator(hash) }
	tests := []struct {
		name  string
		fault func(*faults)
		most  int // questions, for everything
		again int // and when all is known
	}{
		{"in bulk", func(*faults) {}, 25, 1},
		{"no newest headers", func(x *faults) { x.noLatest = true }, 100, 4},
		{"one by one", func(x *faults) { x.noBulk = true }, 440, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, m)
			f.set(tt.fault)
			s := open(t, f)
			s.height = 413 // as Run would learn
			chain := chainwatch.NewChain(s.cfg.Params)
			for rounds := 0; ; rounds++ {
				list, err := s.Headers(t.Context(), locator(chain))
				if err != nil || rounds > 100 {
					t.Fatalf("round %d: %v", rounds, err)
				}
				for _, h := range list {
					if _, err := chain.Add(h); err != nil {
						t.Fatal(err)
					}
				}
				if len(list) == 0 {
					break
				}
			}
			if hash, height := chain.Best(); hash != m.tip.Hash || f.count("all") > tt.most {
				t.Errorf("got height %d after %d questions, want %d after at most %d", height, f.count("all"), m.tip.Height, tt.most)
			}
			before := f.count("all")
			list, err := s.Headers(t.Context(), locator(chain))
			if n := f.count("all") - before; err != nil || len(list) != 0 || n > tt.again {
				t.Errorf("again: got %d headers, %v, after %d questions, want none after at most %d", len(list), err, n, tt.again)
			}
		})
	}
}

// TestReorganisation: a locator that begins on a branch that lost is answered from
// where it leaves the best one, near the tip and far below it.
func TestReorganisation(t *testing.T) {
	for _, depth := range []int32{1, 5, 150} {
		m := newMined()
		for range 180 {
			m.mine(m.tip)
		}
		old := m.tip
		fork := old.Ancestor(old.Height - depth)
		m.tip = fork
		for i := range depth + 1 {
			m.mine(m.tip, pay(uint64(i+1)))
		}
		f := newFake(t, m)
		for name, fault := range map[string]func(*faults){"in bulk": func(*faults) {}, "one by one": func(x *faults) { x.noBulk = true }} {
			f.set(func(x *faults) { *x = faults{} })
			f.set(fault)
			list, err := open(t, f).Headers(t.Context(), []frame.Hash{old.Hash, old.Parent.Hash, fork.Hash, fork.Ancestor(1).Hash})
			if err != nil || len(list) == 0 || list[0].Prev() != fork.Hash || list[0].Hash() == fork.Hash {
				t.Errorf("%d blocks, %s: got %d headers, %v, want those after the fork", depth, name, len(list), err)
			}
			if last := m.tip.Ancestor(fork.Height + int32(len(list))); err == nil && (last == nil || list[len(list)-1].Hash() != last.Hash) {
				t.Errorf("%d blocks, %s: %d headers don't lead along the best branch", depth, name, len(list))
			}
		}
	}
}

// TestRun: the source wakes when there is another block, says when the service is
// gone, and tells of the tip.
func TestRun(t *testing.T) {
	m := five()
	f := newFake(t, m)
	s := open(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	wakes := func() bool {
		select {
		case <-s.Wake():
			return true
		case <-time.After(20 * time.Second):
			return false
		}
	}
	if !wakes() {
		t.Error("the first tip doesn't wake")
	}
	if st := s.Status(); st.Connected != 1 || st.Height != fiveBlocks || st.Trouble != "" || st.Nodes[0].Address != s.name {
		t.Errorf("got %+v, want one that is connected", st)
	}
	m.mine(m.tip)
	if !wakes() {
		t.Error("another block doesn't wake")
	}
	f.set(func(x *faults) { x.down = true })
	await(t, "the loss is told", func() bool { st := s.Status(); return st.Connected == 0 && st.Trouble != "" })
	f.set(func(x *faults) { x.down = false })
	if !wakes() {
		t.Error("a service that is back doesn't wake")
	}
	if s.Run(t.Context()) == nil {
		t.Error("a second start: no error")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v, want nil", err)
	}
}
