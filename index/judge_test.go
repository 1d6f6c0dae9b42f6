package index_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

const network = frame.Regtest

func keyOf(name string) frame.PrivateKey {
	return frame.PrivateKey{Scalar: sha256.Sum256([]byte("index " + name))}
}

var alice, bob, carol = keyOf("alice"), keyOf("bob"), keyOf("carol")

// A signer writes a signature field over a preimage.
type signer func(preimage []byte) []byte

func compact(k frame.PrivateKey) signer { return k.Sign }

// der signs as DER in hexadecimal: the key isn't in it.
func der(k frame.PrivateKey) signer {
	return func(preimage []byte) []byte {
		digest := sha256.Sum256(preimage)
		sig := ecdsa.Sign(secp256k1.PrivKeyFromBytes(k.Scalar[:]), digest[:]).Serialize()
		return hex.AppendEncode(nil, sig)
	}
}

func junk([]byte) []byte { return []byte("no signature") }

// text makes a message.
func text(source, body, other, timeStamp string, sign signer) *index.Frame {
	m := &improtocol.Message{Source: source, Type: improtocol.Text, Encryption: improtocol.Plain, Body: []byte(body), Other: other, TimeStamp: timeStamp}
	m.Signature = sign(m.Preimage())
	return &index.Frame{Protocol: frame.IM, Message: m, ID: m.FrameID(), ContentID: m.ContentID(),
		Proofs: []frame.Proof{frame.Prove(m.Preimage(), m.Signature)}}
}

// record makes a record of r.
func record(r nprotocol.Record, sign ...signer) *index.Frame {
	preimage := r.Preimage(network)
	f := &index.Frame{Protocol: r.Protocol, Record: &r, ID: frame.IDOf(preimage)}
	for _, s := range sign {
		r.Signatures = append(r.Signatures, s(preimage))
		f.Proofs = append(f.Proofs, frame.Prove(preimage, r.Signatures[len(r.Signatures)-1]))
	}
	return f
}

func register(name string, k frame.PrivateKey, timeStamp string, sign signer) *index.Frame {
	return record(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: name, Address: k.KeyHash(), TimeStamp: timeStamp}, sign)
}

func remove(name string, k frame.PrivateKey, timeStamp string, sign signer) *index.Frame {
	return record(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Delete, Name: name, Address: k.KeyHash(), TimeStamp: timeStamp}, sign)
}

func transfer(name string, from, to frame.PrivateKey, timeStamp string, sign ...signer) *index.Frame {
	return record(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Transfer, Name: name, Address: from.KeyHash(),
		NewAddress: to.KeyHash(), TimeStamp: timeStamp}, sign...)
}

func peer(op nprotocol.Operation, k frame.PrivateKey, ip, timeStamp string, sign signer) *index.Frame {
	return record(nprotocol.Record{Protocol: frame.P, Operation: op, IP: ip, Address: k.KeyHash(), TimeStamp: timeStamp}, sign)
}

var rules = index.DefaultRules(network)

func registration(p frame.Protocol) frame.KeyHash {
	h, ok := rules.RegistrationAddress(p, 0)
	if !ok {
		panic("the default rules ask for no payment")
	}
	return h
}

// paid makes a transaction of one frame that pays both registration addresses.
func paid(f *index.Frame, keys ...[]byte) *index.Transaction {
	return &index.Transaction{ID: frame.HashOf([]byte(fmt.Sprintf("%p", f))), Frames: []*index.Frame{f}, InputKeys: keys,
		Outputs: []frame.KeyHash{registration(frame.N), registration(frame.P)}}
}

func unpaid(f *index.Frame, keys ...[]byte) *index.Transaction {
	tx := paid(f, keys...)
	tx.Outputs = []frame.KeyHash{{1}}
	return tx
}

// A court judges one transaction after the other, each in a block of its own,
// all of them at one time.
type court struct {
	t      *testing.T
	facts  *index.Facts
	height int32
	now    int64
}

