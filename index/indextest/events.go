package indextest

import (
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// log appends events.
func log(b bench, events ...*index.Event) {
	b.Helper()
	b.update(func(tx index.Tx) error { return tx.AppendEvents(events) })
}

func seqs(b bench, q index.EventQuery) []int64 {
	b.Helper()
	if q.Limit == 0 {
		q.Limit = 10_000
	}
	list := []int64{}
	b.view(func(v index.View) {
		for _, e := range must[[]*index.Event](b)(v.Events(q)) {
			list = append(list, e.Seq)
		}
	})
	return list
}

// paged returns the seqs of a query page by page, as somebody reads who looks the
// addresses up once; without Seqs, as a whole.
func paged(b bench, q index.EventQuery) []int64 {
	b.Helper()
	q.Limit = 10_000
	list := []int64{}
	b.view(func(v index.View) {
		found, ok, err := v.Seqs(q)
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			list = seqs(b, q)
			return
		}
		if !slices.IsSorted(found) {
			b.Fatalf("seqs %v aren't ascending", found)
		}
		q.Limit = 7
		for page := range slices.Chunk(found, q.Limit) {
			q.Among = page
			for _, e := range must[[]*index.Event](b)(v.Events(q)) {
				list = append(list, e.Seq)
			}
		}
	})
	return list
}

func about(arrival int64) *index.Event {
	return &index.Event{Kind: index.KindOf(frame.IM, index.EventSeen), Height: -1, Verdict: frame.Valid, Arrival: arrival}
}

func connected(height int32) *index.Event {
	return &index.Event{Kind: index.EventConnected, Height: height, Block: block(height, "").Hash}
}

func events(b bench, reopen func() bench) {
	b.blocks(2)
	p := seen(transaction("1", alice, []person{bob}, text(alice, "1", 1), register("x", alice, 1)), signed(frame.Valid, alice), signed(frame.Valid, alice))
	entries := entriesOf(p, b.save(p))
	rejudged := &index.Event{Kind: index.KindOf(frame.IM, index.EventRejudged), Height: -1, Verdict: frame.Valid, From: frame.UnknownName, Arrival: 1}
	dropped := &index.Event{Kind: index.KindOf(frame.N, index.EventDropped), Height: 1, Block: block(1, "").Hash, Verdict: frame.Taken, Reason: index.ReasonReorganised, Arrival: 2}
	want := []*index.Event{connected(0), about(1), rejudged, dropped}
	log(b, want[:3]...)
	log(b)
	log(b, want[3])
	for i, e := range want {
		equal(b, "seq", e.Seq, int64(i+1))
		if e.Arrival != 0 {
			e.Entry = entries[e.Arrival-1]
		}
	}
	check := func(what string) {
		b.Helper()
		b.view(func(v index.View) {
			got := must[[]*index.Event](b)(v.Events(index.EventQuery{Limit: 10}))
			equal(b, what, len(got), len(want))
			for i := range got {
				equal(b, fmt.Sprint(what, ", entry ", i), got[i].Entry, want[i].Entry)
				equal(b, fmt.Sprint(what, ", event ", i), got[i], want[i])
			}
			equal(b, what+", last seq", must[int64](b)(v.LastSeq()), int64(4))
		})
	}
	check("saved")
	for _, c := range []struct {
		name string
		q    index.EventQuery
		want []int64
	}{
		{"after 2", index.EventQuery{After: 2}, []int64{3, 4}},
		{"after the last", index.EventQuery{After: 4}, []int64{}},
		{"up to 2", index.EventQuery{Upto: 2}, []int64{1, 2}},
		{"after 1, up to 3", index.EventQuery{After: 1, Upto: 3}, []int64{2, 3}},
		{"after 3, up to 2", index.EventQuery{After: 3, Upto: 2}, []int64{}},
		{"two after 1", index.EventQuery{After: 1, Limit: 2}, []int64{2, 3}},
		{"blocks are among all", index.EventQuery{Limit: 1}, []int64{1}},
	} {
		equal(b, c.name, seqs(b, c.q), c.want)
	}
	b = reopen()
	check("reopened")
	more := connected(1)
	log(b, more)
	equal(b, "seq after reopening", more.Seq, int64(5))
	// An entry is as it is now, not as it was.
	b.save(again(p.Row, p.Tx, index.Confirmed, 1, 3, p.Decisions...))
	b.view(func(v index.View) {
		got := must[[]*index.Event](b)(v.Events(index.EventQuery{After: 1, Limit: 1}))
		equal(b, "state now", got[0].Entry.State, index.Confirmed)
		equal(b, "height now", got[0].Entry.Height, int32(1))
		equal(b, "height then", got[0].Height, int32(-1))
	})
}

