package indextest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// lookup reads what Lookup, Unconfirmed and AtHeight say, and leaves all as it is.
func lookup(b bench, read func(index.Tx) error) {
	b.Helper()
	b.update(read)
}

func rowsOf(list []*index.Saved) []int64 {
	rows := []int64{}
	for _, s := range list {
		rows = append(rows, s.Row)
	}
	return rows
}

func moves(b bench, reopen func() bench) {
	b.blocks(3)
	tx := transaction("moving", alice, []person{bob}, text(alice, "hello", 1), register("alice", alice, 1), malformed(frame.IM, "x"))
	still := seen(transaction("still", bob, []person{alice}, text(bob, "hi", 1)), signed(frame.Valid, bob))
	first := seen(tx, signed(frame.Valid, alice), refused(frame.Taken, alice), index.Decision{Verdict: frame.Malformed})
	arrivals := b.save(first, still)[:3]
	row := first.Row
	steps := []struct {
		name    string
		placed  *index.Placed
		blocks  func(index.Tx) error
		counts  map[frame.Verdict]int64
		valid   bool // the message is a fact
		waiting []int64
	}{
		{"seen", nil, nil, map[frame.Verdict]int64{}, false, []int64{row, still.Row}},
		{"confirmed", again(row, tx, index.Confirmed, 2, 5, signed(frame.Valid, alice), signed(frame.Valid, alice), index.Decision{Verdict: frame.Malformed}), nil,
			map[frame.Verdict]int64{frame.Valid: 2, frame.Malformed: 1}, true, []int64{still.Row}},
		{"seen again", again(row, tx, index.Seen, -1, 5, index.Decision{Verdict: frame.UnknownName}, refused(frame.Taken, bob), index.Decision{Verdict: frame.Malformed}),
			func(tx index.Tx) error { return tx.CutBlocks(1) }, map[frame.Verdict]int64{}, false, []int64{row, still.Row}},
		{"confirmed elsewhere", again(row, tx, index.Confirmed, 1, 0, signed(frame.Duplicate, alice), signed(frame.Valid, alice), index.Decision{Verdict: frame.Malformed}), nil,
			map[frame.Verdict]int64{frame.Valid: 1, frame.Duplicate: 1, frame.Malformed: 1}, false, []int64{still.Row}},
		{"judged again in its place", again(row, tx, index.Confirmed, 1, 0, signed(frame.Valid, alice), refused(frame.Unpaid, alice), index.Decision{Verdict: frame.Malformed}), nil,
			map[frame.Verdict]int64{frame.Valid: 1, frame.Unpaid: 1, frame.Malformed: 1}, true, []int64{still.Row}},
		{"dropped", again(row, tx, index.Dropped, -1, 0, signed(frame.Valid, alice), refused(frame.Unpaid, alice), index.Decision{Verdict: frame.Malformed}), nil,
			map[frame.Verdict]int64{}, false, []int64{still.Row}},
	}
	for _, s := range steps {
		placed := s.placed
		if placed == nil {
			placed = first
		} else {
			var got []int64
			b.update(func(tx index.Tx) error {
				lists, err := tx.Save([]*index.Placed{placed})
				if err != nil {
					return err
				}
				got = lists[0]
				if s.blocks != nil {
					return s.blocks(tx)
				}
				return nil
			})
			equal(b, s.name+", arrivals", got, arrivals)
		}
		want := entriesOf(placed, arrivals)
		b.view(func(v index.View) {
			equal(b, s.name+", entries", must[[]*index.Entry](b)(v.InTransaction(tx.ID)), want)
			equal(b, s.name+", counts", must[map[frame.Verdict]int64](b)(v.Counts()), s.counts)
			facts := must[*index.Facts](b)(v.Facts(index.Need{FrameIDs: []frame.ID{tx.Frames[0].ID}}))
			equal(b, s.name+", fact", facts.Valid[tx.Frames[0].ID], s.valid)
			equal(b, s.name+", unconfirmed", rowsOf(must[[]*index.Saved](b)(v.Unconfirmed())), s.waiting)
		})
		lookup(b, func(t index.Tx) error {
			saved, err := t.Lookup([]frame.Hash{tx.ID, frame.HashOf([]byte("unknown")), tx.ID})
			wanted := &index.Saved{Row: row, State: placed.State, Height: placed.Height, Seen: saved[tx.ID].Seen, Entries: withoutBodies(want)}
			equal(b, s.name+", lookup", len(saved), 1)
			equal(b, s.name+", lookup", *saved[tx.ID], *wanted)
			equal(b, s.name+", lookup", saved[tx.ID].Entries, wanted.Entries)
			for h := range int32(3) {
				list := must[[]*index.Saved](b)(t.AtHeight(h))
				if h == placed.Height {
					equal(b, s.name+", at height", list, []*index.Saved{saved[tx.ID]})
				} else {
					equal(b, s.name+", at another height", len(list), 0)
				}
			}
			return err
		})
	}
	b = reopen()
	b.view(func(v index.View) {
		equal(b, "reopened", must[[]*index.Entry](b)(v.InTransaction(tx.ID)), entriesOf(steps[len(steps)-1].placed, arrivals))
	})
}

