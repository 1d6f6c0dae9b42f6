package sqlite

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/nprotocol"
)

// keyOf makes a public key and its address from a word. Nothing is signed by it:
// the store doesn't look.
func keyOf(word string) ([]byte, frame.KeyHash) {
	seed := frame.IDOf([]byte(word))
	key := append([]byte{2}, seed[:]...)
	return key, frame.HashKey(key)
}

func addressOf(word string) frame.KeyHash {
	_, h := keyOf(word)
	return h
}

// said makes a message with a time.
func said(from, body string, time uint64) *index.Frame {
	key, address := keyOf(from)
	m := &improtocol.Message{Source: frame.Regtest.Address(address), Type: improtocol.Text, Encryption: improtocol.Plain, Body: []byte(body), Signature: make([]byte, 65)}
	m.Signature[0] = 31
	m.SetTime(time)
	return &index.Frame{Protocol: frame.IM, Message: m, ID: m.FrameID(), ContentID: m.ContentID(), Proofs: []frame.Proof{rows.Prove(m.Signature, key)}}
}

// recorded makes a record by those who sign it.
func recorded(r nprotocol.Record, time uint64, by ...string) *index.Frame {
	r.Address, r.TimeStamp = addressOf(by[0]), strconv.FormatUint(time, 10)
	f := &index.Frame{Protocol: r.Protocol, Record: &r}
	for _, word := range by {
		key, _ := keyOf(word)
		signature := append(make([]byte, 0, 65), key...)[:65]
		signature[0] = 31
		r.Signatures = append(r.Signatures, signature)
		f.Proofs = append(f.Proofs, rows.Prove(signature, key))
	}
	f.ID = frame.IDOf(r.Preimage(frame.Regtest))
	return f
}

// at places a valid frame in a block at height 0, in a transaction that pays.
func at(place uint32, f *index.Frame, by []string, to ...string) *index.Placed {
	d := index.Decision{Verdict: frame.Valid}
	for i, word := range by {
		key, address := keyOf(word)
		if d.Keys = append(d.Keys, key); i == 0 {
			d.Address = &address
		}
	}
	tx := &index.Transaction{ID: frame.HashOf(fmt.Append(nil, "tx ", place)), Index: place, Frames: []*index.Frame{f}}
	for _, word := range to {
		tx.Outputs = append(tx.Outputs, addressOf(word))
	}
	return &index.Placed{State: index.Confirmed, Height: 0, Tx: tx, Decisions: []index.Decision{d}}
}

