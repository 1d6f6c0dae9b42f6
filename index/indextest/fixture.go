package indextest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

const network = frame.Regtest

// A person has a key and an address, both made of the name.
type person struct {
	key    frame.PrivateKey
	public []byte
	hash   frame.KeyHash
}

func who(name string) person {
	key := frame.PrivateKey{Scalar: sha256.Sum256([]byte("indextest " + name))}
	return person{key, key.PublicKey(), key.KeyHash()}
}

// stranger has an address and nothing to sign with.
func stranger(n int) person {
	return person{hash: frame.KeyHash{0xff, byte(n), byte(n >> 8)}}
}

var alice, bob, carol, dave = who("alice"), who("bob"), who("carol"), who("dave")

func proofs(preimage []byte, signatures ...[]byte) []frame.Proof {
	list := make([]frame.Proof, len(signatures))
	for i, s := range signatures {
		list[i] = frame.Prove(preimage, s)
	}
	return list
}

// read makes the frame of a message as the reader of blocks does.
func read(m *improtocol.Message) *index.Frame {
	return &index.Frame{Protocol: frame.IM, Message: m, ID: m.FrameID(), ContentID: m.ContentID(), Proofs: proofs(m.Preimage(), m.Signature)}
}

// text makes a signed message from an address.
func text(from person, body string, time uint64) *index.Frame {
	m := &improtocol.Message{Source: network.Address(from.hash), Type: improtocol.Text, Encryption: improtocol.Plain, Body: []byte(body)}
	m.SetTime(time)
	m.Sign(from.key)
	return read(m)
}

// der makes a message signed in DER, from which no key can be recovered.
func der(from person, body string, time uint64) *index.Frame {
	m := &improtocol.Message{Source: network.Address(from.hash), Type: improtocol.Text, Encryption: improtocol.Plain, Body: []byte(body)}
	m.SetTime(time)
	digest := sha256.Sum256(m.Preimage())
	signature := ecdsa.Sign(secp256k1.PrivKeyFromBytes(from.key.Scalar[:]), digest[:]).Serialize()
	m.Signature = []byte(hex.EncodeToString(signature))
	return read(m)
}

// record signs a record and makes its frame.
func record(r nprotocol.Record, time uint64, keys ...person) *index.Frame {
	r.TimeStamp = strconv.FormatUint(time, 10)
	signers := make([]frame.PrivateKey, len(keys))
	for i, k := range keys {
		signers[i] = k.key
	}
	if err := r.Sign(network, signers...); err != nil {
		panic(err)
	}
	preimage := r.Preimage(network)
	return &index.Frame{Protocol: r.Protocol, Record: &r, ID: frame.IDOf(preimage), Proofs: proofs(preimage, r.Signatures...)}
}

func register(name string, holder person, time uint64) *index.Frame {
	return record(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: name, Address: holder.hash}, time, holder)
}

func transfer(name string, from, to person, time uint64) *index.Frame {
	return record(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: name, Address: from.hash, NewAddress: to.hash}, time, from, to)
}

func peer(ip string, holder person, time uint64) *index.Frame {
	return record(nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Register, IP: ip, Address: holder.hash}, time, holder)
}

func malformed(p frame.Protocol, why string) *index.Frame {
	return &index.Frame{Protocol: p, Malformed: why}
}

// transaction makes a transaction paid for by a person, with outputs to others,
// change last. The label makes its id.
func transaction(label string, payer person, to []person, frames ...*index.Frame) *index.Transaction {
	tx := &index.Transaction{ID: frame.HashOf([]byte(label)), InputKeys: [][]byte{payer.public},
		Spends: []index.Outpoint{{TxID: frame.HashOf([]byte("coin of " + label)), Output: 1}}}
	for _, p := range to {
		tx.Outputs = append(tx.Outputs, p.hash)
	}
	tx.Outputs = append(tx.Outputs, payer.hash)
	for i, f := range frames {
		c := *f
		c.Output = uint32(i)
		tx.Frames = append(tx.Frames, &c)
	}
	return tx
}

// signed is the decision on a frame that counts.
func signed(v frame.Verdict, by ...person) index.Decision {
	d := index.Decision{Verdict: v, Address: &by[0].hash}
	for _, p := range by {
		d.Keys = append(d.Keys, p.public)
	}
	return d
}

// refused is the decision on a frame whose source is known.
func refused(v frame.Verdict, source person) index.Decision {
	return index.Decision{Verdict: v, Address: &source.hash}
}

func seen(tx *index.Transaction, decisions ...index.Decision) *index.Placed {
	return &index.Placed{Tx: tx, State: index.Seen, Height: -1, Decisions: decisions}
}

func confirmed(tx *index.Transaction, height int32, position uint32, decisions ...index.Decision) *index.Placed {
	tx.Index = position
	return &index.Placed{Tx: tx, State: index.Confirmed, Height: height, Decisions: decisions}
}

// again places a transaction that is in the store.
func again(row int64, tx *index.Transaction, state index.State, height int32, position uint32, decisions ...index.Decision) *index.Placed {
	c := *tx
	c.Index = position
	return &index.Placed{Row: row, Tx: &c, State: state, Height: height, Decisions: decisions}
}

