package rows

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// A maker makes transactions of every shape.
type maker struct{ *rand.Rand }

func (m maker) bytes(most int) []byte {
	b := make([]byte, m.IntN(most+1))
	for i := range b {
		b[i] = byte(m.IntN(256))
	}
	return b
}

func (m maker) key() frame.PrivateKey {
	k := frame.PrivateKey{Uncompressed: m.IntN(8) == 0}
	k.Scalar[31] = byte(1 + m.IntN(4))
	return k
}

func pick[T any](m maker, list ...T) T { return list[m.IntN(len(list))] }

func (m maker) signature(preimage []byte, key frame.PrivateKey) []byte {
	switch m.IntN(6) {
	case 0:
		return nil
	case 1:
		return m.bytes(120)
	case 2:
		return []byte(strings.Repeat("A", 86) + "==") // 64 bytes: not compact
	case 3:
		return []byte(strings.TrimSuffix(string(key.Sign(preimage)), "=") + "\n")
	}
	return key.Sign(preimage)
}

func (m maker) timeStamp() string {
	return pick(m, "1700000000123", "0", "18446744073709551615", "9223372036854775808", "007", "soon", "", "-1", fmt.Sprint(m.Uint64()))
}

func (m maker) frame(key frame.PrivateKey) *index.Frame {
	switch m.IntN(6) {
	case 0:
		return &index.Frame{Protocol: pick(m, frame.IM, frame.N, frame.P), Malformed: "malformed: " + string(m.bytes(9))}
	case 1:
		return m.record(key)
	}
	source := pick(m, frame.Regtest.Address(key.KeyHash()), frame.Main.Address(key.KeyHash()), "alice", "", frame.Regtest.Address(frame.KeyHash{1}))
	msg := &improtocol.Message{Source: source, Type: pick(m, "text", "image", "x/y", ""), Encryption: pick(m, "plain", "ECC", "?"),
		Body: m.bytes(pick(m, 10, 2*ShortBody)), Other: pick(m, "", "re=1", string(m.bytes(200))), TimeStamp: m.timeStamp()}
	msg.Signature = Present(m.signature(msg.Preimage(), key))
	return &index.Frame{Protocol: frame.IM, Message: msg, ID: msg.FrameID(), ContentID: msg.ContentID(),
		Proofs: []frame.Proof{frame.Prove(msg.Preimage(), msg.Signature)}}
}

func (m maker) record(key frame.PrivateKey) *index.Frame {
	r := &nprotocol.Record{Protocol: frame.N, Operation: pick(m, nprotocol.Register, nprotocol.Delete, nprotocol.Transfer), Name: "alice",
		Address: key.KeyHash(), Other: string(m.bytes(20)), TimeStamp: m.timeStamp()}
	if m.IntN(2) == 0 {
		r.Protocol, r.Name, r.IP, r.Operation = frame.P, "", "10.0.0.1:80", pick(m, nprotocol.Register, nprotocol.Delete)
	}
	f := &index.Frame{Protocol: r.Protocol, Record: r}
	if r.Operation == nprotocol.Transfer {
		r.NewAddress = m.key().KeyHash()
	}
	preimage := r.Preimage(frame.Regtest)
	f.ID = frame.IDOf(preimage)
	for range r.Signers() {
		s := Present(m.signature(preimage, key))
		r.Signatures, f.Proofs = append(r.Signatures, s), append(f.Proofs, frame.Prove(preimage, s))
	}
	return f
}

func (m maker) decision(f *index.Frame) index.Decision {
	d := index.Decision{Verdict: pick(m, frame.Verdicts...)}
	address, keys := told(f, &hasher{})
	switch m.IntN(4) {
	case 0:
		h := frame.KeyHash(bytes.Repeat([]byte{byte(m.IntN(256))}, 20))
		d.Address = &h
	case 1:
	default:
		d.Address, d.Keys = address, keys
	}
	return d
}

func (m maker) placed() *index.Placed {
	key := m.key()
	tx := &index.Transaction{ID: frame.HashOf(m.bytes(30)), Coinbase: m.IntN(9) == 0, Index: pick[uint32](m, 0, 1, 1<<31, 1<<32-1)}
	for range m.IntN(4) {
		tx.InputKeys = append(tx.InputKeys, pick(m, key.PublicKey(), append([]byte{9}, m.bytes(254)...)))
	}
	for range m.IntN(4) {
		tx.Outputs = append(tx.Outputs, pick(m, key.KeyHash(), frame.KeyHash{7}, frame.KeyHash{byte(m.IntN(256))}))
	}
	for range tx.Outputs {
		tx.Amounts = append(tx.Amounts, index.Amount{Output: pick[uint32](m, 0, 300, 1<<32-1), Satoshis: pick[uint64](m, 0, 546, 1<<64-1)})
	}
	if m.IntN(4) == 0 {
		tx.Amounts = nil // not known
	}
	for range m.IntN(3) {
		tx.Spends = append(tx.Spends, index.Outpoint{TxID: frame.HashOf(m.bytes(3)), Output: m.Uint32()})
	}
	p := &index.Placed{Tx: tx, State: pick(m, index.Seen, index.Confirmed, index.Dropped), Height: -1}
	if p.State == index.Confirmed {
		p.Height = m.Int32N(1 << 30)
	}
	for range 1 + m.IntN(4) {
		f := m.frame(key)
		f.Output = pick[uint32](m, 0, 300, 1<<32-1)
		tx.Frames, p.Decisions = append(tx.Frames, f), append(p.Decisions, m.decision(f))
	}
	return p
}

