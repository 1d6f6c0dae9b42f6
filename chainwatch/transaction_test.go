package chainwatch

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

func TestReadTransaction(t *testing.T) {
	key, other := frame.PrivateKey{Scalar: [32]byte{31: 7}}.PublicKey(), frame.PrivateKey{Scalar: [32]byte{31: 8}, Uncompressed: true}.PublicKey()
	spend := func(key []byte) []byte { return frame.AppendPush(frame.AppendPush(nil, []byte("sig")), key) }
	raw := wireTx([]wireInput{{1, spend(key)}, {2, spend(other)}, {3, spend(key)}, {4, []byte{0x51}}},
		wirePay(1), wireMessage, wireForeign, wirePay(2), wirePushes(frame.IMPI, "x"), wirePay(1), wirePushes(frame.NPI, "n", "not an address", "", "1", "sig"))
	tx, err := ReadTransaction(raw, frame.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	if want := frame.HashOf(raw); tx.ID != want {
		t.Errorf("id %s, want %s", tx.ID, want)
	}
	hash := func(b byte) frame.KeyHash { return frame.KeyHash(bytes.Repeat([]byte{b}, 20)) }
	if want := []frame.KeyHash{hash(1), hash(2), hash(1)}; !slices.Equal(tx.Outputs, want) {
		t.Errorf("outputs %x, want all P2PKH outputs in order, %x", tx.Outputs, want)
	}
	if want := []index.Amount{{Output: 0, Satoshis: 7}, {Output: 3, Satoshis: 7}, {Output: 5, Satoshis: 7}}; !slices.Equal(tx.Amounts, want) {
		t.Errorf("amounts %v, want those of the P2PKH outputs, %v", tx.Amounts, want)
	}
	if want := [][]byte{key, other}; !slices.EqualFunc(tx.InputKeys, want, bytes.Equal) {
		t.Errorf("input keys %x, want each once in order, %x", tx.InputKeys, want)
	}
	if len(tx.Spends) != 4 || tx.Spends[1].TxID != frame.Hash(bytes.Repeat([]byte{2}, 32)) {
		t.Errorf("spends %v", tx.Spends)
	}
	if tx.Coinbase {
		t.Error("taken for a coinbase")
	}
	type found struct {
		output    uint32
		protocol  frame.Protocol
		malformed bool
	}
	var got []found
	for _, f := range tx.Frames {
		got = append(got, found{f.Output, f.Protocol, f.Malformed != ""})
		if (f.Malformed != "") != (f.Message == nil && f.Record == nil) || (f.ID == frame.ID{}) != (f.Malformed != "") {
			t.Errorf("output %d: %+v", f.Output, f)
		}
	}
	if want := []found{{1, frame.IM, false}, {4, frame.IM, true}, {6, frame.N, true}}; !slices.Equal(got, want) {
		t.Errorf("frames %v, want %v", got, want)
	}
	if m := tx.Frames[0].Message; tx.Frames[0].ID != m.FrameID() || tx.Frames[0].ContentID != m.ContentID() {
		t.Error("the ids aren't those of the message")
	}
}

// TestCoinbase: it carries frames like any other, and reveals no keys.
func TestCoinbase(t *testing.T) {
	key := frame.PrivateKey{Scalar: [32]byte{31: 7}}.PublicKey()
	script := frame.AppendPush(frame.AppendPush(nil, []byte("sig")), key)
	tx, err := ReadTransaction(wireTx([]wireInput{{0, script}}, wireMessage, wirePay(1)), frame.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	if !tx.Coinbase || len(tx.InputKeys) > 0 || len(tx.Spends) > 0 || len(tx.Frames) != 1 || len(tx.Outputs) != 1 {
		t.Errorf("got %+v", tx)
	}
}

func TestReadTransactionRefuses(t *testing.T) {
	whole := wireTx([]wireInput{{1, []byte("in")}}, wireMessage, wirePay(1))
	huge := []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	long := []byte("\xfe\xff\xff\xff\xff")
	cases := map[string][]byte{
		"a byte behind it":         append(slices.Clone(whole), 0),
		"no inputs":                wireTx(nil, wireMessage),
		"2^64-1 inputs":            append(append(slices.Clone(whole[:4]), huge...), whole[5:]...),
		"2^32-1 inputs":            append(append(slices.Clone(whole[:4]), long...), whole[5:]...),
		"an input of 2^64-1 bytes": append(append(slices.Clone(whole[:41]), huge...), whole[42:]...),
		"2^64-1 outputs":           append(append(slices.Clone(whole[:48]), huge...), whole[49:]...),
		"an output of 4 GB":        append(append(slices.Clone(whole[:57]), long...), whole[58:]...),
	}
	for n := range whole {
		cases["cut to "+string(rune('0'+n%10))+" mod 10 bytes, "+frame.HashOf(whole[:n]).String()[:8]] = whole[:n]
	}
	for name, raw := range cases {
		var err error
		allocated := wireAllocated(func() { _, err = ReadTransaction(raw, frame.Regtest) })
		if !errors.Is(err, ErrTransaction) {
			t.Errorf("%s: got %v, want %v", name, err, ErrTransaction)
		}
		if most := uint64(20*len(whole) + 4<<10); allocated > most {
			t.Errorf("%s: %d bytes allocated for %d, want at most %d", name, allocated, len(raw), most)
		}
	}
	if _, err := ReadTransaction(whole, frame.Regtest); err != nil {
		t.Errorf("the transaction that all these were made of: %v", err)
	}
}

// TestHostileTransactions: reading what holds a million of something allocates a
// small multiple of its size.
func TestHostileTransactions(t *testing.T) {
	many := make([]wireInput, 1<<17)
	for i := range many {
		many[i].from = byte(i) | 1
	}
	outputs := make([][]byte, 1<<17)
	for name, raw := range map[string][]byte{
		"131,072 empty inputs":     wireTx(many, wireMessage),
		"131,072 empty outputs":    wireTx([]wireInput{{from: 1}}, outputs...),
		"a message of 10 MB":       wireTx([]wireInput{{from: 1}}, wirePushes(frame.IMPI, "", "", "", string(make([]byte, 10<<20)), "", "1", "")),
		"131,072 outputs to pay":   wireTx([]wireInput{{from: 1}}, slices.Repeat([][]byte{wirePay(1)}, 1<<17)...),
		"131,072 malformed frames": wireTx([]wireInput{{from: 1}}, slices.Repeat([][]byte{wirePushes(frame.IMPI)}, 1<<17)...),
		"32,768 keys": wireTx(slices.Repeat([]wireInput{{1, frame.AppendPush([]byte{0}, append([]byte{2}, make([]byte, 32)...))}}, 1<<15),
			wireMessage),
	} {
		got := wireAllocated(func() {
			if _, err := ReadTransaction(raw, frame.Regtest); err != nil {
				t.Fatal(err)
			}
		})
		if most := uint64(16 * len(raw)); got > most {
			t.Errorf("%s: %d bytes allocated for %d, want at most %d", name, got, len(raw), most)
		}
	}
}

// TestProve: the signatures of every frame but malformed ones are tried, again
// each time it is called.
func TestProve(t *testing.T) {
	key := frame.PrivateKey{Scalar: [32]byte{31: 7}}
	fields := []string{frame.IMPI, "bob", "text", "plain", "hello", "", "1"}
	preimage := "[17KUVffFHVpxueePCBzp5gJWAJsz9nx5cr][bob][text][plain][hello][][1]"
	raw := wireTx([]wireInput{{from: 1}}, wirePushes(append(fields, string(key.Sign([]byte(preimage))))...), wirePushes(frame.IMPI), wireMessage)
	tx, err := ReadTransaction(raw, frame.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		Prove(tx, frame.Regtest)
		if p := tx.Frames[0].Proofs; len(p) != 1 || !bytes.Equal(p[0].Key, key.PublicKey()) {
			t.Errorf("a signed message: got %+v, want the key %x", p, key.PublicKey())
		}
		if p := tx.Frames[1].Proofs; len(p) != 0 {
			t.Errorf("a malformed frame: got %+v", p)
		}
		if p := tx.Frames[2].Proofs; len(p) != 1 || p[0].Signature.Readable() {
			t.Errorf("a message with a signature that is none: got %+v", p)
		}
	}
}

// TestVarint: any of the forms may be longer than needed.
func TestVarint(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes string
		want  uint64
		short bool
	}{
		{"one byte", "\x00", 0, false}, {"the largest in one", "\xfc", 0xfc, false},
		{"two bytes", "\xfd\xfd\x00", 0xfd, false}, {"two bytes, longer than needed", "\xfd\x01\x00", 1, false},
		{"four bytes", "\xfe\x00\x00\x01\x00", 0x10000, false}, {"four bytes, longer than needed", "\xfe\x01\x00\x00\x00", 1, false},
		{"eight bytes", "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1<<64 - 1, false}, {"eight, longer than needed", "\xff\x01\x00\x00\x00\x00\x00\x00\x00", 1, false},
		{"nothing", "", 0, true}, {"two, cut", "\xfd\x01", 0, true}, {"four, cut", "\xfe\x01\x00\x00", 0, true}, {"eight, cut", "\xff\x01\x00\x00\x00\x00\x00\x00", 0, true},
	} {
		cur := cursor{b: []byte(c.bytes)}
		if got := cur.varint(); got != c.want || cur.short != c.short {
			t.Errorf("%s: got %d, short %v; want %d, %v", c.name, got, cur.short, c.want, c.short)
		}
	}
}