func newCourt(t *testing.T) *court { return &court{t: t, facts: index.NewFacts(), now: 1000} }

func (c *court) judge(tx *index.Transaction) index.Decision {
	c.height++
	at := nprotocol.Moment{Position: nprotocol.Position{Height: c.height}, Time: c.now, Now: c.now}
	return rules.Judge(c.facts, tx, tx.Frames[0], at)
}

// given judges what must be valid before the case begins.
func (c *court) given(frames ...*index.Frame) {
	c.t.Helper()
	for _, f := range frames {
		if d := c.judge(paid(f)); d.Verdict != frame.Valid {
			c.t.Fatalf("given: %s of %q is %s", f.Operation(), f.TimeStamp(), d.Verdict)
		}
	}
}

// TestVerdictOrder: where several verdicts hold, the first of the ladder is the
// frame's. Each case names those that hold.
func TestVerdictOrder(t *testing.T) {
	a := network.Address(alice.KeyHash())
	hello := text(a, "hello", "", "5", compact(alice))
	nobody := network.Address(keyOf("nobody").KeyHash())
	for _, c := range []struct {
		name  string
		given []*index.Frame
		tx    *index.Transaction
		want  frame.Verdict
	}{
		{"valid", nil, paid(hello), frame.Valid},
		{"malformed, and nothing else is asked", nil, unpaid(&index.Frame{Protocol: frame.N, Malformed: "why"}), frame.Malformed},
		{"bad_timestamp, unknown_name, bad_signature", nil, paid(text("nobody", "x", "", "05", junk)), frame.BadTimeStamp},
		{"bad_timestamp, public_key_unknown", nil, paid(text(a, "x", "", "-1", der(alice))), frame.BadTimeStamp},
		{"bad_timestamp, unpaid, bad_signature", nil, unpaid(register("n", alice, "x", junk)), frame.BadTimeStamp},
		{"bad_timestamp, taken", []*index.Frame{register("n", bob, "1", compact(bob))}, paid(register("n", alice, "", compact(alice))), frame.BadTimeStamp},
		{"unpaid, bad_signature, taken", []*index.Frame{register("n", bob, "1", compact(bob))}, unpaid(register("n", alice, "1", junk)), frame.Unpaid},
		{"unpaid, duplicate", []*index.Frame{register("n", bob, "1", compact(bob))}, unpaid(register("n", bob, "1", compact(bob))), frame.Unpaid},
		{"unpaid, not_holder", nil, unpaid(remove("n", alice, "1", compact(alice))), frame.Unpaid},
		{"unpaid peer, not_holder", nil, unpaid(peer(nprotocol.Delete, alice, "::1", "1", compact(alice))), frame.Unpaid},
		{"a message needs to pay nobody", nil, unpaid(hello), frame.Valid},
		{"unknown_name, bad_signature", nil, paid(text("nobody", "x", "", "5", junk)), frame.UnknownName},
		{"unknown_name: an empty source", nil, paid(text("", "x", "", "5", compact(alice))), frame.UnknownName},
		{"unknown_name: an address of another network", nil, paid(text(frame.Main.Address(alice.KeyHash()), "x", "", "5", compact(alice))), frame.UnknownName},
		{"unknown_name: a deleted name", []*index.Frame{register("n", alice, "1", compact(alice)), remove("n", alice, "2", compact(alice))},
			paid(text("n", "x", "", "5", compact(alice))), frame.UnknownName},
		{"unknown_name, duplicate: a copy under a name that is gone", []*index.Frame{register("n", alice, "1", compact(alice)),
			text("n", "x", "", "5", compact(alice)), remove("n", alice, "2", compact(alice))}, paid(text("n", "x", "", "5", compact(alice))), frame.UnknownName},
		{"public_key_unknown, not bad_signature: nobody knows whose it is", nil, paid(text(nobody, "x", "", "5", der(alice))), frame.PublicKeyUnknown},
		{"bad_signature: unreadable, though no key is known", nil, paid(text(nobody, "x", "", "5", junk)), frame.BadSignature},
		{"bad_signature, duplicate: a copy in DER; whoever holds a name has a proved key", []*index.Frame{register("n", alice, "1", compact(alice)),
			text("n", "x", "", "5", der(alice)), transfer("n", alice, carol, "2", compact(alice), compact(carol)), remove("n", carol, "1", compact(carol)),
			register("n", keyOf("dave"), "1", compact(keyOf("dave")))}, paid(text("n", "x", "", "5", der(alice))), frame.BadSignature},
		{"bad_signature, duplicate: a copy after a transfer", []*index.Frame{register("n", alice, "1", compact(alice)),
			text("n", "x", "", "5", compact(alice)), transfer("n", alice, carol, "2", compact(alice), compact(carol))},
			paid(text("n", "x", "", "5", compact(alice))), frame.BadSignature},
		{"bad_signature, duplicate: a copy with another signature", []*index.Frame{hello}, paid(text(a, "hello", "", "5", compact(bob))), frame.BadSignature},
		{"bad_signature, stale_timestamp", []*index.Frame{hello}, paid(text(a, "hello", "", "4", compact(bob))), frame.BadSignature},
		{"bad_signature, stale_timestamp, taken", []*index.Frame{register("n", alice, "5", compact(alice)), transfer("n", alice, bob, "6", compact(alice), compact(bob))},
			paid(register("n", alice, "6", junk)), frame.BadSignature},
		{"duplicate", []*index.Frame{hello}, paid(hello), frame.Duplicate},
		{"duplicate: signed another way", []*index.Frame{hello}, paid(text(a, "hello", "", "5", der(alice))), frame.Duplicate},
		{"duplicate, stale_timestamp", []*index.Frame{hello, text(a, "hello", "", "6", compact(alice))}, paid(hello), frame.Duplicate},
		{"duplicate, stale_timestamp: a record", []*index.Frame{register("n", alice, "5", compact(alice))}, paid(register("n", alice, "5", compact(alice))), frame.Duplicate},
		{"duplicate, stale_timestamp, taken", []*index.Frame{register("n", alice, "5", compact(alice)), transfer("n", alice, bob, "6", compact(alice), compact(bob))},
			paid(register("n", alice, "5", compact(alice))), frame.Duplicate},
		{"duplicate, not_holder: a peer", []*index.Frame{peer(nprotocol.Register, alice, "::1", "1", compact(alice)), peer(nprotocol.Delete, alice, "::1", "2", compact(alice))},
			paid(peer(nprotocol.Delete, alice, "::1", "2", compact(alice))), frame.Duplicate},
		{"stale_timestamp: a message", []*index.Frame{hello}, paid(text(a, "hello", "", "4", compact(alice))), frame.StaleTimeStamp},
		{"stale_timestamp: a content id holds the name, not its holder", []*index.Frame{register("n", alice, "1", compact(alice)),
			text("n", "x", "", "5", compact(alice)), transfer("n", alice, carol, "2", compact(alice), compact(carol))},
			paid(text("n", "x", "", "4", compact(carol))), frame.StaleTimeStamp},
		{"a larger time stamp is another message", []*index.Frame{hello}, paid(text(a, "hello", "", "6", compact(alice))), frame.Valid},
		{"a smaller one of another content is, too", []*index.Frame{hello}, paid(text(a, "hello!", "", "4", compact(alice))), frame.Valid},
		{"stale_timestamp, taken", []*index.Frame{register("n", alice, "5", compact(alice)), transfer("n", alice, bob, "6", compact(alice), compact(bob))},
			paid(register("n", alice, "4", compact(alice))), frame.StaleTimeStamp},
		{"stale_timestamp, not_holder", []*index.Frame{register("n", alice, "5", compact(alice)), transfer("n", alice, bob, "6", compact(alice), compact(bob))},
			paid(remove("n", alice, "6", compact(alice))), frame.StaleTimeStamp},
		{"taken", []*index.Frame{register("n", bob, "1", compact(bob))}, paid(register("n", alice, "1", compact(alice))), frame.Taken},
		{"not_holder", []*index.Frame{register("n", bob, "1", compact(bob))}, paid(remove("n", alice, "1", compact(alice))), frame.NotHolder},
		{"not_holder: a transfer", nil, paid(transfer("n", alice, bob, "1", compact(alice), compact(bob))), frame.NotHolder},
		{"not_holder: a peer", nil, paid(peer(nprotocol.Delete, alice, "::1", "1", compact(alice))), frame.NotHolder},
	} {
		t.Run(c.name, func(t *testing.T) {
			court := newCourt(t)
			court.given(c.given...)
			if got := court.judge(c.tx); got.Verdict != c.want {
				t.Errorf("got %s, want %s", got.Verdict, c.want)
			}
		})
	}
}

