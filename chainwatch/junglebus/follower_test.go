package junglebus

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/metaim/metaim/chainwatch"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/memory"
	"github.com/metaim/metaim/internal/simchain"
)

// message makes a transaction with a message.
func message(n uint64) []byte {
	p := simchain.NewPerson(5, 0)
	m := improtocol.Message{Source: p.Address(), Type: "text", Encryption: "plain", Body: fmt.Appendf(nil, "message %d", n)}
	m.SetTime(n)
	script := simchain.Message(&m, p.Key, simchain.Compact, simchain.Pushes)
	tx := simchain.Tx{Inputs: []simchain.Input{simchain.Spend(simchain.Coin(n), p.Key.PublicKey())},
		Outputs: []simchain.Output{simchain.Data(script), simchain.Pay(p.Hash, 1000)}}
	return tx.Bytes()
}

// TestFollower: an index that is fed by a service proves every message, through a
// reorganisation, and while the service lies it stays as it is.
func TestFollower(t *testing.T) {
	m := newMined()
	m.mine(m.tip, message(1), pay(1), message(2))
	fork := m.mine(m.tip, pay(2))
	m.mine(fork, message(3), message(4))
	f := newFake(t, m)
	s := open(t, f)
	run(t, s)
	store := memory.New()
	follower := chainwatch.NewFollower(s, index.NewWriter(store, index.DefaultRules(frame.Regtest), nil), chainwatch.Config{Params: s.cfg.Params})
	if err := follower.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func(when string, proved ...uint64) {
		t.Helper()
		if err := follower.Sync(t.Context()); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		var got []uint64
		for n := uint64(1); n < 8; n++ {
			id := frame.HashOf(message(n))
			err := store.View(context.Background(), func(v index.View) error {
				p, err := v.Proof(id)
				if err == nil {
					h := chainwatch.Header(p.Header)
					if p.Root(id) != h.MerkleRoot() {
						t.Errorf("%s: the proof of message %d doesn't lead to the root", when, n)
					}
					got = append(got, n)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, proved) {
			t.Errorf("%s: messages %v are proved, want %v", when, got, proved)
		}
	}
	check("first", 1, 2, 3, 4)
	m.mine(m.mine(fork, message(4)), pay(3), message(5))
	f.tell(codeReorg, 3)
	check("after a reorganisation", 1, 2, 4, 5)
	m.mine(m.tip, message(6))
	f.set(func(x *faults) { x.foreign = true })
	if err := follower.Sync(t.Context()); err == nil {
		t.Error("a lie: no error")
	}
	f.set(func(x *faults) { *x = faults{} })
	if h := follower.Health(); h.Height != 4 || h.Synced {
		t.Errorf("after a lie: got height %d, synced %v, want 4 and not", h.Height, h.Synced)
	}
	s.trust.Forgive()
	check("after the lie", 1, 2, 4, 5, 6)
}
