package indextest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

func roundTrip(b bench, reopen func() bench) {
	raw := text(alice, "signed in raw bytes", 5)
	raw.Message.Signature, _ = base64.StdEncoding.DecodeString(string(raw.Message.Signature))
	raw.Proofs = proofs(raw.Message.Preimage(), raw.Message.Signature)
	other := record(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Delete, Name: "alice", Address: alice.hash, Other: "why=x"}, 4, alice)
	frames := []*index.Frame{
		text(alice, "hello", 1), der(alice, "in DER", 2), raw,
		read(&improtocol.Message{Source: "nobody", TimeStamp: "not a time", Body: []byte{}, Signature: []byte("no signature")}),
		read(&improtocol.Message{Body: []byte{}, Signature: []byte{}}),
		malformed(frame.IM, "malformed im frame: field 3: field is not UTF-8"), malformed(frame.N, "n"), malformed(frame.P, "p"),
		register("alice", alice, 1), other, transfer("alice", alice, bob, 5), peer("10.0.0.1", carol, math.MaxUint64),
		record(nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Delete, IP: "::1", Address: carol.hash}, 0, carol),
	}
	decisions := []index.Decision{
		signed(frame.Valid, alice), signed(frame.Valid, alice), signed(frame.Duplicate, alice), {Verdict: frame.BadTimeStamp}, {Verdict: frame.UnknownName},
		{Verdict: frame.Malformed}, {Verdict: frame.Malformed}, {Verdict: frame.Malformed},
		signed(frame.Valid, alice), signed(frame.StaleTimeStamp, alice), signed(frame.Valid, alice, bob), refused(frame.Unpaid, carol), refused(frame.BadSignature, carol),
	}
	b.blocks(3)
	tx := transaction("everything", alice, []person{bob, carol, bob}, frames...)
	for i, f := range tx.Frames {
		f.Output = uint32(2*i + 1)
	}
	coinbase := transaction("coinbase", dave, nil, text(dave, "from a miner", 9))
	coinbase.Coinbase, coinbase.InputKeys, coinbase.Spends, coinbase.Outputs = true, nil, nil, nil
	coinbase.Frames = append(coinbase.Frames, text(dave, "and another", 10))
	coinbase.Frames[1].Output = 4
	placed := []*index.Placed{
		confirmed(tx, 2, 7, decisions...),
		confirmed(coinbase, 1, 0, signed(frame.Valid, dave), signed(frame.Valid, dave)),
	}
	arrivals := b.save(placed...)
	if placed[0].Row == 0 || placed[1].Row == 0 || placed[0].Row == placed[1].Row {
		b.Errorf("rows %d and %d", placed[0].Row, placed[1].Row)
	}
	first, second := entriesOf(placed[0], arrivals), entriesOf(placed[1], arrivals[len(frames):])
	check := func(what string) {
		b.Helper()
		b.view(func(v index.View) {
			equal(b, what+", in transaction", must[[]*index.Entry](b)(v.InTransaction(tx.ID)), first)
			equal(b, what+", in coinbase", must[[]*index.Entry](b)(v.InTransaction(coinbase.ID)), second)
			for _, e := range slices.Concat(first, second) {
				if e.Malformed == "" {
					equal(b, what+", occurrences", must[[]*index.Entry](b)(v.Occurrences(e.ID)), []*index.Entry{e})
				}
			}
			equal(b, what+", confirmed", allConfirmed(b, v), slices.Concat(second, first))
			got := must[[]*index.Entry](b)(v.InTransaction(tx.ID))
			if got[0].Tx != got[1].Tx {
				b.Errorf("%s: entries of one transaction don't share it", what)
			}
		})
	}
	check("saved")
	b = reopen()
	check("reopened")
}

func allConfirmed(b bench, v index.View) (list []*index.Entry) {
	b.Helper()
	if err := v.Confirmed(func(e *index.Entry) error { list = append(list, e); return nil }); err != nil {
		b.Fatalf("confirmed: %v", err)
	}
	return list
}

// incompressible makes a text that a database can't make short: it shows where
// a key of an index is too long.
func incompressible(length int) string {
	b := make([]byte, length/2)
	rand.NewChaCha8([32]byte{1}).Read(b) //nolint:errcheck // it never fails
	return hex.EncodeToString(b)
}