func comesBack(b bench, _ func() bench) {
	b.blocks(1)
	old, young := transaction("old", alice, nil, text(alice, "1", 1)), transaction("young", alice, nil, text(alice, "2", 2))
	first, second := seen(old, signed(frame.Valid, alice)), seen(young, signed(frame.Valid, alice))
	arrivals := b.save(first, second)
	b.save(again(first.Row, old, index.Dropped, -1, 0, signed(frame.Valid, alice)))
	b.save(again(first.Row, old, index.Seen, -1, 0, signed(frame.Valid, alice)))
	b.view(func(v index.View) {
		list := must[[]*index.Saved](b)(v.Unconfirmed())
		equal(b, "order", rowsOf(list), []int64{first.Row, second.Row})
		if list[0].Seen >= list[1].Seen {
			b.Errorf("seen: %d isn't before %d", list[0].Seen, list[1].Seen)
		}
		equal(b, "entries", must[[]*index.Entry](b)(v.InTransaction(old.ID)), entriesOf(first, arrivals))
	})
}

func judging(b bench, _ func() bench) {
	b.blocks(1)
	unreadable := text(alice, "unreadable", 3)
	unreadable.Message.Signature = []byte("x")
	unreadable.Proofs = []frame.Proof{{}}
	frames := []*index.Frame{text(alice, "compact", 1), der(alice, "in DER", 2), unreadable, der(alice, "", 4), register("alice", alice, 1)}
	decisions := slices.Repeat([]index.Decision{signed(frame.Valid, alice)}, len(frames))
	inBlock := confirmed(transaction("block", alice, []person{bob}, frames...), 0, 1, decisions...)
	waiting := seen(transaction("mempool", alice, []person{bob}, frames...), decisions...)
	arrivals := b.save(inBlock, waiting)
	block, mempool := withoutBodies(entriesOf(inBlock, arrivals)), withoutBodies(entriesOf(waiting, arrivals[len(frames):]))
	lookup(b, func(tx index.Tx) error {
		at := must[[]*index.Saved](b)(tx.AtHeight(0))
		equal(b, "at height", at[0].Entries, block)
		unconfirmed := must[[]*index.Saved](b)(tx.Unconfirmed())
		equal(b, "unconfirmed", unconfirmed[0].Entries, mempool)
		for _, i := range []int{1, 3} {
			equal(b, "preimage under DER", string(unconfirmed[0].Entries[i].Preimage(network)), string(frames[i].Preimage(network)))
		}
		return nil
	})
	// What was read without bodies is saved again: the bodies stay.
	lookup(b, func(tx index.Tx) error {
		at := must[[]*index.Saved](b)(tx.AtHeight(0))
		short := *at[0].Entries[0].Tx
		for _, e := range at[0].Entries {
			short.Frames = append(short.Frames, e.Frame)
		}
		_, err := tx.Save([]*index.Placed{again(at[0].Row, &short, index.Seen, -1, 0, decisions...)})
		return err
	})
	b.view(func(v index.View) {
		inBlock.State, inBlock.Height = index.Seen, -1
		equal(b, "saved without bodies", must[[]*index.Entry](b)(v.InTransaction(inBlock.Tx.ID)), entriesOf(inBlock, arrivals))
	})
}