// TestRefusedMayComeAgain: what was refused for a reason that passes is valid
// when anyone sends it again, and what was refused changed nothing.
func TestRefusedMayComeAgain(t *testing.T) {
	c := newCourt(t)
	again := register("n", alice, "1", compact(alice))
	for _, step := range []struct {
		what string
		tx   *index.Transaction
		want frame.Verdict
	}{
		{"unpaid at first", unpaid(again), frame.Unpaid},
		{"another was faster", paid(register("n", bob, "1", compact(bob))), frame.Valid},
		{"taken now", paid(again), frame.Taken},
		{"the other leaves", paid(remove("n", bob, "2", compact(bob))), frame.Valid},
		{"sent again", paid(again), frame.Valid},
		{"and again", paid(again), frame.Duplicate},
	} {
		if got := c.judge(step.tx); got.Verdict != step.want {
			t.Errorf("%s: got %s, want %s", step.what, got.Verdict, step.want)
		}
	}
}

// TestTransferSignatures: both signatures are over one preimage; the first is
// judged first, and its verdict stands.
func TestTransferSignatures(t *testing.T) {
	a, b := alice.PublicKey(), bob.PublicKey()
	for _, c := range []struct {
		name   string
		first  signer
		second signer
		keys   [][]byte // of the inputs
		want   frame.Verdict
	}{
		{"both compact", compact(alice), compact(bob), nil, frame.Valid},
		{"both DER, both keys in inputs", der(alice), der(bob), [][]byte{b, a}, frame.Valid},
		{"compact and DER", compact(alice), der(bob), [][]byte{b}, frame.Valid},
		{"the current holder's key is known from the registration", der(alice), compact(bob), nil, frame.Valid},
		{"swapped", compact(bob), compact(alice), nil, frame.BadSignature},
		{"the first twice", compact(alice), compact(alice), nil, frame.BadSignature},
		{"the second is missing", compact(alice), func([]byte) []byte { return nil }, nil, frame.BadSignature},
		{"the second's key is unknown", compact(alice), der(bob), nil, frame.PublicKeyUnknown},
		{"the first is bad, the second's key unknown", junk, der(bob), nil, frame.BadSignature},
		{"the first is another's, the second's key unknown", compact(carol), der(bob), nil, frame.BadSignature},
		{"the second is bad", compact(alice), junk, nil, frame.BadSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			court := newCourt(t)
			court.given(register("n", alice, "1", compact(alice)))
			d := court.judge(paid(transfer("n", alice, bob, "2", c.first, c.second), c.keys...))
			if d.Verdict != c.want {
				t.Fatalf("got %s, want %s", d.Verdict, c.want)
			}
			if d.Verdict == frame.Valid && !slices.EqualFunc(d.Keys, [][]byte{a, b}, bytes.Equal) {
				t.Errorf("signed by %x, want %x and %x", d.Keys, a, b)
			}
		})
	}
	t.Run("the first's key is unknown, the second is bad", func(t *testing.T) {
		if d := newCourt(t).judge(paid(transfer("n", alice, bob, "2", der(alice), junk))); d.Verdict != frame.PublicKeyUnknown {
			t.Errorf("got %s, want %s", d.Verdict, frame.PublicKeyUnknown)
		}
	})
}