func oddTexts(b bench, _ func() bench) {
	texts := []string{"", "\x00", "a\x00b", "\x00\x00\x00", "'; DROP TABLE frames; --", `"quoted" 'twice' \ %s ? $1 :a @b`, "1", "0x00", "NULL",
		" leading and trailing ", "\u00e9 \u4e2d\u6587 \U0001f600", "\xff\xfe not UTF-8", "line\r\n\ttab", strings.Repeat("long ", 20_000), incompressible(100_000), "e\u0301"}
	for i, s := range texts {
		m := read(&improtocol.Message{Source: s, Type: s, Encryption: s, Body: []byte(s), Other: s, TimeStamp: s, Signature: []byte(s)})
		n := record(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: s, Address: alice.hash, Other: s}, uint64(i), alice)
		p := record(nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Register, IP: s, Address: alice.hash, Other: s}, uint64(i), alice)
		frames := []*index.Frame{m, n, p}
		if s != "" {
			frames = append(frames, malformed(frame.IM, s))
		}
		tx := transaction(fmt.Sprint("odd ", i), alice, nil, frames...)
		decisions := []index.Decision{{Verdict: frame.UnknownName}, refused(frame.Unpaid, alice), refused(frame.Unpaid, alice), {Verdict: frame.Malformed}}
		placed := seen(tx, decisions[:len(frames)]...)
		arrivals := b.save(placed)
		want := entriesOf(placed, arrivals)
		b.view(func(v index.View) {
			equal(b, fmt.Sprintf("text %.20q", s), must[[]*index.Entry](b)(v.InTransaction(tx.ID)), want)
			equal(b, fmt.Sprintf("name %.20q", s), must[[]*index.Entry](b)(v.NameEntries(s, 10)), want[1:2])
			if s != "" {
				q := index.EntryQuery{Type: s, Refused: true, Limit: 10}
				equal(b, fmt.Sprintf("type %.20q", s), must[[]*index.Entry](b)(v.Entries(q)), want[:1])
			}
		})
	}
	big := text(alice, "", 1)
	big.Message.Body = bytes.Repeat([]byte{0, 1, 0xff, '\'', '['}, 600_000)
	placed := seen(transaction("big", alice, []person{bob}, read(big.Message)), signed(frame.Valid, alice))
	want := entriesOf(placed, b.save(placed))
	b.view(func(v index.View) {
		got := must[[]*index.Entry](b)(v.InTransaction(placed.Tx.ID))
		if len(got) != 1 || !bytes.Equal(got[0].Message.Body, want[0].Message.Body) {
			b.Error("a body of 3 MB isn't the same")
		}
	})
}

func numbers(b bench, _ func() bench) {
	b.update(func(tx index.Tx) error {
		last := block(0, "")
		last.Height, last.MedianTime = math.MaxInt32, math.MaxInt64
		for i := range 4 {
			last.Header[68+i] = 0xff
		}
		if err := tx.PutBlock(last, [32]byte{0xff}); err != nil {
			return err
		}
		t := transaction("numbers", alice, nil, text(alice, "x", math.MaxUint64))
		t.Frames[0].Output = math.MaxUint32
		t.Spends[0].Output = math.MaxUint32
		_, err := tx.Save([]*index.Placed{confirmed(t, math.MaxInt32, math.MaxUint32, signed(frame.Valid, alice))})
		return err
	})
	b.view(func(v index.View) {
		tip := must[index.Tip](b)(v.Tip())
		equal(b, "height", tip.Height, math.MaxInt32)
		equal(b, "median time", tip.MedianTime, math.MaxInt64)
		list := allConfirmed(b, v)
		if len(list) != 1 {
			b.Fatalf("got %d entries, want 1", len(list))
		}
		e := list[0]
		equal(b, "entry's height", e.Height, math.MaxInt32)
		equal(b, "output", e.Output, math.MaxUint32)
		equal(b, "spent output", e.Tx.Spends[0].Output, math.MaxUint32)
		equal(b, "index", e.Tx.Index, math.MaxUint32)
		equal(b, "time", e.Time, math.MaxUint32)
		equal(b, "time stamp", e.Message.TimeStamp, "18446744073709551615")
	})
}

