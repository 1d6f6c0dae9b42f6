package e2e

import (
	"testing"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/devnet"
	"github.com/metaim/metaim/internal/testnode"
	"github.com/metaim/metaim/signer"
)

// twins starts two connected nodes whose faucets have the same coins.
func twins(t *testing.T) (a, b *devnet.Node) {
	t.Helper()
	key := signer.NewKey()
	a = testnode.Start(t, func(c *devnet.Config) { c.MinerKey = key })
	b = testnode.Start(t, func(c *devnet.Config) { c.MinerKey, c.Empty = key, true })
	testnode.Connect(t, a, b)
	return a, b
}

// TestNameTransferredInFlight: what the old holder signs as the name counts up to
// the transfer's place in the chain, and not after it, whenever it was signed.
func TestNameTransferredInFlight(t *testing.T) {
	t.Parallel()
	node, elsewhere := twins(t)
	s := serve(t, following(node)...)
	alice, bob, carol := newAuthor(t), newAuthor(t), newAuthor(t)
	alice.fund(node)
	carol.fund(node)
	registration := alice.register("alice")
	submit(t, registration.raw, node)
	testnode.Mine(t, node, 1)
	testnode.AwaitSameTip(t, node, elsewhere)
	s.awaitTip(node)
	u := subscribe(t, s, client.Filter{Address: []string{bob.address()}})

	before := alice.message("alice", "confirmed before the transfer", bob.hash())
	submit(t, before.raw, node)
	u.awaitKinds(before.id, "seen")
	testnode.Mine(t, node, 1)
	u.awaitKinds(before.id, "seen", "confirmed")
	testnode.AwaitSameTip(t, node, elsewhere)

	// The other node gets the transfer and what follows it in the same block, and
	// not the message that will still wait afterwards.
	testnode.Disconnect(t, node, elsewhere)
	earlier := alice.message("alice", "before the transfer in its block", bob.hash())
	transfer := alice.transfer("alice", carol.key)
	same := alice.message("alice", "after the transfer in its block", bob.hash())
	waiting := alice.message("alice", "not yet in a block", bob.hash())
	asAddress := alice.message("", "as an address", bob.hash())
	for _, tx := range []signedFrame{earlier, transfer, same} {
		submit(t, tx.raw, node, elsewhere)
	}
	submit(t, waiting.raw, node)
	submit(t, asAddress.raw, node)
	for _, m := range []signedFrame{earlier, same, waiting, asAddress} {
		u.awaitKinds(m.id, "seen") // a transfer that is unconfirmed changes nothing
	}
	testnode.Mine(t, elsewhere, 1)
	testnode.Connect(t, node, elsewhere)
	u.awaitKinds(earlier.id, "seen", "confirmed")
	u.awaitKinds(same.id, "seen", "rejudged valid>bad_signature")
	u.awaitKinds(waiting.id, "seen", "rejudged valid>bad_signature")

	byCarol := carol.message("alice", "from the new holder", bob.hash())
	submit(t, byCarol.raw, node)
	u.awaitKinds(byCarol.id, "seen")
	testnode.Mine(t, node, 1)
	u.awaitKinds(byCarol.id, "seen", "confirmed")
	u.awaitKinds(asAddress.id, "seen", "confirmed")
	u.awaitKinds(waiting.id, "seen", "rejudged valid>bad_signature") // refused: no word that it is in a block
	u.awaitKinds(before.id, "seen", "confirmed")

	for _, tt := range []struct {
		name           string
		frame          signedFrame
		state, verdict string
	}{
		{"confirmed before", before, "confirmed", "valid"},
		{"earlier in the block", earlier, "confirmed", "valid"},
		{"later in the block", same, "refused", "bad_signature"},
		{"in a later block", waiting, "refused", "bad_signature"},
		{"as an address", asAddress, "confirmed", "valid"},
		{"by the new holder", byCarol, "confirmed", "valid"},
	} {
		m, err := s.client.Message(within(t), tt.frame.id.String())
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if m.State != tt.state || m.Verdict != tt.verdict || m.Height < 0 {
			t.Errorf("%s: state %s, verdict %s, height %d; want %s, %s, in a block", tt.name, m.State, m.Verdict, m.Height, tt.state, tt.verdict)
		}
	}
	if n := s.name("alice"); n.Address != carol.address() || n.State != client.NameValid {
		t.Errorf("the name is %s, %s's, want carol's %s", n.State, n.Address, carol.address())
	}
	s.checkFresh(node)
}
