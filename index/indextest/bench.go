package indextest

import (
	"context"
	"fmt"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Bench measures a store. open opens an empty one of its own for each benchmark,
// and closes it when that ends.
func Bench(b *testing.B, open func(b *testing.B) index.Store) {
	cases := []struct {
		name string
		run  func(b *testing.B, filled filler)
	}{
		{"Block", benchBlock},
		{"Save", benchSave},
		{"Confirm", benchConfirm},
		{"Facts", benchFacts},
		{"Inbox", benchInbox},
		{"Inboxes", benchInboxes},
		{"Events", benchEvents},
		{"History", benchHistory},
		{"Found", benchFound},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			c.run(b, func(b *testing.B, blocks int32) index.Store { return fill(b, open(b), blocks) })
		})
	}
}

// Batch makes confirmed transactions with one message of 300 bytes each, from
// one of 100 senders to one of 1,000 recipients. Nothing in them is signed: the
// store doesn't look.
func Batch(height int32, n int) []*index.Placed {
	placed := make([]*index.Placed, n)
	for i := range placed {
		seed := frame.IDOf(fmt.Append(nil, "sender ", i%100))
		key := append([]byte{2}, seed[:]...)
		from, to := frame.HashKey(key), frame.HashKey(fmt.Append(nil, "recipient ", (int(height)*n+i)%1_000))
		m := &improtocol.Message{Source: frame.Regtest.Address(from), Type: improtocol.Text, Encryption: improtocol.Plain,
			Body: make([]byte, 300), Signature: make([]byte, 65)}
		m.Signature[0] = 31
		copy(m.Body, fmt.Sprint(height, " ", i))
		m.SetTime(uint64(height)*1_000 + uint64(i))
		signature, _ := frame.ParseSignature(m.Signature)
		f := &index.Frame{Protocol: frame.IM, Message: m, ID: m.FrameID(), ContentID: m.ContentID(), Proofs: []frame.Proof{{Signature: signature, Key: key}}}
		placed[i] = &index.Placed{State: index.Confirmed, Height: height,
			Tx: &index.Transaction{ID: frame.HashOf(f.ID[:]), Index: uint32(i), Outputs: []frame.KeyHash{to, from},
				Amounts: []index.Amount{{Output: 1, Satoshis: 1}, {Output: 2, Satoshis: 100_000}}, InputKeys: [][]byte{key},
				Spends: []index.Outpoint{{TxID: frame.HashOf(key)}}, Frames: []*index.Frame{f}},
			Decisions: []index.Decision{{Verdict: frame.Valid, Address: &from, Keys: [][]byte{key}}}}
	}
	return placed
}

// Connect puts a block with transactions, and the events of both.
func Connect(tx index.Tx, height int32, placed []*index.Placed) error {
	b := &index.Block{Height: height, Hash: frame.HashOf(fmt.Append(nil, height))}
	if err := tx.PutBlock(b, [32]byte{}); err != nil {
		return err
	}
	lists, err := tx.Save(placed)
	if err != nil {
		return err
	}
	events := []*index.Event{{Kind: index.EventConnected, Height: height, Block: b.Hash}}
	for _, list := range lists {
		events = append(events, &index.Event{Kind: "message.confirmed", Height: height, Block: b.Hash, Verdict: frame.Valid, Arrival: list[0]})
	}
	return tx.AppendEvents(events)
}

// NeedOf returns what judging transactions like those of [Batch] reads.
func NeedOf(placed []*index.Placed) (n index.Need, txids []frame.Hash) {
	for _, p := range placed {
		f := p.Tx.Frames[0]
		n.FrameIDs, n.ContentIDs = append(n.FrameIDs, f.ID), append(n.ContentIDs, f.ContentID)
		txids = append(txids, p.Tx.ID)
	}
	return n, txids
}

// A filler opens a store with blocks of 1,000 messages.
type filler func(b *testing.B, blocks int32) index.Store