func twice(b bench, reopen func() bench) {
	b.blocks(3)
	tx := transaction("twice", alice, []person{bob}, text(alice, "hello", 1), text(alice, "world", 1))
	copied := *tx
	one := confirmed(tx, 1, 4, signed(frame.Valid, alice), signed(frame.Valid, alice))
	two := confirmed(&copied, 2, 3, signed(frame.Duplicate, alice), signed(frame.Duplicate, alice))
	arrivals := b.save(one, two)
	if one.Row == two.Row {
		b.Fatalf("one row %d for two places", one.Row)
	}
	first, second := entriesOf(one, arrivals), entriesOf(two, arrivals[2:])
	check := func(what string, first, second []*index.Entry) {
		b.Helper()
		b.view(func(v index.View) {
			equal(b, what+", in transaction", must[[]*index.Entry](b)(v.InTransaction(tx.ID)), []*index.Entry{first[0], second[0], first[1], second[1]})
			equal(b, what+", occurrences", must[[]*index.Entry](b)(v.Occurrences(tx.Frames[0].ID)), []*index.Entry{first[0], second[0]})
			equal(b, what+", without repeats", must[[]*index.Entry](b)(v.Entries(index.EntryQuery{Address: &bob.hash, Limit: 9})), first)
			equal(b, what+", with repeats", must[[]*index.Entry](b)(v.Entries(index.EntryQuery{Address: &bob.hash, Limit: 9, Repeats: true})), append(slices.Clone(first), second...))
		})
	}
	check("saved", first, second)
	b = reopen()
	check("reopened", first, second)
	b.update(func(t index.Tx) error {
		at := must[[]*index.Saved](b)(t.AtHeight(2))
		equal(b, "at height 2", rowsOf(at), []int64{two.Row})
		p := again(two.Row, tx, index.Seen, -1, 0, signed(frame.Duplicate, alice), signed(frame.Duplicate, alice))
		_, err := t.Save([]*index.Placed{p})
		second = entriesOf(p, arrivals[2:])
		return err
	})
	check("the second unconfirmed", first, second)
	lookup(b, func(t index.Tx) error {
		saved, err := t.Lookup([]frame.Hash{tx.ID})
		equal(b, "lookup", saved[tx.ID].Row, two.Row)
		return err
	})
}

func lookupOrder(b bench, _ func() bench) {
	b.blocks(1)
	for i, c := range []struct {
		states []index.State
		want   int
	}{
		{[]index.State{index.Confirmed, index.Seen}, 1},
		{[]index.State{index.Seen, index.Confirmed}, 0},
		{[]index.State{index.Confirmed, index.Dropped}, 1},
		{[]index.State{index.Dropped, index.Seen}, 1},
		{[]index.State{index.Dropped, index.Confirmed, index.Seen}, 2},
		{[]index.State{index.Confirmed, index.Confirmed}, 0},
	} {
		tx := transaction(fmt.Sprint("lookup ", i), alice, nil, text(alice, "x", 1))
		var placed []*index.Placed
		for j, s := range c.states {
			p := again(0, tx, s, -1, uint32(i*10+j), signed(frame.Valid, alice))
			if s == index.Confirmed {
				p.Height = 0
			}
			placed = append(placed, p)
		}
		b.save(placed...)
		lookup(b, func(t index.Tx) error {
			saved, err := t.Lookup([]frame.Hash{tx.ID})
			equal(b, fmt.Sprint(c.states), saved[tx.ID].Row, placed[c.want].Row)
			equal(b, fmt.Sprint(c.states), saved[tx.ID].State, c.states[c.want])
			return err
		})
	}
	// More than any statement takes at once.
	var many []*index.Placed
	ids := []frame.Hash{}
	f := text(alice, "many", 1)
	for i := range 1_500 {
		tx := transaction(fmt.Sprint("many ", i), alice, []person{bob}, f)
		many, ids = append(many, seen(tx, signed(frame.Valid, alice))), append(ids, tx.ID)
	}
	b.save(many...)
	lookup(b, func(t index.Tx) error {
		saved, err := t.Lookup(ids)
		equal(b, "found", len(saved), len(ids))
		for i, p := range many {
			if s := saved[ids[i]]; s == nil || s.Row != p.Row || len(s.Entries) != 1 || s.Entries[0].Tx.ID != ids[i] {
				b.Fatalf("transaction %d: got %+v, want row %d", i, s, p.Row)
			}
		}
		none, noneErr := t.Lookup(nil)
		equal(b, "nothing asked", len(none), 0)
		equal(b, "nothing asked", noneErr, nil)
		return err
	})
}