// TestCandidateKeys: where the key of a DER signature may come from.
func TestCandidateKeys(t *testing.T) {
	a := network.Address(alice.KeyHash())
	pub := "pub=" + hex.EncodeToString(alice.PublicKey())
	signed := text(a, "x", "", "5", der(alice))
	fat := frame.PrivateKey{Scalar: alice.Scalar, Uncompressed: true}
	withPub := func(other string) *index.Frame {
		return record(nprotocol.Record{Protocol: frame.N, Operation: nprotocol.Register, Name: "n", Address: alice.KeyHash(), Other: other, TimeStamp: "1"}, der(alice))
	}
	for _, c := range []struct {
		name  string
		given []*index.Frame
		tx    *index.Transaction
		want  frame.Verdict
	}{
		{"nowhere", nil, paid(signed), frame.PublicKeyUnknown},
		{"an input", nil, paid(signed, alice.PublicKey()), frame.Valid},
		{"an input behind others", nil, paid(signed, bob.PublicKey(), fat.PublicKey(), alice.PublicKey()), frame.Valid},
		{"another's inputs", nil, paid(signed, bob.PublicKey()), frame.PublicKeyUnknown},
		{"pub", nil, paid(text(a, "x", pub, "5", der(alice))), frame.Valid},
		{"pub beside another's inputs", nil, paid(text(a, "x", pub, "5", der(alice)), bob.PublicKey()), frame.Valid},
		{"pub of another", nil, paid(text(a, "x", "pub="+hex.EncodeToString(bob.PublicKey()), "5", der(alice))), frame.PublicKeyUnknown},
		{"pub in the other form", nil, paid(text(a, "x", "pub="+hex.EncodeToString(fat.PublicKey()), "5", der(alice))), frame.PublicKeyUnknown},
		{"pub in a text that is no list", nil, paid(text(a, "x", pub+"&", "5", der(alice))), frame.PublicKeyUnknown},
		{"pub in a register", nil, paid(withPub(pub)), frame.Valid},
		{"no pub in a register", nil, paid(withPub("")), frame.PublicKeyUnknown},
		{"pub in a peer", nil, paid(record(nprotocol.Record{Protocol: frame.P, Operation: nprotocol.Register, IP: "::1", Address: alice.KeyHash(),
			Other: pub, TimeStamp: "1"}, der(alice))), frame.Valid},
		{"an earlier message", []*index.Frame{text(a, "before", "", "1", compact(alice))}, paid(signed), frame.Valid},
		{"an earlier message signed in DER with pub", []*index.Frame{text(a, "before", pub, "1", der(alice))}, paid(signed), frame.Valid},
		{"an earlier registration", []*index.Frame{register("n", alice, "1", compact(alice))}, paid(signed), frame.Valid},
		{"an earlier peer", []*index.Frame{peer(nprotocol.Register, alice, "::1", "1", compact(alice))}, paid(signed), frame.Valid},
		{"a transfer that gave the address a name", []*index.Frame{register("n", bob, "1", compact(bob)),
			transfer("n", bob, alice, "2", compact(bob), compact(alice))}, paid(signed), frame.Valid},
		{"an earlier message of the other form's address", []*index.Frame{text(network.Address(fat.KeyHash()), "x", "", "1", compact(fat))}, paid(signed), frame.PublicKeyUnknown},
		{"known, but it isn't the address's who signed", nil, paid(text(a, "x", "", "5", der(bob)), alice.PublicKey(), bob.PublicKey()), frame.BadSignature},
		{"from a name: the holder's key, proved before", []*index.Frame{register("n", alice, "1", compact(alice))}, paid(text("n", "x", "", "5", der(alice))), frame.Valid},
	} {
		t.Run(c.name, func(t *testing.T) {
			court := newCourt(t)
			court.given(c.given...)
			if got := court.judge(c.tx); got.Verdict != c.want {
				t.Errorf("got %s, want %s", got.Verdict, c.want)
			}
		})
	}
	t.Run("a refused frame proves nothing", func(t *testing.T) {
		court := newCourt(t)
		court.given(register("n", bob, "1", compact(bob)))
		if d := court.judge(paid(register("n", alice, "1", compact(alice)))); d.Verdict != frame.Taken {
			t.Fatalf("got %s, want %s", d.Verdict, frame.Taken)
		}
		if d := court.judge(paid(signed)); d.Verdict != frame.PublicKeyUnknown {
			t.Errorf("got %s, want %s", d.Verdict, frame.PublicKeyUnknown)
		}
	})
}