// fill puts blocks of 1,000 messages.
func fill(b *testing.B, s index.Store, blocks int32) index.Store {
	b.Helper()
	for h := range blocks {
		if err := s.Update(context.Background(), func(tx index.Tx) error { return Connect(tx, h, Batch(h, 1_000)) }); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// benchBlock saves a block of 1,000 messages and their events in one
// transaction, on top of 50,000 others.
func benchBlock(b *testing.B, filled filler) {
	s := filled(b, 50)
	for height := int32(50); b.Loop(); height++ {
		b.StopTimer()
		placed := Batch(height, 1_000)
		b.StartTimer()
		if err := s.Update(context.Background(), func(tx index.Tx) error { return Connect(tx, height, placed) }); err != nil {
			b.Fatal(err)
		}
	}
}

// benchSave saves 1,000 unconfirmed messages in one transaction.
func benchSave(b *testing.B, filled filler) {
	s := filled(b, 1)
	for height := int32(1); b.Loop(); height++ {
		b.StopTimer()
		placed := Batch(height, 1_000)
		for _, p := range placed {
			p.State, p.Height = index.Seen, -1
		}
		b.StartTimer()
		if err := s.Update(context.Background(), func(tx index.Tx) error { _, err := tx.Save(placed); return err }); err != nil {
			b.Fatal(err)
		}
	}
}

// benchConfirm confirms 1,000 messages that were seen, and undoes it.
func benchConfirm(b *testing.B, filled filler) {
	s := filled(b, 50)
	for b.Loop() {
		err := s.Update(context.Background(), func(tx index.Tx) error {
			saved, err := tx.AtHeight(49)
			if err != nil {
				return err
			}
			for _, state := range []index.State{index.Seen, index.Confirmed} {
				placed := make([]*index.Placed, len(saved))
				for i, n := range saved {
					t := *n.Entries[0].Tx
					t.Frames = []*index.Frame{n.Entries[0].Frame}
					placed[i] = &index.Placed{Row: n.Row, Tx: &t, State: state, Height: -1, Decisions: []index.Decision{n.Entries[0].Decision}}
					if state == index.Confirmed {
						placed[i].Height = 49
					}
				}
				if _, err := tx.Save(placed); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// benchFacts reads what judging a block of 1,000 messages needs.
func benchFacts(b *testing.B, filled filler) {
	s := filled(b, 50)
	n, txids := NeedOf(Batch(50, 1_000))
	for b.Loop() {
		err := s.Update(context.Background(), func(tx index.Tx) error {
			if _, err := tx.Facts(n); err != nil {
				return err
			}
			_, err := tx.Lookup(txids)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// benchInbox reads the newest 50 messages of an address with 500.
func benchInbox(b *testing.B, filled filler) {
	s := filled(b, 50)
	sender := Batch(0, 1)[0].Decisions[0].Address
	for b.Loop() {
		if err := readInbox(s, sender); err != nil {
			b.Fatal(err)
		}
	}
}

// benchInboxes is benchInbox from several goroutines.
func benchInboxes(b *testing.B, filled filler) {
	s := filled(b, 50)
	sender := Batch(0, 1)[0].Decisions[0].Address
	b.SetParallelism(4)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := readInbox(s, sender); err != nil {
				b.Error(err)
			}
		}
	})
}

func readInbox(s index.Store, of *frame.KeyHash) error {
	return s.View(context.Background(), func(v index.View) error {
		list, err := v.Entries(index.EntryQuery{Address: of, Limit: 50, Newest: true})
		if err == nil && len(list) != 50 {
			return fmt.Errorf("got %d entries, want 50", len(list))
		}
		return err
	})
}

// benchEvents reads 100 events in the middle of the log.
func benchEvents(b *testing.B, filled filler) {
	s := filled(b, 50)
	for b.Loop() {
		err := s.View(context.Background(), func(v index.View) error {
			list, err := v.Events(index.EventQuery{After: 25_000, Limit: 100})
			if err == nil && len(list) != 100 {
				b.Fatalf("got %d", len(list))
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// benchHistory reads all 7,500 events of an address that every other message of
// 5,000 is for, each seen by itself, 50 at a time.
func benchHistory(b *testing.B, filled filler) {
	s := filled(b, 0)
	var to frame.KeyHash
	copy(to[:], "busy")
	const messages = 5_000
	err := s.Update(context.Background(), func(tx index.Tx) error {
		placed := Batch(0, messages)
		for i := 0; i < messages; i += 2 {
			placed[i].Tx.Outputs[0] = to
		}
		if err := Connect(tx, 0, placed); err != nil {
			return err
		}
		var told []*index.Event
		for i := range int64(2 * messages) { // told in turn, so that none are alike
			told = append(told, &index.Event{Kind: index.KindOf(frame.IM, index.EventSeen), Height: int32(i % 7), Verdict: frame.Valid, Arrival: i%messages + 1})
		}
		return tx.AppendEvents(told)
	})
	if err != nil {
		b.Fatal(err)
	}
	q := index.EventQuery{Addresses: []frame.KeyHash{to}}
	for b.Loop() {
		err := s.View(context.Background(), func(v index.View) error {
			q.Limit, q.Among = 10_000, nil
			seqs, ok, err := v.Seqs(q)
			if err != nil || !ok || len(seqs) != messages*3/2 {
				return fmt.Errorf("got %d events, %v, %v", len(seqs), ok, err)
			}
			for q.Limit = 50; len(seqs) > 0 && err == nil; seqs = seqs[len(q.Among):] {
				q.Among = seqs[:min(len(seqs), q.Limit)]
				_, err = v.Events(q)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/(messages*3/2), "us/event")
}

// benchFound asks for what one finds of an address that has received 100,000 of
// 100,000 messages, from 100 others.
func benchFound(b *testing.B, filled filler) {
	s := filled(b, 0)
	var to frame.KeyHash
	copy(to[:], "busy")
	for h := range int32(100) {
		placed := Batch(h, 1_000)
		for _, p := range placed {
			p.Tx.Outputs[0] = to
		}
		if err := s.Update(context.Background(), func(tx index.Tx) error { return Connect(tx, h, placed) }); err != nil {
			b.Fatal(err)
		}
	}
	words := func(newest bool, words ...string) func(index.View) error {
		return func(v index.View) error {
			_, err := v.Entries(index.EntryQuery{Address: &to, Words: words, Newest: newest, Limit: 50})
			return err
		}
	}
	for _, c := range []struct {
		name string
		ask  func(index.View) error
	}{
		{"conversations", func(v index.View) error {
			_, err := v.Conversations(index.ConversationQuery{Address: to, Limit: 50})
			return err
		}},
		{"coins", func(v index.View) error { _, err := v.Coins(index.CoinQuery{Address: to, Limit: 50}); return err }},
		{"words of many", words(true, "77")},
		{"words of many, oldest first", words(false, "77")},
		{"words of one", words(true, "77", "777")},
		{"words of none", words(true, "absent")},
		{"beginnings of many words", words(true, "77*")},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := s.View(context.Background(), c.ask); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
