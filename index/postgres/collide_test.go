package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/index/indextest"
	"github.com/metaim/metaim/index/rows"
	"github.com/metaim/metaim/internal/testpg"
	"github.com/metaim/metaim/nprotocol"
)

// The statements have numbers of package rows in them.
func TestNumbers(t *testing.T) {
	for name, c := range map[string][2]int64{
		"valid": {int64(rows.Valid), 11}, "duplicate": {int64(rows.Duplicate), 7}, "short body": {rows.ShortBody, 512},
		"needs body": {int64(rows.NeedsBody), 16}, "run": {rows.MostRun, 256}, "head": {rows.HeadBytes, 6},
		"seen": {rows.SeenHeight, -1}, "dropped": {rows.DroppedHeight, -2},
		"protocol and operation": {int64(rows.ProtocolMask | rows.OperationOf), 15}, "transfer": {int64(rows.KindTransfer), 12},
		"type and protocol": {int64(rows.TypeMask | rows.ProtocolMask), 16776963}, "came before": {int64(rows.Again), 32}, "reaches several": {int64(rows.Many), 64},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: got %d, but %d is in the statements", name, c[0], c[1])
		}
	}
}

// A crowd is an index in which things can be given the keys of others.
type crowd struct {
	message          *index.Frame
	txid             frame.Hash
	from, to, beside frame.KeyHash // of message's source and of whom it reaches
	name             string
	holder, heir     frame.KeyHash // of the name: the heir by a transfer
	peer             nprotocol.PeerKey
}

func recordOf(protocol frame.Protocol, operation nprotocol.Operation, text string, time int, holder, heir frame.KeyHash) (*index.Frame, index.Decision) {
	r := &nprotocol.Record{Protocol: protocol, Operation: operation, Address: holder, NewAddress: heir, TimeStamp: fmt.Sprint(time), Signatures: [][]byte{{}}}
	d := index.Decision{Verdict: frame.Valid, Address: &holder, Keys: [][]byte{fmt.Append(nil, "key of ", holder)}}
	if protocol == frame.P {
		r.IP = text
	} else {
		r.Name = text
	}
	if operation == nprotocol.Transfer {
		r.Signatures, d.Keys = append(r.Signatures, []byte{}), append(d.Keys, fmt.Append(nil, "key of ", heir))
	}
	f := &index.Frame{Protocol: protocol, Record: r, ID: frame.IDOf(fmt.Append(nil, protocol, operation, text, time, holder)), Proofs: make([]frame.Proof, len(r.Signatures))}
	return f, d
}