// TestResolution: what parses as an address is one; a name is resolved at the
// frame's own position, by the median time.
func TestResolution(t *testing.T) {
	c := newCourt(t)
	c.given(register("n", alice, "1", compact(alice)))
	c.now = 1000 + nprotocol.Lifetime - 1
	if d := c.judge(paid(text("n", "last second", "", "5", compact(alice)))); d.Verdict != frame.Valid || *d.Address != alice.KeyHash() {
		t.Errorf("in the last second: got %s", d.Verdict)
	}
	c.now++
	if d := c.judge(paid(text("n", "too late", "", "5", compact(alice)))); d.Verdict != frame.UnknownName || d.Address != nil {
		t.Errorf("when now is the time it expires at: got %s, %v", d.Verdict, d.Address)
	}
	if d := c.judge(paid(text("n", "x", "", "no time", compact(alice)))); d.Verdict != frame.BadTimeStamp || d.Address != nil {
		t.Errorf("bad time stamp and unknown name: got %s, %v", d.Verdict, d.Address)
	}
	if d := c.judge(paid(text(network.Address(bob.KeyHash()), "x", "", "no time", junk))); d.Address == nil || *d.Address != bob.KeyHash() {
		t.Errorf("refused for something else, the source is still resolved: got %v", d.Address)
	}
}