const firstTime = 1_700_000_000

// block makes the block of a height; fork tells blocks of one height apart.
func block(height int32, fork string) *index.Block {
	b := &index.Block{Height: height, MedianTime: firstTime + int64(height)*600 - 3000}
	binary.LittleEndian.PutUint32(b.Header[68:], uint32(firstTime+int64(height)*600))
	copy(b.Header[36:68], fork)
	if height > 0 {
		prev := block(height-1, "")
		copy(b.Header[4:36], prev.Hash[:])
	}
	b.Hash = frame.HashOf(b.Header[:])
	return b
}

// tipOf is what the store is to say of a block.
func tipOf(b *index.Block) index.Tip {
	return index.Tip{Height: b.Height, Hash: b.Hash, Header: b.Header, MedianTime: b.MedianTime, StateHash: stateOf(b)}
}

func stateOf(b *index.Block) [32]byte { return sha256.Sum256(append([]byte("state"), b.Hash[:]...)) }

// A bench is a store under test.
type bench struct {
	*testing.T
	store index.Store
}

func (b bench) update(write func(index.Tx) error) {
	b.Helper()
	if err := b.store.Update(context.Background(), write); err != nil {
		b.Fatalf("update: %v", err)
	}
}

func (b bench) view(read func(index.View)) {
	b.Helper()
	err := b.store.View(context.Background(), func(v index.View) error {
		read(v)
		return nil
	})
	if err != nil {
		b.Fatalf("view: %v", err)
	}
}

// blocks puts the blocks of heights from 0 on.
func (b bench) blocks(n int32) {
	b.Helper()
	b.update(func(tx index.Tx) error {
		for h := range n {
			if err := tx.PutBlock(block(h, ""), stateOf(block(h, ""))); err != nil {
				return err
			}
		}
		return nil
	})
}

// save saves and returns the arrivals of all frames in a row.
func (b bench) save(placed ...*index.Placed) (arrivals []int64) {
	b.Helper()
	b.update(func(tx index.Tx) error {
		lists, err := tx.Save(placed)
		for i, list := range lists {
			if len(list) != len(placed[i].Decisions) && err == nil {
				err = fmt.Errorf("%d arrivals of %d frames", len(list), len(placed[i].Decisions))
			}
			arrivals = append(arrivals, list...)
		}
		return err
	})
	return arrivals
}

// must returns a value read, or fails the test.
func must[T any](b bench) func(T, error) T {
	return func(v T, err error) T {
		b.Helper()
		if err != nil {
			b.Fatalf("read: %v", err)
		}
		return v
	}
}

// equal compares deeply and prints both.
func equal[T any](b bench, what string, got, want T) {
	b.Helper()
	if !reflect.DeepEqual(got, want) {
		b.Errorf("%s:\n got %s\nwant %s", what, show(got), show(want))
	}
}

// show prints an entry with what its pointers point to.
func show(v any) string {
	switch v := v.(type) {
	case *index.Entry:
		return fmt.Sprintf("{%d %s height %d %s time %d tx %+v frame %s decision %s %v %x}", v.Arrival, v.State, v.Height,
			v.Block, v.Time, v.Tx, showFrame(v.Frame), v.Verdict, v.Address, v.Keys)
	case []*index.Entry:
		s := fmt.Sprintf("%d entries", len(v))
		for _, e := range v {
			s += "\n\t" + show(e)
		}
		return s
	}
	return fmt.Sprintf("%+v", v)
}

func showFrame(f *index.Frame) string {
	return fmt.Sprintf("{%d %s %q %s %s message %+v record %+v proofs %+v}", f.Output, f.Protocol, f.Malformed, f.ID, f.ContentID, f.Message, f.Record, f.Proofs)
}

// entriesOf says what the store is to return of a transaction as placed.
func entriesOf(p *index.Placed, arrivals []int64) []*index.Entry {
	tx := *p.Tx
	tx.Frames = nil
	if p.State != index.Confirmed {
		tx.Index = 0
	}
	list := make([]*index.Entry, len(p.Tx.Frames))
	for i, f := range p.Tx.Frames {
		e := &index.Entry{Arrival: arrivals[i], State: p.State, Height: p.Height, Tx: &tx, Frame: f, Decision: p.Decisions[i]}
		if p.State == index.Confirmed {
			b := block(p.Height, "")
			e.Block, e.Time = b.Hash, b.Time()
		}
		list[i] = e
	}
	return list
}

// withoutBodies is what the store returns for judging again.
func withoutBodies(list []*index.Entry) []*index.Entry {
	short := make([]*index.Entry, len(list))
	for i, e := range list {
		c, f := *e, *e.Frame
		if m := f.Message; m != nil {
			light := *m
			if s := f.Proofs[0].Signature; !s.Readable() || s.Recoverable() {
				light.Body = nil
			}
			f.Message = &light
		}
		c.Frame = &f
		short[i] = &c
	}
	return short
}

func arrivalsOf(list []*index.Entry) []int64 {
	arrivals := make([]int64, len(list))
	for i, e := range list {
		arrivals[i] = e.Arrival
	}
	return arrivals
}
