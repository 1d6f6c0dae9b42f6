package indextest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// list returns the arrivals that a query lists.
func list(b bench, q index.EntryQuery) (arrivals []int64) {
	b.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	b.view(func(v index.View) { arrivals = arrivalsOf(must[[]*index.Entry](b)(v.Entries(q))) })
	return arrivals
}

func byAddress(b bench, _ func() bench) {
	b.blocks(1)
	image := text(alice, "picture", 3)
	image.Message.Type = "image/png"
	image = read(image.Message)
	paysBack := transaction("back", bob, []person{carol}, text(carol, "paid for by bob", 4)) // bob has the change
	toSource := transaction("self", bob, []person{alice, carol}, text(alice, "paid for by bob, alice gets some", 5))
	arrivals := b.save(
		confirmed(transaction("1", alice, []person{bob}, text(alice, "1", 1)), 0, 0, signed(frame.Valid, alice)),                                                                          // 1
		seen(transaction("2", bob, []person{alice}, text(bob, "2", 2)), signed(frame.Valid, bob)),                                                                                         // 2
		seen(transaction("3", alice, []person{bob, carol}, image), signed(frame.Valid, alice)),                                                                                            // 3
		seen(paysBack, signed(frame.Valid, carol)),                                                                                                                                        // 4
		seen(toSource, signed(frame.Valid, alice)),                                                                                                                                        // 5
		seen(transaction("6", carol, []person{bob}, text(carol, "6", 6)), refused(frame.BadSignature, carol)),                                                                             // 6
		seen(transaction("7", carol, []person{bob}, text(carol, "7", 7), malformed(frame.IM, "x")), index.Decision{Verdict: frame.UnknownName}, index.Decision{Verdict: frame.Malformed}), // 7, 8
		again(0, transaction("8", alice, []person{bob}, text(alice, "8", 8)), index.Dropped, -1, 0, signed(frame.Valid, alice)),                                                           // 9
		seen(transaction("9", alice, []person{bob}, register("x", alice, 1), peer("::1", alice, 1)), signed(frame.Valid, alice), signed(frame.Valid, alice)),                              // 10, 11
		seen(transaction("10", carol, []person{bob}, malformed(frame.N, "x")), index.Decision{Verdict: frame.Malformed}),                                                                  // 12
	)
	equal(b, "arrivals", arrivals, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	onlyConfirmed, onlySeen, dropped := []index.State{index.Confirmed}, []index.State{index.Seen}, []index.State{index.Dropped}
	for _, c := range []struct {
		name string
		q    index.EntryQuery
		want []int64
	}{
		{"everybody", index.EntryQuery{}, []int64{1, 2, 3, 4, 5}},
		{"alice", index.EntryQuery{Address: &alice.hash}, []int64{1, 2, 3, 5}},
		{"bob", index.EntryQuery{Address: &bob.hash}, []int64{1, 2, 3}},
		{"carol", index.EntryQuery{Address: &carol.hash}, []int64{3, 4, 5}},
		{"dave", index.EntryQuery{Address: &dave.hash}, []int64{}},
		{"newest first", index.EntryQuery{Address: &bob.hash, Newest: true}, []int64{3, 2, 1}},
		{"two", index.EntryQuery{Address: &alice.hash, Limit: 2}, []int64{1, 2}},
		{"the newest two", index.EntryQuery{Address: &alice.hash, Limit: 2, Newest: true}, []int64{5, 3}},
		{"after 1", index.EntryQuery{Address: &alice.hash, After: 1}, []int64{2, 3, 5}},
		{"before 3", index.EntryQuery{Address: &alice.hash, Before: 3}, []int64{1, 2}},
		{"between", index.EntryQuery{Address: &alice.hash, After: 1, Before: 5, Newest: true}, []int64{3, 2}},
		{"after the last", index.EntryQuery{Address: &alice.hash, After: 1 << 60}, []int64{}},
		{"before the first", index.EntryQuery{Address: &alice.hash, Before: 1}, []int64{}},
		{"pictures", index.EntryQuery{Type: "image/png"}, []int64{3}},
		{"carol's texts", index.EntryQuery{Address: &carol.hash, Type: "text"}, []int64{4, 5}},
		{"confirmed", index.EntryQuery{States: onlyConfirmed}, []int64{1}},
		{"seen, of bob", index.EntryQuery{Address: &bob.hash, States: onlySeen}, []int64{2, 3}},
		{"dropped", index.EntryQuery{States: dropped}, []int64{9}},
		{"all states, of bob", index.EntryQuery{Address: &bob.hash, States: slices.Concat(onlyConfirmed, onlySeen, dropped)}, []int64{1, 2, 3, 9}},
		{"refused", index.EntryQuery{Refused: true}, []int64{6, 7, 8}},
		{"refused, to bob", index.EntryQuery{Address: &bob.hash, Refused: true}, []int64{6, 7, 8}},
		{"refused, of carol", index.EntryQuery{Address: &carol.hash, Refused: true}, []int64{6}},
		{"refused, of alice", index.EntryQuery{Address: &alice.hash, Refused: true}, []int64{}},
	} {
		equal(b, c.name, list(b, c.q), c.want)
	}
}

func conversations(b bench, _ func() bench) {
	b.save(
		seen(transaction("1", alice, []person{bob}, text(alice, "1", 1)), signed(frame.Valid, alice)),              // 1
		seen(transaction("2", bob, []person{carol, alice}, text(bob, "2", 2)), signed(frame.Valid, bob)),           // 2
		seen(transaction("3", alice, []person{carol}, text(alice, "3", 3)), signed(frame.Valid, alice)),            // 3
		seen(transaction("4", carol, []person{alice, bob}, text(carol, "4", 4)), signed(frame.Valid, carol)),       // 4
		seen(transaction("5", carol, []person{bob, alice}, text(bob, "5", 5)), signed(frame.Valid, bob)),           // 5
		seen(transaction("6", bob, []person{alice}, text(bob, "6", 6)), refused(frame.BadSignature, bob)),          // 6
		seen(transaction("7", dave, []person{alice, alice}, text(alice, "a note", 7)), signed(frame.Valid, alice)), // 7
	)
	for _, c := range []struct {
		name    string
		a, b    person
		refused bool
		want    []int64
	}{
		{"alice and bob", alice, bob, false, []int64{1, 2, 5}},
		{"bob and alice", bob, alice, false, []int64{1, 2, 5}},
		{"alice and carol", alice, carol, false, []int64{3, 4}},
		{"bob and carol", bob, carol, false, []int64{2, 4}},
		{"alice and dave", alice, dave, false, []int64{}},
		{"alice and herself", alice, alice, false, []int64{}},
		{"refused", alice, bob, true, []int64{6}},
	} {
		equal(b, c.name, list(b, index.EntryQuery{Address: &c.a.hash, Peer: &c.b.hash, Refused: c.refused}), c.want)
	}
	equal(b, "the newest", list(b, index.EntryQuery{Address: &alice.hash, Peer: &bob.hash, Newest: true, Limit: 2}), []int64{5, 2})
	// One of the two writes to many more people than the other.
	var placed []*index.Placed
	f := text(alice, "to everybody", 9)
	for i := range 1_200 {
		placed = append(placed, seen(transaction(fmt.Sprint("many ", i), alice, []person{stranger(i % 3)}, f), signed(frame.Valid, alice)))
	}
	b.save(placed...)
	equal(b, "beside many to others", list(b, index.EntryQuery{Address: &alice.hash, Peer: &bob.hash}), []int64{1, 2, 5})
	equal(b, "from the other end", list(b, index.EntryQuery{Address: &bob.hash, Peer: &alice.hash}), []int64{1, 2, 5})
}

func copies(b bench, _ func() bench) {
	b.blocks(1)
	m := text(alice, "hello", 1)
	valid, copied := signed(frame.Valid, alice), signed(frame.Duplicate, alice)
	b.save(
		seen(transaction("1", dave, []person{carol}, m), copied),                               // 1: got in first, to somebody else
		seen(transaction("2", alice, []person{bob}, m), valid),                                 // 2: the real one
		seen(transaction("3", dave, []person{bob}, m, m), copied, copied),                      // 3, 4
		again(0, transaction("5", dave, []person{dave, bob}, m), index.Dropped, -1, 0, copied), // 5
		seen(transaction("6", dave, []person{bob}, m), refused(frame.StaleTimeStamp, alice)),   // 6
		seen(transaction("7", alice, []person{bob}, text(alice, "hello", 2)), valid),           // 7: another message
		confirmed(transaction("8", dave, []person{bob}, m), 0, 0, copied),                      // 8
		seen(transaction("9", dave, []person{bob}, m), refused(frame.StaleTimeStamp, alice)),   // 9
	)
	confirmedOnly := []index.State{index.Confirmed}
	all := []index.State{index.Seen, index.Confirmed, index.Dropped}
	for _, c := range []struct {
		name string
		q    index.EntryQuery
		want []int64
	}{
		{"to bob", index.EntryQuery{Address: &bob.hash}, []int64{2, 7}},
		{"to bob, newest first", index.EntryQuery{Address: &bob.hash, Newest: true}, []int64{7, 2}},
		{"to bob, one, newest", index.EntryQuery{Address: &bob.hash, Newest: true, Before: 7, Limit: 1}, []int64{2}},
		{"to bob, with repeats", index.EntryQuery{Address: &bob.hash, Repeats: true}, []int64{2, 3, 4, 7, 8}},
		{"to bob, confirmed", index.EntryQuery{Address: &bob.hash, States: confirmedOnly}, []int64{8}},
		{"to bob, after the first", index.EntryQuery{Address: &bob.hash, After: 2}, []int64{7}},
		{"from alice", index.EntryQuery{Address: &alice.hash}, []int64{1, 7}},
		{"to carol", index.EntryQuery{Address: &carol.hash}, []int64{1}},
		{"to dave", index.EntryQuery{Address: &dave.hash, States: all}, []int64{5}},
		{"to nobody in particular", index.EntryQuery{}, []int64{1, 7}},
		{"with repeats", index.EntryQuery{Repeats: true}, []int64{1, 2, 3, 4, 7, 8}},
		{"confirmed", index.EntryQuery{States: confirmedOnly}, []int64{8}},
		{"refused ones are each listed", index.EntryQuery{Address: &bob.hash, Refused: true}, []int64{6, 9}},
	} {
		equal(b, c.name, list(b, c.q), c.want)
	}
}

func copyFirst(b bench, _ func() bench) {
	m := text(alice, "hello", 1)
	b.save(
		seen(transaction("1", dave, []person{carol}, m), signed(frame.Valid, alice)),
		seen(transaction("2", alice, []person{bob}, m), signed(frame.Duplicate, alice)),
		seen(transaction("3", dave, []person{bob}, m), signed(frame.Duplicate, alice)))
	equal(b, "alice and bob", list(b, index.EntryQuery{Address: &alice.hash, Peer: &bob.hash}), []int64{2})
	equal(b, "bob and alice", list(b, index.EntryQuery{Address: &bob.hash, Peer: &alice.hash}), []int64{2})
	equal(b, "alice and carol", list(b, index.EntryQuery{Address: &alice.hash, Peer: &carol.hash}), []int64{1})
}

func pages(b bench, _ func() bench) {
	var placed []*index.Placed
	m := text(alice, "again and again", 1)
	for i := range 60 {
		f := text(alice, fmt.Sprint(i), 1)
		placed = append(placed, seen(transaction(fmt.Sprint(i), alice, []person{bob, carol}, f, m, f), slices.Repeat([]index.Decision{signed(frame.Valid, alice)}, 3)...))
	}
	b.save(placed...)
	for name, q := range map[string]index.EntryQuery{
		"all": {}, "of alice": {Address: &alice.hash}, "of bob": {Address: &bob.hash},
		"with repeats": {Address: &bob.hash, Repeats: true}, "conversation": {Address: &alice.hash, Peer: &carol.hash},
	} {
		q.Limit = 1_000
		whole := list(b, q)
		want := 61
		if q.Repeats {
			want = 180
		}
		equal(b, name+", length", len(whole), want)
		for _, newest := range []bool{false, true} {
			page := q
			page.Limit, page.Newest = 7, newest
			var walked []int64
			for {
				got := list(b, page)
				walked = append(walked, got...)
				if len(got) < page.Limit {
					break
				}
				if newest {
					page.Before = got[len(got)-1]
				} else {
					page.After = got[len(got)-1]
				}
			}
			if newest {
				slices.Reverse(walked)
			}
			equal(b, fmt.Sprint(name, ", pages, newest first: ", newest), walked, whole)
		}
	}
}

// naive compares many random queries over random frames with a reader that looks
// at every entry.
func naive(b bench, _ func() bench) {
	r := rand.New(rand.NewPCG(1, 2))
	b.blocks(4)
	people := []person{alice, bob, carol, dave}
	states := []index.State{index.Seen, index.Confirmed, index.Dropped}
	kinds := []string{"text", "image", ""}
	var messages []*index.Frame
	for i := range 40 {
		f := text(people[r.IntN(4)], fmt.Sprint(i), 1)
		f.Message.Type = kinds[r.IntN(3)]
		messages = append(messages, read(f.Message))
	}
	var placed []*index.Placed
	place := func(p *index.Placed) {
		if p.State = states[r.IntN(3)]; p.State == index.Confirmed {
			p.Height = int32(r.IntN(4))
		}
		for range p.Tx.Frames {
			d := index.Decision{Verdict: []frame.Verdict{frame.Valid, frame.Duplicate, frame.Duplicate, frame.BadSignature}[r.IntN(4)]}
			if r.IntN(5) > 0 {
				d.Address = &people[r.IntN(4)].hash
			}
			p.Decisions = append(p.Decisions, d)
		}
	}
	for i := range 250 {
		var frames []*index.Frame
		for range 1 + r.IntN(3) {
			frames = append(frames, messages[r.IntN(len(messages))])
		}
		var to []person
		for range r.IntN(3) {
			to = append(to, people[r.IntN(4)])
		}
		p := &index.Placed{Tx: transaction(fmt.Sprint("naive ", i), people[r.IntN(4)], to, frames...), Height: -1}
		p.Tx.Index = uint32(i)
		place(p)
		placed = append(placed, p)
	}
	b.save(placed...)
	for range 60 { // some move, and are attributed to others
		p := placed[r.IntN(len(placed))]
		moved := &index.Placed{Row: p.Row, Tx: p.Tx, Height: -1}
		place(moved)
		*p = *moved
		b.save(moved)
	}
	var all []*index.Entry
	var next int64
	for _, p := range placed {
		for range p.Tx.Frames {
			next++
			all = append(all, nil)
			all[next-1] = &index.Entry{Arrival: next}
		}
		for i, e := range entriesOf(p, arrivalsOf(all[len(all)-len(p.Tx.Frames):])) {
			all[len(all)-len(p.Tx.Frames)+i] = e
		}
	}
	for n := range 300 {
		q := index.EntryQuery{Limit: 1 + r.IntN(30), Newest: r.IntN(2) == 0, Repeats: r.IntN(3) == 0, Refused: r.IntN(6) == 0,
			Type: kinds[r.IntN(3)], After: int64(r.IntN(3) * r.IntN(200)), Before: int64(r.IntN(2) * (1 + r.IntN(600)))}
		if r.IntN(5) > 0 {
			q.Address = &people[r.IntN(4)].hash
			if r.IntN(2) == 0 {
				q.Peer = &people[r.IntN(4)].hash
			}
		}
		if r.IntN(2) == 0 {
			q.States = states[r.IntN(3):]
		}
		if got, want := list(b, q), naiveEntries(all, q); !slices.Equal(got, want) {
			b.Fatalf("query %d %+v (address %v, peer %v):\n got %v\nwant %v", n, q, q.Address, q.Peer, got, want)
		}
	}
}

func naiveEntries(all []*index.Entry, q index.EntryQuery) []int64 {
	states := q.States
	if len(states) == 0 {
		states = []index.State{index.Seen, index.Confirmed}
	}
	shown := map[frame.ID]bool{}
	list := []int64{}
	for _, e := range all {
		counts := e.Verdict == frame.Valid || e.Verdict == frame.Duplicate
		if len(q.Words) > 0 && !says(e, q.Words) {
			continue
		}
		if counts == q.Refused || !slices.Contains(states, e.State) || q.Type != "" && e.Message.Type != q.Type || !concerns(e, q) {
			continue
		}
		if counts && !q.Repeats {
			if shown[e.ID] {
				continue
			}
			shown[e.ID] = true
		}
		if e.Arrival > q.After && (q.Before == 0 || e.Arrival < q.Before) {
			list = append(list, e.Arrival)
		}
	}
	if q.Newest {
		slices.Reverse(list)
	}
	return list[:min(len(list), q.Limit)]
}

// says tells whether a text can be found by words.
func says(e *index.Entry, asked []string) bool {
	if e.Message == nil || e.Message.Type != "text" || e.Message.Encryption != "plain" || !utf8.Valid(e.Message.Body) {
		return false
	}
	said := index.Words(string(e.Message.Body))
	for _, word := range asked {
		begin, isPrefix := strings.CutSuffix(word, "*")
		if !slices.ContainsFunc(said, func(w string) bool { return w == word || isPrefix && strings.HasPrefix(w, begin) }) {
			return false
		}
	}
	return true
}

func concerns(e *index.Entry, q index.EntryQuery) bool {
	sent := func(by, to *frame.KeyHash) bool {
		return e.Address != nil && *e.Address == *by && slices.Contains(e.Recipients(), *to)
	}
	switch {
	case q.Address == nil:
		return true
	case q.Peer != nil:
		return sent(q.Address, q.Peer) || sent(q.Peer, q.Address)
	}
	return e.Address != nil && *e.Address == *q.Address || slices.Contains(e.Recipients(), *q.Address)
}
