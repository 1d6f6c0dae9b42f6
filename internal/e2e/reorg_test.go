package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/internal/testnode"
)

// TestReorganisation: three blocks give way to four. In the lost ones a name was
// registered that the winning ones give to somebody else, and messages hung on it.
func TestReorganisation(t *testing.T) {
	t.Parallel()
	alice, bob, mallory, dave := newAuthor(t), newAuthor(t), newAuthor(t), newAuthor(t)
	daveOnB := authorOf(t, dave.key) // the same coin, spent otherwise on the other branch
	var registration, rival, spent, instead signedFrame
	fork := testnode.Competing(t, 1, 4, func(a, b *devnet.Node) {
		for _, who := range []*author{alice, mallory} {
			submit(t, who.fund(a), b)
		}
		coin := dave.fund(a)
		submit(t, coin, b)
		daveOnB.receive(coin)
		registration, rival = alice.register("zoe"), mallory.register("zoe")
		submit(t, registration.raw, a)
		submit(t, rival.raw, b)
		spent = dave.message("", "with a coin that the other branch spends", bob.hash())
		instead = daveOnB.message("", "with the same coin", bob.hash())
		submit(t, spent.raw, a)
		submit(t, instead.raw, b)
	})
	s := serve(t, following(fork.A)...)
	s.awaitTip(fork.A)
	u := subscribe(t, s, client.Filter{Address: []string{bob.address()}}, client.Filter{Name: []string{"zoe"}},
		client.Filter{Blocks: true})

	inSecond := alice.message("zoe", "in the second block", bob.hash())
	submit(t, inSecond.raw, fork.A)
	u.awaitKinds(inSecond.id, "seen")
	second := testnode.Mine(t, fork.A, 1)
	inThird := alice.message("zoe", "in the third block", bob.hash())
	asAddress := alice.message("", "in the third block, as an address", bob.hash())
	submit(t, inThird.raw, fork.A)
	submit(t, asAddress.raw, fork.A)
	u.awaitKinds(asAddress.id, "seen")
	third := testnode.Mine(t, fork.A, 1)
	for _, m := range []signedFrame{inSecond, inThird, asAddress} {
		u.awaitKinds(m.id, "seen", "confirmed")
	}
	u.awaitKinds(registration.id, "confirmed") // history: it was in the chain before the server
	u.awaitKinds(spent.id, "confirmed")
	if n := s.name("zoe"); n.Address != alice.address() {
		t.Fatalf("before the nodes meet the name is %s's, want alice's %s", n.Address, alice.address())
	}

	fork.Join(t)
	s.awaitTip(fork.A)
	u.awaitKinds(instead.id, "confirmed")
	u.awaitKinds(rival.id, "confirmed")
	// Without the registration nobody signs as the name; that afterwards they are
	// refused for another reason is no news to who asks for what counts.
	for _, m := range []signedFrame{inSecond, inThird} {
		u.awaitKinds(m.id, "seen", "confirmed", "unconfirmed", "rejudged valid>unknown_name")
	}
	u.awaitKinds(asAddress.id, "seen", "confirmed", "unconfirmed")
	u.awaitKinds(registration.id, "confirmed", "unconfirmed", "rejudged valid>taken")
	u.awaitKinds(spent.id, "confirmed", "unconfirmed", "dropped double_spent")
	u.checkBlocks(slices.Concat(fork.OnA, second, third), fork.OnB)

	// The node mines again what came back to its mempool.
	await(t, func() string {
		waiting, err := fork.A.RPC().GetRawMempool(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(waiting) >= 4 {
			return ""
		}
		return fmt.Sprintf("4 transactions are back in the mempool; there are %d", len(waiting))
	})
	testnode.Mine(t, fork.A, 1)
	u.awaitKinds(asAddress.id, "seen", "confirmed", "unconfirmed", "confirmed")
	for _, tt := range []struct {
		name  string
		frame signedFrame
		want  string
	}{
		{"signed as the name", inSecond, "refused bad_signature"},
		{"signed as the name, later", inThird, "refused bad_signature"},
		{"signed as the address", asAddress, "confirmed valid"},
		{"double spent", spent, "dropped valid"},
		{"the double spend", instead, "confirmed valid"},
	} {
		m, err := s.client.Message(within(t), tt.frame.id.String())
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := m.State + " " + m.Verdict; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	if n := s.name("zoe"); n.Address != mallory.address() {
		t.Errorf("afterwards the name is %s's, want mallory's %s", n.Address, mallory.address())
	}
	s.checkFresh(fork.A)
}

// checkBlocks checks that the subscriber was told of each block that left, tip
// first, before the first of those that came instead.
func (u *subscriber) checkBlocks(left, came []frame.Hash) {
	u.t.Helper()
	var want, got []string
	for _, h := range left {
		want = append([]string{"block.disconnected " + h.String()}, want...)
	}
	for _, h := range came {
		want = append(want, "block.connected "+h.String())
	}
	for _, e := range u.all() {
		if e.Block == nil || e.Message != nil || e.Record != nil {
			continue
		}
		line := e.Kind + " " + e.Block.Hash
		if slices.Contains(want, line) {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		u.t.Errorf("of the blocks the subscriber was told\n%q, want\n%q", got, want)
	}
}

// TestTwoServersAgree: servers of two connected nodes have the same state at each
// height, whichever node mined it and whatever came to them first.
func TestTwoServersAgree(t *testing.T) {
	t.Parallel()
	a, b := twins(t)
	onA, onB := serve(t, following(a)...), serve(t, following(b)...)
	alice, bob, carol := newAuthor(t), newAuthor(t), newAuthor(t)
	for _, who := range []*author{alice, bob, carol} {
		who.fund(a)
	}
	submit(t, alice.register("alice").raw, a)
	testnode.Mine(t, a, 1)
	testnode.AwaitSameTip(t, a, b)
	miners := []*devnet.Node{a, b}
	for round := range 8 {
		// Both nodes get their own messages, and a race for one name each.
		name := fmt.Sprintf("name %d", round)
		submit(t, bob.register(name).raw, miners[round%2])
		submit(t, carol.register(name).raw, miners[(round+1)%2])
		source := "alice"
		if round > 3 {
			source = ""
		}
		submit(t, alice.message(source, fmt.Sprintf("message %d", round), bob.hash()).raw, a)
		submit(t, bob.message(name, "signed as a name that may not be mine", carol.hash()).raw, miners[round%2])
		waiting := 4
		if round == 3 {
			waiting++
			submit(t, alice.transfer("alice", carol.key).raw, a)
		}
		await(t, func() string {
			x, err1 := a.RPC().GetRawMempool(within(t))
			y, err2 := b.RPC().GetRawMempool(within(t))
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if len(x) == waiting && len(y) == waiting {
				return ""
			}
			return fmt.Sprintf("both mempools hold %d transactions; they hold %d and %d", waiting, len(x), len(y))
		})
		testnode.Mine(t, miners[round/2%2], 1)
		testnode.AwaitSameTip(t, a, b)
		x, y := onA.awaitTip(a), onB.awaitTip(b)
		if x.StateHash != y.StateHash || x.Tip != y.Tip {
			t.Errorf("at %d %s the first has state %s, the second, at %d %s, has %s", x.Tip.Height, x.Tip.Hash, x.StateHash, y.Tip.Height, y.Tip.Hash, y.StateHash)
		}
	}
	onA.checkFresh(b)
}
