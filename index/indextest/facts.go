package indextest

import (
	"errors"
	"fmt"
	"math"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// factsFor reads facts.
func factsFor(b bench, need index.Need) (f *index.Facts) {
	b.Helper()
	b.view(func(v index.View) { f = must[*index.Facts](b)(v.Facts(need)) })
	return f
}

func facts(b bench, _ func() bench) {
	b.blocks(2)
	var need index.Need
	want := index.NewFacts()
	var placed []*index.Placed
	for i, v := range frame.Verdicts {
		for j, s := range []index.State{index.Seen, index.Confirmed, index.Dropped} {
			f := text(alice, fmt.Sprint(v, s), 7)
			tx := transaction(fmt.Sprint(v, s), alice, nil, f)
			p := again(0, tx, s, -1, uint32(10*i+j), refused(v, alice))
			if s == index.Confirmed {
				p.Height = 1
			}
			placed = append(placed, p)
			need.FrameIDs, need.ContentIDs = append(need.FrameIDs, f.ID), append(need.ContentIDs, f.ContentID)
			if v == frame.Valid && s == index.Confirmed {
				want.Valid[f.ID], want.Contents[f.ContentID] = true, 7
			}
		}
	}
	b.save(placed...)
	got := factsFor(b, need)
	equal(b, "valid", got.Valid, want.Valid)
	equal(b, "contents", got.Contents, want.Contents)
	if got.Ledger == nil || got.Pending != got.Ledger {
		b.Errorf("the ledgers %p and %p aren't one", got.Ledger, got.Pending)
	}
	equal(b, "nothing asked", factsFor(b, index.Need{}), index.NewFacts())
	// An unconfirmed copy, or a refused one, takes no fact away.
	f := text(alice, fmt.Sprint(frame.Valid, index.Confirmed), 7)
	b.save(seen(transaction("copy", bob, nil, f), signed(frame.Duplicate, alice)), seen(transaction("copy 2", bob, nil, f), signed(frame.Valid, alice)))
	equal(b, "beside copies", factsFor(b, index.Need{FrameIDs: []frame.ID{f.ID, f.ID}}).Valid, map[frame.ID]bool{f.ID: true})
}

func factsOfTime(b bench, _ func() bench) {
	b.blocks(2)
	at := func(position uint32, d index.Decision, frames ...*index.Frame) *index.Placed {
		tx := transaction(fmt.Sprint("at ", position), alice, nil, frames...)
		decisions := make([]index.Decision, len(frames))
		for i := range frames {
			decisions[i] = d
		}
		return confirmed(tx, 1, position, decisions...)
	}
	valid := signed(frame.Valid, alice)
	zero, large := text(alice, "zero", 0), text(alice, "large", math.MaxUint64)
	b.save(
		at(0, valid, text(alice, "x", 5), text(alice, "x", 1<<63), text(alice, "x", 1<<63-1)),
		at(1, refused(frame.BadSignature, alice), text(alice, "x", math.MaxUint64)),
		at(2, valid, zero, large),
		seen(transaction("later", alice, nil, text(alice, "x", math.MaxUint64-1)), valid),
		at(3, valid, register("n", alice, 3), register("n", alice, 9), register("n", alice, 4), peer("::1", alice, 8), peer("::1", alice, 2)),
		at(4, signed(frame.Valid, alice, bob), transfer("n", alice, bob, 11)),
		at(5, signed(frame.StaleTimeStamp, alice), register("n", alice, 100), peer("::1", alice, 100)),
		at(6, signed(frame.Valid, bob), register("n2", bob, 0)),
	)
	x := text(alice, "x", 5).ContentID
	n := func(name string, p person) nprotocol.Subject {
		return nprotocol.Subject{Protocol: frame.N, Address: p.hash, Text: name}
	}
	p := func(ip string, p person) nprotocol.Subject {
		return nprotocol.Subject{Protocol: frame.P, Address: p.hash, Text: ip}
	}
	got := factsFor(b, index.Need{
		ContentIDs: []frame.ID{x, zero.ContentID, large.ContentID, {1}},
		Subjects:   []nprotocol.Subject{n("n", alice), n("n", bob), n("n2", bob), n("::1", alice), p("::1", alice), p("::1", bob), p("n", alice)},
	})
	equal(b, "contents", got.Contents, map[frame.ID]uint64{x: 1 << 63, zero.ContentID: 0, large.ContentID: math.MaxUint64})
	equal(b, "subjects", got.Ledger.TimeStamps, map[nprotocol.Subject]uint64{n("n", alice): 11, n("n2", bob): 0, p("::1", alice): 8})
	equal(b, "what wasn't asked", len(got.Valid)+len(got.Keys)+len(got.Ledger.Names)+len(got.Ledger.Peers), 0)
}

func factsOfRecords(b bench, _ func() bench) {
	x := &nprotocol.Name{Name: "x", Address: alice.hash, Since: nprotocol.Position{Height: 1, Index: 2, Output: 3}, RegisteredAt: 4, ExpiresAt: 5}
	y := &nprotocol.Name{Name: "y", Address: bob.hash, Deleted: true}
	p := &nprotocol.Peer{PeerKey: nprotocol.PeerKey{Address: alice.hash, IP: "::1"}, RegisteredAt: 6, ExpiresAt: 7}
	q := &nprotocol.Peer{PeerKey: nprotocol.PeerKey{Address: bob.hash, IP: "::2"}, Deleted: true}
	b.update(func(tx index.Tx) error {
		return errors.Join(tx.PutNames([]*nprotocol.Name{x, y}), tx.PutPeers([]*nprotocol.Peer{p, q}))
	})
	got := factsFor(b, index.Need{
		Names: []string{"x", "y", "z", "", "X"},
		Peers: []nprotocol.PeerKey{p.PeerKey, q.PeerKey, {Address: alice.hash, IP: "::2"}, {Address: bob.hash, IP: "::1"}},
	})
	equal(b, "x", got.Ledger.Names["x"], x)
	equal(b, "y", got.Ledger.Names["y"], y)
	equal(b, "names", len(got.Ledger.Names), 2)
	equal(b, "p", got.Ledger.Peers[p.PeerKey], p)
	equal(b, "q", got.Ledger.Peers[q.PeerKey], q)
	equal(b, "peers", len(got.Ledger.Peers), 2)
	equal(b, "only x", len(factsFor(b, index.Need{Names: []string{"x"}}).Ledger.Names), 1)
}

func factsOfKeys(b bench, _ func() bench) {
	b.blocks(2)
	erin, frank := who("erin"), who("frank")
	mover := seen(transaction("t", alice, nil, transfer("n", carol, dave, 1)), signed(frame.Valid, carol, dave))
	b.save(
		confirmed(transaction("a", alice, nil, text(alice, "x", 1)), 0, 0, signed(frame.Valid, alice)),
		confirmed(transaction("b", alice, nil, text(bob, "x", 1)), 0, 1, refused(frame.BadSignature, bob)),
		confirmed(transaction("e", alice, nil, text(erin, "x", 1)), 0, 2, signed(frame.Duplicate, erin)),
		confirmed(transaction("f", alice, nil, transfer("n", frank, erin, 1)), 0, 3, signed(frame.NotHolder, frank, erin)),
		mover)
	ask := []frame.KeyHash{alice.hash, bob.hash, carol.hash, dave.hash, erin.hash, frank.hash, {}}
	check := func(what string, want map[frame.KeyHash][]byte) {
		b.Helper()
		equal(b, what, factsFor(b, index.Need{Keys: ask}).Keys, want)
		b.view(func(v index.View) {
			for _, h := range ask {
				key, err := v.PublicKey(h)
				equal(b, what, key, want[h])
				if (err == nil) != (want[h] != nil) || err != nil && !errors.Is(err, index.ErrNotFound) {
					b.Errorf("%s, public key of %x: %v", what, h, err)
				}
			}
		})
	}
	check("seen", map[frame.KeyHash][]byte{alice.hash: alice.public})
	b.save(again(mover.Row, mover.Tx, index.Confirmed, 1, 0, signed(frame.Valid, carol, dave)))
	all := map[frame.KeyHash][]byte{alice.hash: alice.public, carol.hash: carol.public, dave.hash: dave.public}
	check("confirmed", all)
	b.save(again(mover.Row, mover.Tx, index.Dropped, -1, 0, signed(frame.Valid, carol, dave)))
	check("dropped", map[frame.KeyHash][]byte{alice.hash: alice.public})
}

func manyFacts(b bench, _ func() bench) {
	const n = 1_100
	b.blocks(1)
	var need index.Need
	var placed []*index.Placed
	var names []*nprotocol.Name
	var peers []*nprotocol.Peer
	template := text(alice, "x", 1)
	reg := register("x", alice, 1)
	for i := range n {
		f, r := *template, *reg
		m := *template.Message
		m.Body = fmt.Append(nil, i)
		f.Message, f.ID, f.ContentID = &m, m.FrameID(), m.ContentID()
		subject := *reg.Record
		subject.Name, r.Record = fmt.Sprint("name ", i), &subject
		r.ID = frame.IDOf(fmt.Append(nil, "record", i))
		tx := transaction(fmt.Sprint(i), alice, nil, &f, &r)
		source := frame.KeyHash{1, byte(i), byte(i >> 8)}
		d := index.Decision{Verdict: frame.Valid, Address: &source, Keys: [][]byte{fmt.Append(nil, "key ", i)}}
		placed = append(placed, confirmed(tx, 0, uint32(i), d, signed(frame.Valid, alice)))
		names = append(names, &nprotocol.Name{Name: subject.Name})
		key := nprotocol.PeerKey{Address: source, IP: fmt.Sprint(i)}
		peers = append(peers, &nprotocol.Peer{PeerKey: key})
		need.FrameIDs, need.ContentIDs = append(need.FrameIDs, f.ID), append(need.ContentIDs, f.ContentID)
		need.Names, need.Peers = append(need.Names, subject.Name), append(need.Peers, key)
		need.Subjects, need.Keys = append(need.Subjects, subject.Subject()), append(need.Keys, source)
	}
	b.save(placed...)
	b.update(func(tx index.Tx) error { return errors.Join(tx.PutNames(names), tx.PutPeers(peers)) })
	f := factsFor(b, need)
	for what, got := range map[string]int{"valid": len(f.Valid), "contents": len(f.Contents), "keys": len(f.Keys),
		"names": len(f.Ledger.Names), "peers": len(f.Ledger.Peers), "time stamps": len(f.Ledger.TimeStamps)} {
		equal(b, what, got, n)
	}
	equal(b, "a key", string(f.Keys[need.Keys[n-1]]), fmt.Sprint("key ", n-1))
	var gone []string
	for _, name := range names {
		gone = append(gone, name.Name)
	}
	b.update(func(tx index.Tx) error {
		count := 0
		last := nprotocol.Position{Height: -1}
		err := tx.ValidRecords(gone, need.Peers, func(_ *nprotocol.Record, at nprotocol.Moment) error {
			if at.Compare(last) <= 0 {
				b.Errorf("record at %v after %v", at.Position, last)
			}
			count, last = count+1, at.Position
			return nil
		})
		equal(b, "valid records", count, n)
		return errors.Join(err, tx.DeleteNames(gone), tx.DeletePeers(need.Peers))
	})
	f = factsFor(b, need)
	equal(b, "deleted", len(f.Ledger.Names)+len(f.Ledger.Peers), 0)
}

func validRecords(b bench, _ func() bench) {
	b.blocks(5)
	valid := signed(frame.Valid, alice)
	b.save(
		confirmed(transaction("4", alice, nil, register("x", alice, 4), register("y", alice, 1)), 3, 2, valid, valid),
		confirmed(transaction("2", alice, nil, register("x", alice, 2)), 1, 70_000, valid),
		confirmed(transaction("3", alice, nil, peer("::1", alice, 3), register("other", alice, 1)), 3, 1, valid, valid),
		confirmed(transaction("1", alice, nil, transfer("x", alice, bob, 1), peer("::2", alice, 1)), 1, 9, signed(frame.Valid, alice, bob), valid),
		confirmed(transaction("refused", alice, nil, register("x", alice, 9)), 2, 0, signed(frame.StaleTimeStamp, alice)),
		seen(transaction("seen", alice, nil, register("x", alice, 9)), valid),
	)
	type line struct {
		subject string
		time    string
		at      nprotocol.Moment
	}
	read := func(names []string, peers []nprotocol.PeerKey) (got []line) {
		b.update(func(tx index.Tx) error {
			return tx.ValidRecords(names, peers, func(r *nprotocol.Record, at nprotocol.Moment) error {
				got = append(got, line{r.Name + r.IP, r.TimeStamp, at})
				return nil
			})
		})
		return got
	}
	moment := func(height int32, position, output uint32) nprotocol.Moment {
		c := block(height, "")
		return nprotocol.Moment{Position: nprotocol.Position{Height: height, Index: position, Output: output}, Time: c.Time(), Now: c.MedianTime}
	}
	xs := []line{{"x", "1", moment(1, 9, 0)}, {"x", "2", moment(1, 70_000, 0)}, {"x", "4", moment(3, 2, 0)}}
	ones := line{"::1", "3", moment(3, 1, 0)}
	for _, c := range []struct {
		name  string
		names []string
		peers []nprotocol.PeerKey
		want  []line
	}{
		{"a name", []string{"x"}, nil, xs},
		{"a name and a peer", []string{"x"}, []nprotocol.PeerKey{{Address: alice.hash, IP: "::1"}}, []line{xs[0], xs[1], ones, xs[2]}},
		{"two names, one of them twice", []string{"y", "x", "x"}, nil, append(xs[:3:3], line{"y", "1", moment(3, 2, 1)})},
		{"a peer of another address", nil, []nprotocol.PeerKey{{Address: bob.hash, IP: "::1"}}, nil},
		{"nothing", nil, nil, nil},
	} {
		equal(b, c.name, read(c.names, c.peers), c.want)
	}
	b.update(func(tx index.Tx) error {
		stop, calls := errors.New("enough"), 0
		err := tx.ValidRecords([]string{"x"}, nil, func(*nprotocol.Record, nprotocol.Moment) error { calls++; return stop })
		if !errors.Is(err, stop) || calls != 1 {
			b.Errorf("a yield that fails: got %v after %d calls, want its error after 1", err, calls)
		}
		return nil
	})
}