// TestRegistrationAddress: the identifier's own address by default, and others
// from a height on; whatever the value, on any network.
func TestRegistrationAddress(t *testing.T) {
	for _, n := range []frame.Network{frame.Main, frame.Test, frame.Regtest} {
		r := index.DefaultRules(n)
		for p, id := range map[frame.Protocol]string{frame.N: frame.NPI, frame.P: frame.IMPI} {
			want, err := frame.Main.ParseAddress(id)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := r.RegistrationAddress(p, 0); !ok || got != want {
				t.Errorf("%s on %s: got %x, want %x", p, n, got, want)
			}
		}
	}
	r := index.Rules{Network: network, Names: []index.Registration{{FromHeight: 10, Address: frame.KeyHash{1}}, {FromHeight: 20, Address: frame.KeyHash{2}}}}
	for height, want := range map[int32]frame.KeyHash{9: {}, 10: {1}, 19: {1}, 20: {2}, 1000: {2}} {
		got, ok := r.RegistrationAddress(frame.N, height)
		if got != want || ok != (height >= 10) {
			t.Errorf("at %d: got %x %v, want %x", height, got, ok, want)
		}
		f := register("n", alice, "1", compact(alice))
		tx := paid(f)
		tx.Outputs = []frame.KeyHash{{1}}
		d := r.Judge(index.NewFacts(), tx, f, nprotocol.Moment{Position: nprotocol.Position{Height: height}})
		if (d.Verdict == frame.Valid) != (height < 20) {
			t.Errorf("at %d, paying the address of heights 10 to 19: got %s", height, d.Verdict)
		}
	}
}