func refusedSaves(b bench, _ func() bench) {
	b.blocks(1)
	fine := func(label string) *index.Transaction { return transaction(label, alice, nil, text(alice, label, 1)) }
	known := seen(fine("known"), signed(frame.Valid, alice))
	b.save(known)
	unproved, empty, two, long := fine("unproved"), fine("empty"), fine("two kinds"), fine("long key")
	unproved.Frames[0].Proofs = nil
	empty.Frames = nil
	two.Frames[0].Malformed = "and a message"
	long.InputKeys = [][]byte{make([]byte, 256)}
	moved := *known.Tx.Frames[0]
	moved.Output = 9
	elsewhere := *known.Tx
	elsewhere.Frames = []*index.Frame{&moved}
	unsigned := transaction("unsigned", alice, nil, register("x", alice, 1))
	unsigned.Frames[0].Record.Signatures = nil
	valid := signed(frame.Valid, alice)
	for name, p := range map[string]*index.Placed{
		"fewer decisions":            seen(fine("a")),
		"more decisions":             seen(fine("a"), valid, valid),
		"no frames":                  seen(empty),
		"a frame without its proof":  seen(unproved, valid),
		"a frame of two kinds":       seen(two, valid),
		"a record without signature": seen(unsigned, valid),
		"a key of 256 bytes":         seen(long, valid),
		"no such verdict":            seen(fine("a"), index.Decision{Verdict: "splendid"}),
		"no verdict":                 seen(fine("a"), index.Decision{}),
		"three keys":                 seen(fine("a"), signed(frame.Valid, alice, bob, carol)),
		"no such state":              {Tx: fine("a"), State: "lost", Height: -1, Decisions: []index.Decision{valid}},
		"confirmed without a height": {Tx: fine("a"), State: index.Confirmed, Height: -1, Decisions: []index.Decision{valid}},
		"seen at a height":           {Tx: fine("a"), State: index.Seen, Height: 0, Decisions: []index.Decision{valid}},
		"confirmed above the tip":    {Tx: fine("a"), State: index.Confirmed, Height: 1, Decisions: []index.Decision{valid}},
		"an unknown row":             again(known.Row+1, known.Tx, index.Seen, -1, 0, valid),
		"frames of other outputs":    again(known.Row, &elsewhere, index.Seen, -1, 0, valid),
	} {
		err := b.store.Update(context.Background(), func(tx index.Tx) error {
			_, err := tx.Save([]*index.Placed{seen(fine("before"), valid), p})
			return err
		})
		if err == nil {
			b.Errorf("%s: no error", name)
		}
	}
	b.view(func(v index.View) {
		equal(b, "left behind", arrivalsOf(must[[]*index.Entry](b)(v.Entries(index.EntryQuery{Limit: 9}))), []int64{1})
	})
	equal(b, "the next arrival", b.save(seen(fine("next"), valid)), []int64{2})
}

func counts(b bench, _ func() bench) {
	b.blocks(2)
	want := map[frame.Verdict]int64{}
	var placed []*index.Placed
	for i, v := range frame.Verdicts {
		for j := range i + 1 {
			tx := transaction(fmt.Sprint(v, j), alice, nil, text(alice, fmt.Sprint(i, j), 1))
			placed = append(placed, confirmed(tx, int32(j%2), uint32(i*100+j), refused(v, alice)))
			want[v]++
		}
	}
	placed = append(placed, seen(transaction("seen", alice, nil, text(alice, "s", 1)), signed(frame.Valid, alice)))
	b.save(placed...)
	var moved []*index.Placed
	for _, p := range placed {
		if p.Height == 1 {
			moved = append(moved, again(p.Row, p.Tx, index.Seen, -1, 0, p.Decisions...))
		}
	}
	b.view(func(v index.View) { equal(b, "counts", must[map[frame.Verdict]int64](b)(v.Counts()), want) })
	b.save(moved...)
	for _, p := range moved {
		want[p.Decisions[0].Verdict]--
	}
	maps.DeleteFunc(want, func(_ frame.Verdict, n int64) bool { return n == 0 })
	b.view(func(v index.View) {
		equal(b, "counts without block 1", must[map[frame.Verdict]int64](b)(v.Counts()), want)
	})
}