func eventsOfAddresses(b bench, _ func() bench) {
	b.blocks(1)
	erin := who("erin")
	moving := seen(transaction("4", carol, nil, text(erin, "from a name", 4)), refused(frame.Valid, erin))
	b.save(
		seen(transaction("1", alice, []person{bob}, text(alice, "1", 1)), signed(frame.Valid, alice)),                 // 1
		seen(transaction("2", bob, []person{carol}, text(bob, "2", 2)), signed(frame.Valid, bob)),                     // 2
		seen(transaction("3", carol, []person{bob}, text(carol, "3", 3)), index.Decision{Verdict: frame.UnknownName}), // 3
		moving, // 4
		seen(transaction("5", alice, []person{bob}, register("x", alice, 1)), signed(frame.Valid, alice)),             // 5
		seen(transaction("6", alice, []person{bob}, transfer("x", alice, dave, 2)), signed(frame.Valid, alice, dave)), // 6
		seen(transaction("7", dave, []person{dave, alice}, text(bob, "7", 7)), signed(frame.BadSignature, bob)))       // 7
	log(b, connected(0), about(1), about(2), about(3), about(4), about(5), about(6), about(7), connected(0)) // 1 to 9
	b.save(again(moving.Row, moving.Tx, index.Seen, -1, 0, index.Decision{Verdict: frame.UnknownName}))
	b.save(again(moving.Row, moving.Tx, index.Seen, -1, 0, refused(frame.BadSignature, dave)))
	log(b, about(4)) // 10
	check := func(what string) {
		b.Helper()
		for _, c := range []struct {
			name string
			q    index.EventQuery
			want []int64
		}{
			{"alice", index.EventQuery{Addresses: []frame.KeyHash{alice.hash}}, []int64{2, 6, 7, 8}},
			{"bob", index.EventQuery{Addresses: []frame.KeyHash{bob.hash}}, []int64{2, 3, 4, 8}},
			{"carol", index.EventQuery{Addresses: []frame.KeyHash{carol.hash}}, []int64{3}},
			{"dave, given a name and taken for a sender", index.EventQuery{Addresses: []frame.KeyHash{dave.hash}}, []int64{5, 7, 8, 10}},
			{"erin, taken for the sender once", index.EventQuery{Addresses: []frame.KeyHash{erin.hash}}, []int64{5, 10}},
			{"nobody", index.EventQuery{Addresses: []frame.KeyHash{{1}}}, []int64{}},
			{"nobody, and blocks", index.EventQuery{Addresses: []frame.KeyHash{{1}}, Blocks: true}, []int64{1, 9}},
			{"carol and erin, and blocks", index.EventQuery{Addresses: []frame.KeyHash{carol.hash, erin.hash, carol.hash}, Blocks: true}, []int64{1, 3, 5, 9, 10}},
			{"bob after 2, up to 4", index.EventQuery{Addresses: []frame.KeyHash{bob.hash}, After: 2, Upto: 4}, []int64{3, 4}},
			{"alice, two", index.EventQuery{Addresses: []frame.KeyHash{alice.hash}, Limit: 2}, []int64{2, 6}},
			{"alice, three, and blocks", index.EventQuery{Addresses: []frame.KeyHash{alice.hash}, Blocks: true, Limit: 3}, []int64{1, 2, 6}},
			{"far after", index.EventQuery{Addresses: []frame.KeyHash{alice.hash}, After: 1 << 60}, []int64{}},
		} {
			equal(b, what+": "+c.name, seqs(b, c.q), c.want)
			if c.q.Limit == 0 {
				equal(b, what+": "+c.name+", by pages", paged(b, c.q), c.want)
			}
			if c.q.Upto == 0 {
				c.q.Upto = 10
				equal(b, what+": "+c.name+", up to 10", seqs(b, c.q), c.want)
			}
		}
	}
	check("a short log")
	// A log so long that a store may choose another way through it.
	other := seen(transaction("other", who("x"), nil, text(who("x"), "x", 1)), signed(frame.Valid, who("x")))
	arrival := b.save(other)[0]
	var many []*index.Event
	for range 6_000 {
		many = append(many, about(arrival))
	}
	log(b, many...)
	check("a long log")
}

func eventsAmongMany(b bench, _ func() bench) {
	var placed []*index.Placed
	var written []*index.Event
	f := text(alice, "x", 1)
	for i := range 600 {
		placed = append(placed, seen(transaction(fmt.Sprint(i), alice, []person{stranger(i % 50)}, f), signed(frame.Valid, alice)))
	}
	arrivals := b.save(placed...)
	for range 8 { // a log longer than a store may care to read through
		for i, a := range arrivals {
			written = append(written, about(a))
			if i%100 == 0 {
				written = append(written, connected(0))
			}
		}
	}
	log(b, written...)
	var addresses []frame.KeyHash
	for i := range 400 {
		addresses = append(addresses, stranger(i*49).hash) // 0 and 49 among them
	}
	for name, c := range map[string]struct {
		q     index.EventQuery
		match func(i int) bool
	}{
		"one recipient":     {index.EventQuery{Addresses: addresses[:1]}, func(i int) bool { return i%50 == 0 }},
		"the sender of all": {index.EventQuery{Addresses: []frame.KeyHash{alice.hash}}, func(int) bool { return true }},
		"400 addresses":     {index.EventQuery{Addresses: addresses}, func(i int) bool { return i%50 == 0 || i%50 == 49 }},
	} {
		for _, withBlocks := range []bool{false, true} {
			want := []int64{}
			for _, e := range written {
				if e.Arrival == 0 && withBlocks || e.Arrival != 0 && c.match(int(e.Arrival-arrivals[0])) {
					want = append(want, e.Seq)
				}
			}
			c.q.Blocks = withBlocks
			equal(b, fmt.Sprint(name, ", blocks ", withBlocks), seqs(b, c.q), want)
			equal(b, fmt.Sprint(name, ", by pages, blocks ", withBlocks), paged(b, c.q), want)
			page := c.q
			page.Limit = 40
			equal(b, fmt.Sprint(name, ", a page, blocks ", withBlocks), seqs(b, page), want[:40])
		}
	}
}
