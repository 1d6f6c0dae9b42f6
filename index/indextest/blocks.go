package indextest

import (
	"context"
	"errors"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

func notFound[T any](b bench, what string) func(T, error) {
	return func(got T, err error) {
		b.Helper()
		if !errors.Is(err, index.ErrNotFound) {
			b.Errorf("%s: got %v, %v, want ErrNotFound", what, got, err)
		}
	}
}

func emptyIndex(b bench, reopen func() bench) {
	var epoch string
	b.view(func(v index.View) {
		equal(b, "tip", must[index.Tip](b)(v.Tip()), index.Tip{Height: -1})
		notFound[index.Tip](b, "block")(v.BlockAt(0))
		notFound[*nprotocol.Name](b, "name")(v.Name("alice"))
		notFound[[]byte](b, "public key")(v.PublicKey(alice.hash))
		equal(b, "blocks", len(must[[]index.Tip](b)(v.Blocks(0, 10))), 0)
		equal(b, "last seq", must[int64](b)(v.LastSeq()), 0)
		equal(b, "unconfirmed", len(must[[]*index.Saved](b)(v.Unconfirmed())), 0)
		equal(b, "entries", len(must[[]*index.Entry](b)(v.Entries(index.EntryQuery{Limit: 10}))), 0)
		equal(b, "occurrences", len(must[[]*index.Entry](b)(v.Occurrences(frame.ID{}))), 0)
		equal(b, "in transaction", len(must[[]*index.Entry](b)(v.InTransaction(frame.Hash{}))), 0)
		equal(b, "names", len(must[[]*nprotocol.Name](b)(v.NamesOf(alice.hash))), 0)
		equal(b, "peers", len(must[[]*nprotocol.Peer](b)(v.PeersOf(alice.hash))), 0)
		equal(b, "name entries", len(must[[]*index.Entry](b)(v.NameEntries("alice", 10))), 0)
		equal(b, "events", len(must[[]*index.Event](b)(v.Events(index.EventQuery{Limit: 10}))), 0)
		equal(b, "counts", must[map[frame.Verdict]int64](b)(v.Counts()), map[frame.Verdict]int64{})
		equal(b, "facts", must[*index.Facts](b)(v.Facts(index.Need{})), index.NewFacts())
		for what, err := range map[string]error{
			"confirmed": v.Confirmed(func(*index.Entry) error { return errors.New("an entry") }),
			"all names": v.AllNames(func(*nprotocol.Name) error { return errors.New("a name") }),
			"all peers": v.AllPeers(func(*nprotocol.Peer) error { return errors.New("a peer") }),
		} {
			if err != nil {
				b.Errorf("%s: %v", what, err)
			}
		}
		if epoch = must[string](b)(v.Epoch()); epoch == "" {
			b.Error("no epoch")
		}
	})
	b = reopen()
	b.view(func(v index.View) { equal(b, "epoch", must[string](b)(v.Epoch()), epoch) })
}

func blocks(b bench, reopen func() bench) {
	b.blocks(5)
	check := func(what string, want ...*index.Block) {
		b.Helper()
		b.view(func(v index.View) {
			tips := must[[]index.Tip](b)(v.Blocks(0, 100))
			var wanted []index.Tip
			for _, w := range want {
				wanted = append(wanted, tipOf(w))
				equal(b, what, must[index.Tip](b)(v.BlockAt(w.Height)), tipOf(w))
			}
			equal(b, what, tips, wanted)
			equal(b, what, must[index.Tip](b)(v.Tip()), wanted[len(wanted)-1])
			notFound[index.Tip](b, what)(v.BlockAt(int32(len(want))))
		})
	}
	check("five blocks", block(0, ""), block(1, ""), block(2, ""), block(3, ""), block(4, ""))
	b.view(func(v index.View) {
		equal(b, "from 1, two", must[[]index.Tip](b)(v.Blocks(1, 2)), []index.Tip{tipOf(block(1, "")), tipOf(block(2, ""))})
		equal(b, "from 5", len(must[[]index.Tip](b)(v.Blocks(5, 2))), 0)
	})
	err := b.store.Update(context.Background(), func(tx index.Tx) error { return tx.PutBlock(block(6, ""), [32]byte{}) })
	if err == nil {
		b.Error("block 6 after block 4: no error")
	}
	b.update(func(tx index.Tx) error {
		return errors.Join(tx.CutBlocks(2), tx.PutBlock(block(3, "other"), stateOf(block(3, "other"))))
	})
	want := []*index.Block{block(0, ""), block(1, ""), block(2, ""), block(3, "other")}
	check("cut and replaced", want...)
	b = reopen()
	check("reopened", want...)
	b.update(func(tx index.Tx) error { return tx.CutBlocks(-1) })
	b.view(func(v index.View) { equal(b, "all cut", must[index.Tip](b)(v.Tip()).Height, -1) })
}

func records(b bench, reopen func() bench) {
	odd := "o'dd\x00\"name\u00e9"
	names := []*nprotocol.Name{
		{Name: "bob", Address: bob.hash, Since: nprotocol.Position{Height: 3, Index: 4, Output: 5}, RegisteredAt: 6, ExpiresAt: 7},
		{Name: "Zed", Address: alice.hash, Since: nprotocol.Position{Height: 1<<31 - 1, Index: 1<<32 - 1, Output: 1<<32 - 1}, RegisteredAt: 1<<40 + 1, ExpiresAt: 1<<40 + 2, Deleted: true},
		{Name: "alice", Address: alice.hash},
		{Name: odd, Address: alice.hash, ExpiresAt: 9},
		{Name: "\u00e9", Address: alice.hash, ExpiresAt: 9},
	}
	at := func(p person, ip string) nprotocol.PeerKey { return nprotocol.PeerKey{Address: p.hash, IP: ip} }
	peers := []*nprotocol.Peer{
		{PeerKey: at(alice, "::1"), RegisteredAt: 1, ExpiresAt: 2},
		{PeerKey: at(alice, "10.0.0.1:8433"), RegisteredAt: 3, ExpiresAt: 4, Deleted: true},
		{PeerKey: at(bob, "10.0.0.1"), RegisteredAt: 5, ExpiresAt: 1 << 40},
	}
	b.update(func(tx index.Tx) error { return errors.Join(tx.PutNames(names), tx.PutPeers(peers)) })
	checkRecords(b, "put", names, peers)

	changed := *names[0]
	changed.Address, changed.Deleted = carol.hash, true
	names[0] = &changed
	gone := *peers[0]
	gone.Deleted = true
	peers[0] = &gone
	b.update(func(tx index.Tx) error {
		return errors.Join(tx.PutNames(names[:1]), tx.PutPeers(peers[:1]), tx.PutNames(nil), tx.PutPeers(nil))
	})
	checkRecords(b, "replaced", names, peers)
	b = reopen()
	checkRecords(b, "reopened", names, peers)
	b.update(func(tx index.Tx) error {
		return errors.Join(tx.DeleteNames([]string{"bob", odd, "nobody"}), tx.DeleteNames(nil), tx.DeletePeers(nil),
			tx.DeletePeers([]nprotocol.PeerKey{at(alice, "::1"), at(carol, "::1"), at(bob, "::1")}))
	})
	checkRecords(b, "deleted", []*nprotocol.Name{names[1], names[2], names[4]}, peers[1:])
	b.view(func(v index.View) {
		notFound[*nprotocol.Name](b, "deleted")(v.Name("bob"))
		stop := errors.New("enough")
		calls := 0
		err := v.AllNames(func(*nprotocol.Name) error { calls++; return stop })
		if !errors.Is(err, stop) || calls != 1 {
			b.Errorf("a yield that fails: got %v after %d calls, want its error after 1", err, calls)
		}
	})
}

func checkRecords(b bench, what string, names []*nprotocol.Name, peers []*nprotocol.Peer) {
	b.Helper()
	byName := slices.SortedFunc(slices.Values(names), func(a, c *nprotocol.Name) int { return slices.Compare([]byte(a.Name), []byte(c.Name)) })
	byPeer := slices.SortedFunc(slices.Values(peers), func(a, c *nprotocol.Peer) int {
		return slices.Compare(append(a.Address[:], a.IP...), append(c.Address[:], c.IP...))
	})
	b.view(func(v index.View) {
		b.Helper()
		var allNames []*nprotocol.Name
		var allPeers []*nprotocol.Peer
		err := errors.Join(
			v.AllNames(func(n *nprotocol.Name) error { allNames = append(allNames, n); return nil }),
			v.AllPeers(func(p *nprotocol.Peer) error { allPeers = append(allPeers, p); return nil }))
		if err != nil {
			b.Errorf("%s: %v", what, err)
		}
		equal(b, what+", all names", allNames, byName)
		equal(b, what+", all peers", allPeers, byPeer)
		for _, n := range names {
			equal(b, what+", name", must[*nprotocol.Name](b)(v.Name(n.Name)), n)
		}
		for _, p := range []person{alice, bob, carol, dave} {
			var wantNames []*nprotocol.Name
			for _, n := range byName {
				if n.Address == p.hash {
					wantNames = append(wantNames, n)
				}
			}
			var wantPeers []*nprotocol.Peer
			for _, n := range byPeer {
				if n.Address == p.hash {
					wantPeers = append(wantPeers, n)
				}
			}
			equal(b, what+", names of", must[[]*nprotocol.Name](b)(v.NamesOf(p.hash)), wantNames)
			equal(b, what+", peers of", must[[]*nprotocol.Peer](b)(v.PeersOf(p.hash)), wantPeers)
		}
	})
}