// Whoever makes two things of one key has nothing from it: what is found by a key
// is compared whole. Of each pair below the first has the key of the second, and
// comes first in the index.
func TestKeysCollide(t *testing.T) {
	first, second := said("anna", "one", 100), said("bert", "two", 50)
	firstName := recorded(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: "one"}, 100, "anna")
	secondName := recorded(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: "two"}, 50, "bert")
	firstPeer := recorded(nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Register, IP: "::1"}, 100, "anna")
	secondPeer := recorded(nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Register, IP: "::2"}, 50, "bert")
	firstGift := recorded(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: "one", NewAddress: addressOf("dora")}, 110, "anna", "dora")
	secondGift := recorded(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: "two", NewAddress: addressOf("emil")}, 60, "bert", "emil")
	placed := []*index.Placed{
		at(0, first, []string{"anna"}, "carl", "fred", "gina"), at(1, second, []string{"bert"}, "hans", "ida", "jens"),
		at(2, firstName, []string{"anna"}), at(3, secondName, []string{"bert"}),
		at(4, firstPeer, []string{"anna"}), at(5, secondPeer, []string{"bert"}),
		at(6, firstGift, []string{"anna", "dora"}), at(7, secondGift, []string{"bert", "emil"}),
	}
	bert, bertKey := addressOf("bert"), func() []byte { key, _ := keyOf("bert"); return key }()
	hans, ida := addressOf("hans"), addressOf("ida")
	list := func(q index.EntryQuery) func(*tx) (any, error) {
		return func(t *tx) (any, error) { q.Limit = 9; return arrivals(t.Entries(q)) }
	}
	events := func(h frame.KeyHash, run func(*asking) error) func(*tx) (any, error) {
		return func(t *tx) (any, error) {
			a := &asking{view: &t.view, q: index.EventQuery{Addresses: []frame.KeyHash{h}, Upto: 99, Limit: 99},
				addresses: map[frame.KeyHash]bool{h: true}, former: map[int64]bool{}}
			err := run(a)
			var about []int64
			for _, e := range a.found {
				about = append(about, e.Arrival)
			}
			if err == errEnough {
				err = nil
			}
			return about, err
		}
	}
	talks := func(h frame.KeyHash) func(*tx) (any, error) {
		return func(t *tx) (any, error) {
			talks, err := t.Conversations(index.ConversationQuery{Address: h, Limit: 9})
			var list []string
			for _, c := range talks {
				for _, word := range []string{"anna", "bert", "carl", "fred", "gina", "hans", "ida", "jens"} {
					if addressOf(word) == c.Peer {
						list = append(list, fmt.Sprint(word, " ", c.Sent, " ", c.Received))
					}
				}
			}
			slices.Sort(list)
			return strings.Join(list, ", "), err
		}
	}
	records := func(names []string, peers []nprotocol.PeerKey) func(*tx) (any, error) {
		return func(t *tx) (any, error) {
			var list []string
			err := t.ValidRecords(names, peers, func(r *nprotocol.Record, at nprotocol.Moment) error {
				list = append(list, fmt.Sprint(r.Name, r.IP, " ", at.Index))
				return nil
			})
			return strings.Join(list, ", "), err
		}
	}
	const oneKey = `UPDATE frames SET %[1]s = (SELECT %[1]s FROM frames WHERE id = %[3]d) WHERE id = %[2]d`
	setKey := func(column string, key int64) string {
		return fmt.Sprintf(`UPDATE frames SET %s = %d WHERE id = 1`, column, key)
	}
	others := fmt.Sprintf(`UPDATE parties SET key = %d WHERE key = %d`, rows.AddressKey(ida), rows.AddressKey(addressOf("fred")))
	absent := said("anna", "absent", 70)
	for _, c := range []struct {
		name, column string   // or the whole statement
		rows         [2]int64 // the second's key goes to the first
		ask          func(*tx) (any, error)
		want         any
	}{
		{"a frame id's occurrences", "frame_key", [2]int64{1, 2}, func(t *tx) (any, error) { return arrivals(t.Occurrences(second.ID)) }, []int64{2}},
		{"an id that isn't there", setKey("frame_key", rows.KeyOf(absent.ID)), [2]int64{}, func(t *tx) (any, error) {
			f, err := t.Facts(index.Need{FrameIDs: []frame.ID{absent.ID}})
			return len(f.Valid), err
		}, 0},
		{"a message that isn't a copy", setKey("frame_key", rows.KeyOf(absent.ID)), [2]int64{}, func(t *tx) (any, error) {
			_, err := t.Save([]*index.Placed{at(8, absent, []string{"anna"})})
			list, err2 := t.Entries(index.EntryQuery{Limit: 9, After: 8})
			if err := errors.Join(err, err2); err != nil || len(list) != 1 {
				return list, err
			}
			return list[0].ID, nil
		}, absent.ID},
		{"a content's time", "content_key", [2]int64{1, 2}, func(t *tx) (any, error) {
			f, err := t.Facts(index.Need{ContentIDs: []frame.ID{second.ContentID}})
			return f.Contents, err
		}, map[frame.ID]uint64{second.ContentID: 50}},
		{"a name's time", "content_key", [2]int64{3, 4}, func(t *tx) (any, error) {
			f, err := t.Facts(index.Need{Subjects: []nprotocol.Subject{secondName.Record.Subject()}})
			return f.Ledger.TimeStamps[secondName.Record.Subject()], err
		}, uint64(60)},
		{"a peer's time", "content_key", [2]int64{5, 6}, func(t *tx) (any, error) {
			f, err := t.Facts(index.Need{Subjects: []nprotocol.Subject{secondPeer.Record.Subject()}})
			return f.Ledger.TimeStamps[secondPeer.Record.Subject()], err
		}, uint64(50)},
		{"a peer's records", "content_key", [2]int64{5, 6}, records(nil, []nprotocol.PeerKey{{Address: bert, IP: "::2"}}), "::2 5"},
		{"a name's records", "name_key", [2]int64{3, 4}, records([]string{"two"}, nil), "two 3, two 7"},
		{"a name's frames", "name_key", [2]int64{7, 8}, func(t *tx) (any, error) { return arrivals(t.NameEntries("two", 2)) }, []int64{4, 8}},
		{"a transaction's frames", "tx_key", [2]int64{1, 2}, func(t *tx) (any, error) { return arrivals(t.InTransaction(placed[1].Tx.ID)) }, []int64{2}},
		{"a transaction looked up", "tx_key", [2]int64{1, 2}, func(t *tx) (any, error) {
			saved, err := t.Lookup([]frame.Hash{placed[1].Tx.ID})
			return saved[placed[1].Tx.ID].Row, err
		}, int64(2)},
		{"who sent", "address_key", [2]int64{1, 2}, list(index.EntryQuery{Address: &bert}), []int64{2}},
		{"a key proved", "address_key", [2]int64{1, 2}, func(t *tx) (any, error) { return t.PublicKey(bert) }, bertKey},
		{"whom it reaches", "to_key", [2]int64{1, 2}, list(index.EntryQuery{Address: &hans}), []int64{2}},
		{"a conversation", "to_key", [2]int64{1, 2}, list(index.EntryQuery{Address: &hans, Peer: &bert}), []int64{2}},
		{"a key proved by whom a name goes to", "to_key", [2]int64{7, 8}, func(t *tx) (any, error) { return t.PublicKey(addressOf("emil")) }, func() any { key, _ := keyOf("emil"); return key }()},
		{"conversations of who sent", "address_key", [2]int64{1, 2}, talks(bert), "hans 1 0, ida 1 0, jens 1 0"},
		{"conversations of whom it reaches", "to_key", [2]int64{1, 2}, talks(hans), "bert 0 1"},
		{"conversations of whom it reaches beside", others, [2]int64{}, talks(ida), "bert 0 1"},
		{"events of who sent, read through", "address_key", [2]int64{1, 2}, events(bert, (*asking).readThrough), []int64{2, 4, 6, 8}},
		{"events of who sent", "address_key", [2]int64{1, 2}, events(bert, (*asking).readAmong), []int64{2, 4, 6, 8}},
		{"events of whom it reaches", "to_key", [2]int64{1, 2}, events(hans, (*asking).readAmong), []int64{2}},
		{"events of whom a name goes to", "to_key", [2]int64{7, 8}, events(addressOf("emil"), (*asking).readAmong), []int64{8}},
		{"whom it reaches beside", others, [2]int64{}, list(index.EntryQuery{Address: &ida}), []int64{2}},
		{"events of whom it reaches beside", others, [2]int64{}, events(ida, (*asking).readAmong), []int64{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openAt(t, filepath.Join(t.TempDir(), "index.db"))
			defer s.Close()
			err := s.Update(t.Context(), func(u index.Tx) error {
				w := u.(*tx)
				for _, p := range placed {
					p.Row = 0
				}
				lists, err := w.Save(placed)
				var told []*index.Event
				for _, list := range lists {
					told = append(told, &index.Event{Kind: "message.confirmed", Height: 0, Verdict: frame.Valid, Arrival: list[0]})
				}
				statement := c.column
				if c.rows[0] != 0 {
					statement = fmt.Sprintf(oneKey, c.column, c.rows[0], c.rows[1])
				}
				err = errors.Join(err, w.PutBlock(&index.Block{}, [32]byte{}), w.AppendEvents(told), w.run(statement))
				if err != nil {
					return err
				}
				if w.db.Changes() != 1 {
					t.Errorf("%s: %d rows were changed, want 1", statement, w.db.Changes())
				}
				got, err := c.ask(w)
				if err == nil && !reflect.DeepEqual(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func arrivals(list []*index.Entry, err error) ([]int64, error) {
	got := make([]int64, 0, len(list))
	for _, e := range list {
		got = append(got, e.Arrival)
	}
	return got, err
}