// newCrowd fills a store: around the message, the name and the peer that are asked
// for there are others, earlier and later ones, and copies.
func newCrowd(t *testing.T, s *Store) *crowd {
	t.Helper()
	placed := indextest.Batch(0, 300)
	p := placed[150]
	c := &crowd{message: p.Tx.Frames[0], txid: p.Tx.ID, from: *p.Decisions[0].Address, to: p.Tx.Outputs[0], beside: frame.KeyHash{1, 2, 3}}
	for i, p := range placed { // a second recipient, before the change
		beside := frame.KeyHash{9, byte(i), byte(i >> 8)}
		if i%50 == 0 {
			beside = c.beside
		}
		p.Tx.Outputs, p.Tx.Amounts = []frame.KeyHash{p.Tx.Outputs[0], beside, p.Tx.Outputs[1]}, nil
	}
	c.name, c.holder, c.heir, c.peer = "sought", frame.KeyHash{5}, frame.KeyHash{6}, nprotocol.PeerKey{Address: frame.KeyHash{7}, IP: "::7"}
	for i := range 30 { // records, some of them of what is asked for
		name, ip, holder, heir, address := fmt.Sprint("name ", i), fmt.Sprint("::", 100+i), frame.KeyHash{50, byte(i)}, frame.KeyHash{60, byte(i)}, frame.KeyHash{70, byte(i)}
		if i%10 == 5 {
			name, ip, holder, heir, address = c.name, c.peer.IP, c.holder, c.heir, c.peer.Address
		}
		n, nd := recordOf(frame.N, nprotocol.Register, name, 1_000+i, holder, frame.KeyHash{})
		m, md := recordOf(frame.N, nprotocol.Transfer, name, 2_000+i, holder, heir)
		o, od := recordOf(frame.P, nprotocol.Register, ip, 3_000+i, address, frame.KeyHash{})
		tx := *placed[i].Tx
		tx.ID, tx.Frames, tx.Index = frame.HashOf(fmt.Append(nil, "records ", i)), []*index.Frame{m, n, o}, uint32(1_000+i)
		placed = append(placed, &index.Placed{State: index.Confirmed, Tx: &tx, Decisions: []index.Decision{md, nd, od}})
	}
	for i, at := range []int{149, 150, 150, 151} { // copies, and the same said again later
		again := *placed[at].Tx
		m := *placed[at].Tx.Frames[0].Message
		m.SetTime(uint64(500_000 + 100*i))
		later := &index.Frame{Protocol: frame.IM, Message: &m, ID: m.FrameID(), ContentID: m.ContentID(), Proofs: placed[at].Tx.Frames[0].Proofs}
		again.ID, again.Index, again.Frames = frame.HashOf(fmt.Append(nil, "again ", i)), uint32(2_000+i), []*index.Frame{later}
		decisions := []index.Decision{placed[at].Decisions[0]}
		if at == 150 {
			d := placed[at].Decisions[0]
			d.Verdict = frame.Duplicate
			again.Frames, decisions = append(again.Frames, placed[at].Tx.Frames[0]), append(decisions, d)
		}
		placed = append(placed, &index.Placed{State: index.Confirmed, Tx: &again, Decisions: decisions})
	}
	err := s.Update(t.Context(), func(tx index.Tx) error { return indextest.Connect(tx, 0, placed) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Whatever else has the key of what is asked for, the answers are the same.
func TestCollisions(t *testing.T) {
	type asked func(tx index.Tx, c *crowd) (string, error)
	join := func(list ...asked) asked {
		return func(tx index.Tx, c *crowd) (all string, err error) {
			for _, one := range list {
				s, failed := one(tx, c)
				if s == "" {
					failed = errors.Join(failed, errors.New("an empty answer"))
				}
				all, err = all+s+"\n", errors.Join(err, failed)
			}
			return all, err
		}
	}
	facts := func(need func(c *crowd) index.Need) asked {
		return func(tx index.Tx, c *crowd) (string, error) {
			f, err := tx.Facts(need(c))
			if err != nil || len(f.Valid)+len(f.Contents)+len(f.Keys)+len(f.Ledger.TimeStamps) == 0 {
				return "", err
			}
			return fmt.Sprint(f.Valid, f.Contents, f.Keys, f.Ledger.TimeStamps), nil
		}
	}
	entries := func(query func(c *crowd) index.EntryQuery) asked {
		return func(tx index.Tx, c *crowd) (s string, err error) {
			for _, newest := range []bool{false, true} {
				for _, limit := range []int{1, 2, 1_000} {
					q := query(c)
					q.Newest, q.Limit = newest, limit
					list, failed := tx.Entries(q)
					s, err = s+sumOf(list), errors.Join(err, failed)
				}
			}
			return s, err
		}
	}
	events := func(of func(c *crowd) frame.KeyHash) asked {
		return func(tx index.Tx, c *crowd) (s string, err error) {
			var list []*index.Event
			for q := (index.EventQuery{Addresses: []frame.KeyHash{of(c)}, Limit: 2}); ; {
				part, failed := tx.Events(q)
				if list, err = append(list, part...), errors.Join(err, failed); len(part) < q.Limit {
					break
				}
				q.After = part[len(part)-1].Seq
			}
			for _, e := range list {
				s += fmt.Sprint(e.Seq, " ")
			}
			return s, err
		}
	}
	from := func(c *crowd) frame.KeyHash { return c.from }
	to := func(c *crowd) frame.KeyHash { return c.to }
	beside := func(c *crowd) frame.KeyHash { return c.beside }
	of := func(who func(c *crowd) frame.KeyHash) func(c *crowd) index.EntryQuery {
		return func(c *crowd) index.EntryQuery { h := who(c); return index.EntryQuery{Address: &h} }
	}
	between := func(a, b func(c *crowd) frame.KeyHash) func(c *crowd) index.EntryQuery {
		return func(c *crowd) index.EntryQuery {
			h, p := a(c), b(c)
			return index.EntryQuery{Address: &h, Peer: &p}
		}
	}
	for _, c := range []struct {
		name   string
		column string // of frames, or of parties
		key    func(c *crowd) int64
		ask    asked
	}{
		{"frame ids", "frame_key", func(c *crowd) int64 { return rows.KeyOf(c.message.ID) }, join(
			facts(func(c *crowd) index.Need { return index.Need{FrameIDs: []frame.ID{c.message.ID}} }),
			func(tx index.Tx, c *crowd) (string, error) {
				list, err := tx.Occurrences(c.message.ID)
				return sumOf(list), err
			}, entries(of(from)), entries(of(to)), entries(between(from, to)), entries(func(*crowd) index.EntryQuery { return index.EntryQuery{} }))},
		{"contents", "content_key", func(c *crowd) int64 { return rows.KeyOf(c.message.ContentID) },
			facts(func(c *crowd) index.Need { return index.Need{ContentIDs: []frame.ID{c.message.ContentID}} })},
		{"subjects of names", "content_key", func(c *crowd) int64 {
			return rows.SubjectKey(nprotocol.Subject{Protocol: frame.N, Address: c.holder, Text: c.name})
		}, facts(func(c *crowd) index.Need {
			return index.Need{Subjects: []nprotocol.Subject{{Protocol: frame.N, Address: c.holder, Text: c.name}}}
		})},
		{"subjects of peers", "content_key", func(c *crowd) int64 {
			return rows.SubjectKey(nprotocol.Subject{Protocol: frame.P, Address: c.peer.Address, Text: c.peer.IP})
		}, join(facts(func(c *crowd) index.Need {
			return index.Need{Subjects: []nprotocol.Subject{{Protocol: frame.P, Address: c.peer.Address, Text: c.peer.IP}}}
		}), func(tx index.Tx, c *crowd) (string, error) { return validRecords(tx, nil, []nprotocol.PeerKey{c.peer}) })},
		{"sources", "address_key", func(c *crowd) int64 { return rows.AddressKey(c.from) }, join(
			facts(func(c *crowd) index.Need { return index.Need{Keys: []frame.KeyHash{c.from}} }),
			entries(of(from)), entries(between(from, to)), entries(between(from, beside)), events(from))},
		{"recipients", "to_key", func(c *crowd) int64 { return rows.AddressKey(c.to) }, join(
			entries(of(to)), entries(between(from, to)), entries(between(to, from)), events(to))},
		{"new addresses", "to_key", func(c *crowd) int64 { return rows.AddressKey(c.heir) }, join(
			facts(func(c *crowd) index.Need { return index.Need{Keys: []frame.KeyHash{c.heir}} }),
			events(func(c *crowd) frame.KeyHash { return c.heir }))},
		{"further recipients", "key", func(c *crowd) int64 { return rows.AddressKey(c.beside) }, join(
			entries(of(beside)), entries(between(from, beside)), events(beside))},
		{"names", "name_key", func(c *crowd) int64 { return rows.NameKey(c.name) }, join(
			func(tx index.Tx, c *crowd) (string, error) {
				list, err := tx.NameEntries(c.name, 4)
				return sumOf(list), err
			}, func(tx index.Tx, c *crowd) (string, error) { return validRecords(tx, []string{c.name}, nil) })},
		{"transactions", "tx_key", func(c *crowd) int64 { return rows.KeyOf(c.txid) }, join(
			func(tx index.Tx, c *crowd) (string, error) {
				list, err := tx.InTransaction(c.txid)
				return sumOf(list), err
			},
			func(tx index.Tx, c *crowd) (s string, err error) {
				saved, err := tx.Lookup([]frame.Hash{c.txid, {1}})
				for id, one := range saved {
					s += fmt.Sprint(id, one.Row, sumOf(one.Entries))
				}
				return s, err
			})},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := testpg.URL(t)
			s := openAt(t, url)
			defer s.Close()
			crowd := newCrowd(t, s)
			answer := func() (got string) {
				err := s.Update(t.Context(), func(tx index.Tx) (err error) {
					got, err = c.ask(tx, crowd)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			want := answer()
			if n := collide(t, url, c.column, c.key(crowd)); n < 20 {
				t.Fatalf("%d rows collide, want more", n)
			}
			if got := answer(); got != want {
				t.Errorf("among others of the same key: got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// collide gives all rows that have a key one and the same, and tells how many they
// are.
func collide(t *testing.T, url, column string, key int64) int64 {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	table := "frames"
	if column == "key" {
		table = "parties"
	}
	tag, err := conn.Exec(t.Context(), fmt.Sprintf(`UPDATE %[1]s SET %[2]s = $1 WHERE %[2]s NOT IN (0, $1)`, table, column), key)
	if err != nil {
		t.Fatal(err)
	}
	return tag.RowsAffected()
}

func sumOf(list []*index.Entry) string {
	var s strings.Builder
	for _, e := range list {
		fmt.Fprint(&s, e.Arrival, " ", e.ID, " ", e.Tx.ID, "; ")
	}
	return s.String()
}

func validRecords(tx index.Tx, names []string, peers []nprotocol.PeerKey) (s string, err error) {
	err = tx.ValidRecords(names, peers, func(r *nprotocol.Record, at nprotocol.Moment) error {
		s += fmt.Sprint(r.Name, r.IP, r.TimeStamp, at)
		return nil
	})
	return s, err
}

// Two addresses of one key that a transaction reaches are one row, and both are
// reached.
func TestCollidingParties(t *testing.T) {
	s := openAt(t, testpg.URL(t))
	defer s.Close()
	first, one, other := frame.KeyHash{3}, frame.KeyHash{1, 2, 3, 4, 5, 6, 7, 8, 1}, frame.KeyHash{1, 2, 3, 4, 5, 6, 7, 8, 2}
	for name, outputs := range map[string][]frame.KeyHash{"behind the first": {first, one, other}, "the first two": {one, other}} {
		t.Run(name, func(t *testing.T) {
			placed := indextest.Batch(0, 1)
			placed[0].State, placed[0].Height = index.Seen, -1
			placed[0].Tx.Outputs, placed[0].Tx.Amounts = append(outputs, placed[0].Tx.Outputs[1]), nil
			var arrivals [][]int64
			err := s.Update(t.Context(), func(tx index.Tx) (err error) {
				arrivals, err = tx.Save(placed)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			err = s.View(t.Context(), func(v index.View) error {
				for _, h := range outputs {
					list, err := v.Entries(index.EntryQuery{Address: &h, Limit: 10, After: arrivals[0][0] - 1, Repeats: true})
					if err != nil || len(list) != 1 || list[0].Arrival != arrivals[0][0] {
						t.Errorf("what reaches %x: got %s, %v, want arrival %d", h, sumOf(list), err, arrivals[0][0])
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