// TestRecipients: who an occurrence reaches.
func TestRecipients(t *testing.T) {
	a, b, c, d := alice.KeyHash(), bob.KeyHash(), carol.KeyHash(), frame.KeyHash{4}
	for _, x := range []struct {
		name    string
		outputs []frame.KeyHash
		inputs  []frame.PrivateKey
		source  *frame.KeyHash
		want    []frame.KeyHash
	}{
		{"one", []frame.KeyHash{b}, nil, &a, []frame.KeyHash{b}},
		{"several, in output order", []frame.KeyHash{c, b}, nil, &a, []frame.KeyHash{c, b}},
		{"each once", []frame.KeyHash{b, c, b, c}, nil, &a, []frame.KeyHash{b, c}},
		{"without the source", []frame.KeyHash{b, a, c}, nil, &a, []frame.KeyHash{b, c}},
		{"without change, the last output to an input's address", []frame.KeyHash{b, a}, []frame.PrivateKey{alice}, &d, []frame.KeyHash{b}},
		{"an output to an input's address that isn't last is no change", []frame.KeyHash{a, b}, []frame.PrivateKey{alice}, &d, []frame.KeyHash{a, b}},
		{"only the last output goes", []frame.KeyHash{a, b, a}, []frame.PrivateKey{alice}, &d, []frame.KeyHash{a, b}},
		{"paid for by a third party", []frame.KeyHash{b, c}, []frame.PrivateKey{carol}, &a, []frame.KeyHash{b}},
		{"change is looked for before the source goes", []frame.KeyHash{b, c, a}, []frame.PrivateKey{carol}, &a, []frame.KeyHash{b, c}},
		{"an address of the second input", []frame.KeyHash{b, c}, []frame.PrivateKey{alice, carol}, &a, []frame.KeyHash{b}},
		{"none left: a note to oneself", []frame.KeyHash{a}, []frame.PrivateKey{alice}, &a, nil},
		{"no outputs", nil, nil, &a, nil},
		{"the source is unknown: nobody is left out", []frame.KeyHash{a, b}, nil, nil, []frame.KeyHash{a, b}},
		{"a registration address is one like any other", []frame.KeyHash{registration(frame.N), b}, nil, &a, []frame.KeyHash{registration(frame.N), b}},
	} {
		tx := &index.Transaction{Outputs: x.outputs}
		for _, k := range x.inputs {
			tx.InputKeys = append(tx.InputKeys, k.PublicKey())
		}
		before := slices.Clone(x.outputs)
		e := &index.Entry{Tx: tx, Decision: index.Decision{Address: x.source}}
		if got := e.Recipients(); !slices.Equal(got, x.want) {
			t.Errorf("%s: got %x, want %x", x.name, got, x.want)
		}
		if !slices.Equal(tx.Outputs, before) {
			t.Errorf("%s: the transaction was changed", x.name)
		}
	}
}

// TestPrimary: of the names valid now the one held longest without a break.
func TestPrimary(t *testing.T) {
	name := func(text string, height int32, expires int64, deleted bool) *nprotocol.Name {
		return &nprotocol.Name{Name: text, Since: nprotocol.Position{Height: height}, ExpiresAt: expires, Deleted: deleted}
	}
	for _, c := range []struct {
		what  string
		names []*nprotocol.Name
		want  string
	}{
		{"none", nil, ""},
		{"one", []*nprotocol.Name{name("a", 5, 101, false)}, "a"},
		{"the older one", []*nprotocol.Name{name("a", 5, 101, false), name("b", 4, 101, false)}, "b"},
		{"the oldest expires at this very second", []*nprotocol.Name{name("a", 5, 101, false), name("b", 4, 100, false)}, "a"},
		{"the oldest is deleted", []*nprotocol.Name{name("a", 5, 101, false), name("b", 4, 101, true)}, "a"},
		{"none is valid", []*nprotocol.Name{name("a", 5, 99, false), name("b", 4, 101, true)}, ""},
	} {
		got := ""
		if n := index.Primary(c.names, 100); n != nil {
			got = n.Name
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}