func canonical(b bench, reopen func() bench) {
	b.blocks(4)
	var want []string
	var placed []*index.Placed
	for _, at := range [][2]int{{3, 10}, {1, 2}, {3, 9}, {0, 0}, {1, 70_000}, {1, 3}} {
		label := fmt.Sprintf("%d/%d", at[0], at[1])
		tx := transaction(label, alice, nil, text(alice, label, 1), text(alice, label+"b", 1))
		placed = append(placed, confirmed(tx, int32(at[0]), uint32(at[1]), signed(frame.Valid, alice), signed(frame.Valid, alice)))
	}
	placed = append(placed, seen(transaction("unconfirmed", alice, nil, text(alice, "u", 1)), signed(frame.Valid, alice)))
	b.save(placed...)
	for _, label := range []string{"0/0", "1/2", "1/3", "1/70000", "3/9", "3/10"} {
		want = append(want, label, label+"b")
	}
	b = reopen()
	b.view(func(v index.View) {
		var got []string
		for _, e := range allConfirmed(b, v) {
			got = append(got, string(e.Message.Body))
		}
		equal(b, "order", got, want)
		stop, calls := errors.New("enough"), 0
		if err := v.Confirmed(func(*index.Entry) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
			b.Errorf("a yield that fails: got %v after %d calls, want its error after 1", err, calls)
		}
		// Whoever is handed an entry may ask for more.
		err := v.Confirmed(func(e *index.Entry) error {
			_, err := v.Occurrences(e.ID)
			return err
		})
		if err != nil {
			b.Errorf("reading while entries are handed over: %v", err)
		}
	})
}

func nameEntries(b bench, _ func() bench) {
	b.blocks(2)
	b.save(
		confirmed(transaction("1", alice, nil, register("x", alice, 1), register("y", alice, 1)), 1, 0, signed(frame.Valid, alice), signed(frame.Valid, alice)),
		seen(transaction("2", bob, nil, register("x", bob, 1), peer("::1", bob, 1)), refused(frame.Taken, bob), signed(frame.Valid, bob)),
		confirmed(transaction("3", alice, nil, transfer("x", alice, bob, 2)), 0, 0, signed(frame.Valid, alice, bob)))
	b.view(func(v index.View) {
		for _, c := range []struct {
			name  string
			limit int
			want  []int64
		}{{"x", 10, []int64{1, 3, 5}}, {"x", 2, []int64{3, 5}}, {"y", 10, []int64{2}}, {"X", 10, []int64{}}, {"::1", 10, []int64{}}} {
			equal(b, fmt.Sprintf("%s, %d", c.name, c.limit), arrivalsOf(must[[]*index.Entry](b)(v.NameEntries(c.name, c.limit))), c.want)
		}
	})
}

func limits(b bench, _ func() bench) {
	b.view(func(v index.View) {
		for _, limit := range []int{-1, 0, 1_001, math.MaxInt} {
			if list, err := v.Entries(index.EntryQuery{Limit: limit}); err == nil {
				b.Errorf("entries, limit %d: got %d, want an error", limit, len(list))
			}
		}
		for _, limit := range []int{-1, 0, 10_001, math.MaxInt} {
			if list, err := v.Events(index.EventQuery{Limit: limit}); err == nil {
				b.Errorf("events, limit %d: got %d, want an error", limit, len(list))
			}
		}
		if _, err := v.Entries(index.EntryQuery{Peer: &bob.hash, Limit: 1}); err == nil {
			b.Error("a peer without an address: no error")
		}
		must[[]*index.Entry](b)(v.Entries(index.EntryQuery{Limit: 1_000}))
		must[[]*index.Event](b)(v.Events(index.EventQuery{Limit: 10_000}))
	})
}

func closed(b bench, reopen func() bench) {
	if err := b.store.Close(); err != nil {
		b.Fatalf("close: %v", err)
	}
	if err := b.store.Close(); err != nil {
		b.Errorf("close again: %v", err)
	}
	if err := b.store.View(context.Background(), func(index.View) error { return nil }); err == nil {
		b.Error("view of a closed store: no error")
	}
	if err := b.store.Update(context.Background(), func(index.Tx) error { return nil }); err == nil {
		b.Error("update of a closed store: no error")
	}
	b = reopen()
	b.blocks(1)
}