// want is what is to be read back of a transaction.
func want(p *index.Placed, arrivals []int64) []*index.Entry {
	tx := *p.Tx
	tx.Frames = nil
	if p.State != index.Confirmed {
		tx.Index = 0
	}
	list := make([]*index.Entry, len(arrivals))
	for i, f := range p.Tx.Frames {
		list[i] = &index.Entry{Arrival: arrivals[i], State: p.State, Height: p.Height, Tx: &tx, Frame: f, Decision: p.Decisions[i]}
	}
	return list
}

// Whatever is packed is read back, with bodies, and without those that judging
// again can do without.
func TestRows(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(3, 4))}
	last := int64(41)
	for n := range 5_000 {
		p := m.placed()
		save, err := Gather([]*index.Placed{p}, &last)
		if err != nil {
			t.Fatal(err)
		}
		var whole, light []*Found
		for i := range save.Frames {
			row := RowOf(&save.Frames[i])
			f, err := Unpack(&row)
			if err != nil {
				t.Fatalf("%d, frame %d: %v", n, i, err)
			}
			if output, lead, err := ReadHead(row.Data[:min(HeadBytes, len(row.Data))]); err != nil || output != f.Output || lead != (i == 0) {
				t.Fatalf("%d, frame %d: the head says output %d, lead %v, %v", n, i, output, lead, err)
			}
			whole = append(whole, f)
			if len(row.Body) > ShortBody && row.Kind&NeedsBody == 0 {
				row.Body = nil
			}
			if f, err = Unpack(&row); err != nil {
				t.Fatalf("%d, frame %d without its body: %v", n, i, err)
			}
			light = append(light, f)
		}
		none := func([]int64) ([]*Found, error) { return nil, errors.New("no lead is missing") }
		if err := errors.Join(Join(whole, none), Join(light, none)); err != nil {
			t.Fatal(err)
		}
		for i, w := range want(p, save.Arrivals[0]) {
			if got := whole[i].Entry; !reflect.DeepEqual(got, w) {
				t.Fatalf("%d, frame %d:\n got %+v %+v %+v\nwant %+v %+v %+v", n, i, got, got.Frame, got.Tx, w, w.Frame, w.Tx)
			}
			if got := light[i]; got.ID != w.ID || got.ContentID != w.ContentID {
				t.Fatalf("%d, frame %d without its body: got ids %s and %s, want %s and %s", n, i, got.ID, got.ContentID, w.ID, w.ContentID)
			}
		}
		if whole[0].Lead != p.Row || whole[0].Frames != int64(len(p.Tx.Frames)) {
			t.Fatalf("%d: got lead %d with %d frames, want %d with %d", n, whole[0].Lead, whole[0].Frames, p.Row, len(p.Tx.Frames))
		}
	}
}

// A new decision on a frame that is given without its proofs is read back too.
func TestDecideBare(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(5, 6))}
	for n := range 2_000 {
		last := int64(0)
		p := m.placed()
		save, _ := Gather([]*index.Placed{p}, &last)
		row := RowOf(&save.Frames[0])
		bare := *p.Tx.Frames[0]
		bare.Proofs = nil
		d := m.decision(p.Tx.Frames[0])
		row.Decide(&bare, &d)
		f, err := Unpack(&row)
		if err != nil || !reflect.DeepEqual(f.Decision, d) {
			t.Fatalf("%d: got %+v, %v, want %+v", n, f, err, d)
		}
	}
}

// Join reads the leads that are missing, and says when there is none.
func TestJoin(t *testing.T) {
	tx := &index.Transaction{Index: 5}
	found := func(arrival, lead int64, tx *index.Transaction) *Found {
		return &Found{Entry: &index.Entry{Arrival: arrival, Tx: tx}, Lead: lead}
	}
	list := []*Found{found(8, 7, nil), found(9, 7, nil)}
	var asked []int64
	err := Join(list, func(leads []int64) ([]*Found, error) {
		asked = leads
		return []*Found{found(7, 7, tx)}, nil
	})
	if err != nil || !reflect.DeepEqual(asked, []int64{7}) || list[0].Tx != tx || list[1].Tx != tx {
		t.Errorf("got %v, asked for %v, transactions %p and %p, want %p", err, asked, list[0].Tx, list[1].Tx, tx)
	}
	err = Join([]*Found{found(8, 7, nil)}, func([]int64) ([]*Found, error) { return nil, nil })
	if corrupt := (*CorruptError)(nil); !errors.As(err, &corrupt) {
		t.Errorf("a lead that isn't there: got %v, want a CorruptError", err)
	}
}

// What a damaged database gives is refused or read as something else, never read
// past its end.
func FuzzUnpack(f *testing.F) {
	m := maker{rand.New(rand.NewPCG(7, 8))}
	for range 50 {
		last := int64(0)
		save, _ := Gather([]*index.Placed{m.placed()}, &last)
		for i := range save.Frames {
			r := RowOf(&save.Frames[i])
			f.Add(r.Data, r.Decided, r.Body, r.Kind, r.Height, r.Verdict)
		}
	}
	f.Fuzz(func(t *testing.T, data, decided, body []byte, kind, height int32, verdict int16) {
		r := Row{Arrival: 9, Data: data, Decided: decided, Body: body, Kind: kind, Height: height, Verdict: verdict}
		found, err := Unpack(&r)
		var corrupt *CorruptError
		switch {
		case err != nil && !errors.As(err, &corrupt):
			t.Errorf("got %v, want a CorruptError", err)
		case err == nil && (found.Lead < 1 || found.Lead > 9 || found.Frame == nil):
			t.Errorf("got %+v", found)
		}
	})
}
