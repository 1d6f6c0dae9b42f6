package frame_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/metaim/metaim/improtocol/frame"
)

var (
	alice    = frame.PrivateKey{Scalar: [32]byte{31: 7}}
	bob      = frame.PrivateKey{Scalar: [32]byte{0: 0x41, 31: 9}}
	fat      = frame.PrivateKey{Scalar: [32]byte{31: 7}, Uncompressed: true}
	preimage = []byte("[17KUVffFHVpxueePCBzp5gJWAJsz9nx5cr][bob]")
)

func b64(b []byte) []byte { return base64.StdEncoding.AppendEncode(nil, b) }

func hexed(b []byte) []byte { return hex.AppendEncode(nil, b) }

// compactOf returns the 65 bytes of a Bitcoin Signed Message.
func compactOf(t testing.TB, k frame.PrivateKey) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(string(k.Sign(preimage)))
	if err != nil || len(b) != 65 {
		t.Fatalf("the signature written is %d bytes, %v", len(b), err)
	}
	return b
}

// integer writes a DER integer of any bytes.
func integer(b []byte) []byte { return append([]byte{2, byte(len(b))}, b...) }

func sequence(parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

// minimal returns a number as DER wants it: no zero in front but before a byte
// with its high bit set.
func minimal(n secp256k1.ModNScalar) []byte {
	b := n.Bytes()
	out := bytes.TrimLeft(b[:], "\x00")
	if len(out) == 0 || out[0]&0x80 != 0 {
		out = append([]byte{0}, out...)
	}
	return slices.Clone(out)
}

// derParts returns r and s of a DER signature over the preimage, s low.
func derParts(k frame.PrivateKey) (r, s secp256k1.ModNScalar) {
	digest := sha256.Sum256(preimage)
	sig := ecdsa.Sign(secp256k1.PrivKeyFromBytes(k.Scalar[:]), digest[:])
	return sig.R(), sig.S()
}

func derOf(k frame.PrivateKey) []byte {
	r, s := derParts(k)
	return sequence(integer(minimal(r)), integer(minimal(s)))
}

func highS(k frame.PrivateKey) []byte {
	r, s := derParts(k)
	return sequence(integer(minimal(r)), integer(minimal(*s.Negate())))
}

func keys(list ...[]byte) func(func([]byte) bool) { return slices.Values(list) }

// TestSignatureForms: every form in which a signature may be written, and the
// verdict on it against alice's address.
func TestSignatureForms(t *testing.T) {
	compact, der := compactOf(t, alice), derOf(alice)
	high := compactHighS(t, compact)
	known := keys(alice.PublicKey())
	upper := func(b []byte) []byte { return bytes.ToUpper(hexed(b)) }
	header := func(n byte) []byte { return append([]byte{n}, compact[1:]...) }
	line := b64(compact)
	for _, c := range []struct {
		name  string
		field []byte
		want  frame.Verdict
	}{
		{"compact, base64: what is written", line, frame.Valid},
		{"compact, 65 raw bytes", compact, frame.Valid},
		{"compact, high S", high, frame.Valid},
		{"compact, high S, base64", b64(high), frame.Valid},
		{"DER, base64", b64(der), frame.Valid},
		{"DER, hex", hexed(der), frame.Valid},
		{"DER, hex in capitals", upper(der), frame.Valid},
		{"DER, high S, base64", b64(highS(alice)), frame.Valid},
		{"DER, high S, hex", hexed(highS(alice)), frame.Valid},
		{"DER as raw bytes is no form", der, frame.BadSignature},
		{"compact in hex is no form", hexed(compact), frame.BadSignature},
		{"empty", nil, frame.BadSignature},
		{"64 raw bytes", compact[:64], frame.BadSignature},
		{"66 raw bytes", append(slices.Clone(compact), 0), frame.BadSignature},
		{"header byte 26", header(26), frame.BadSignature},
		{"header byte 35", header(35), frame.BadSignature},
		{"header byte 0", header(0), frame.BadSignature},
		{"header byte 255", header(255), frame.BadSignature},
		{"header byte 26, base64", b64(header(26)), frame.BadSignature},
		{"header byte 35, base64", b64(header(35)), frame.BadSignature},
		{"header of the uncompressed key: another address", header(compact[0] - 4), frame.BadSignature},
		{"header of the other point: another key", header(31 + ((compact[0] - 31) ^ 1)), frame.BadSignature},
		{"header of an overflow that isn't there", header(compact[0] | 2), frame.BadSignature},
		{"compact with r = 0", append(append([]byte{31}, make([]byte, 32)...), compact[33:]...), frame.BadSignature},
		{"compact with s = 0", append(slices.Clone(compact[:33]), make([]byte, 32)...), frame.BadSignature},
		{"compact with s = n", append(slices.Clone(compact[:33]), order...), frame.BadSignature},
		{"compact with r = n", append(append([]byte{31}, order...), compact[33:]...), frame.BadSignature},
		{"base64 with a newline inside", append(append(slices.Clone(line[:40]), '\n'), line[40:]...), frame.BadSignature},
		{"base64 with a newline behind", append(slices.Clone(line), '\n'), frame.BadSignature},
		{"base64 with a carriage return", append(append(slices.Clone(line[:40]), '\r'), line[40:]...), frame.BadSignature},
		{"base64 with a space behind", append(slices.Clone(line), ' '), frame.BadSignature},
		{"base64 without padding", bytes.TrimRight(line, "="), frame.BadSignature},
		{"base64 padded twice", append(slices.Clone(line), '='), frame.BadSignature},
		{"base64 with loose bits at its end", looseBits(t, line), frame.BadSignature},
		{"base64 of the URL alphabet", base64.URLEncoding.AppendEncode(nil, urlCompact(t, compact)), frame.BadSignature},
		{"base64 of 64 bytes", b64(compact[:64]), frame.BadSignature},
		{"base64 of nothing readable", []byte("bm90aGluZw=="), frame.BadSignature},
		{"hex with a newline behind", append(hexed(der), '\n'), frame.BadSignature},
		{"hex of an odd length", hexed(der)[1:], frame.BadSignature},
		{"hex after 0x", append([]byte("0x"), hexed(der)...), frame.BadSignature},
		{"a megabyte", bytes.Repeat([]byte("A"), 1<<20), frame.BadSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, got := frame.Prove(preimage, c.field).Check(preimage, alice.KeyHash(), known)
			if got != c.want {
				t.Errorf("%.150q: got %s, want %s", c.field, got, c.want)
			}
			if got == frame.Valid && !bytes.Equal(key, alice.PublicKey()) {
				t.Errorf("signed by %x, want %x", key, alice.PublicKey())
			}
		})
	}
}

var order, _ = hex.DecodeString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")

// compactHighS gives a compact signature the other S, which the other point of
// R goes with.
func compactHighS(t testing.TB, compact []byte) []byte {
	t.Helper()
	var s secp256k1.ModNScalar
	if s.SetByteSlice(compact[33:]) || s.IsOverHalfOrder() {
		t.Fatal("the signature written has a high S")
	}
	b := s.Negate().Bytes()
	out := append(slices.Clone(compact[:33]), b[:]...)
	out[0] = 31 + ((out[0] - 31) ^ 1)
	return out
}

// looseBits sets bits of the last base64 digit that no byte takes.
func looseBits(t testing.TB, line []byte) []byte {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	line = slices.Clone(line)
	at := bytes.IndexByte(line, '=') - 1
	line[at] = alphabet[strings.IndexByte(alphabet, line[at])|1]
	if bytes.Equal(line, b64(compactOf(t, alice))) {
		t.Fatal("nothing changed")
	}
	return line
}

// urlCompact makes sure that the two alphabets differ.
func urlCompact(t testing.TB, compact []byte) []byte {
	t.Helper()
	if s := base64.StdEncoding.EncodeToString(compact); !strings.ContainsAny(s, "+/") {
		t.Fatalf("%s reads the same in both alphabets: sign something else", s)
	}
	return compact
}

// TestStrictDER: what Wycheproof's tests try on lenient parsers. The key is
// known; each is bad_signature, in base64 and in hex.
func TestStrictDER(t *testing.T) {
	r, s := derParts(alice)
	ri, si := integer(minimal(r)), integer(minimal(s))
	rb, sb := minimal(r), minimal(s)
	n := append([]byte{0}, order...)
	whole := sequence(ri, si)
	plus := func(b []byte) []byte { // b + n, past 256 bits or not
		sum, carry := make([]byte, 33), 0
		for i := 32; i >= 1; i-- {
			v := int(b[i-1]) + int(order[i-1]) + carry
			sum[i], carry = byte(v), v>>8
		}
		sum[0] = byte(carry)
		return sum
	}
	rFull := r.Bytes()
	for _, c := range []struct {
		name string
		der  []byte
	}{
		{"r padded with a zero", sequence(integer(append([]byte{0}, pad(rb)...)), si)},
		{"s padded with a zero", sequence(ri, integer(append([]byte{0}, pad(sb)...)))},
		{"r negative", sequence(integer(negative(rb)), si)},
		{"s negative", sequence(ri, integer(negative(sb)))},
		{"r is zero", sequence(integer([]byte{0}), si)},
		{"s is zero", sequence(ri, integer([]byte{0}))},
		{"r is empty", sequence(integer(nil), si)},
		{"s is empty", sequence(ri, integer(nil))},
		{"r is n", sequence(integer(n), si)},
		{"s is n", sequence(ri, integer(n))},
		{"r + n", sequence(integer(plus(rFull[:])), si)},
		{"s of 34 bytes", sequence(ri, integer(append([]byte{1}, make([]byte, 33)...)))},
		{"length of the sequence too long by one", append([]byte{0x30, whole[1] + 1}, whole[2:]...)},
		{"length of the sequence too short by one", append([]byte{0x30, whole[1] - 1}, whole[2:]...)},
		{"length of the sequence in two bytes", append([]byte{0x30, 0x81, whole[1]}, whole[2:]...)},
		{"indefinite length", append(append([]byte{0x30, 0x80}, whole[2:]...), 0, 0)},
		{"length of r in two bytes", sequence(append([]byte{2, 0x81, byte(len(rb))}, rb...), si)},
		{"length of s in two bytes", sequence(ri, append([]byte{2, 0x81, byte(len(sb))}, sb...))},
		{"length of r past the end", sequence(append([]byte{2, 0x7f}, rb...), si)},
		{"a byte behind", append(slices.Clone(whole), 0)},
		{"a sighash byte behind, as in scripts", append(slices.Clone(whole), 0x41)},
		{"a byte behind s inside the sequence", sequence(ri, si, []byte{0})},
		{"a third integer", sequence(ri, si, integer([]byte{1}))},
		{"s is missing", sequence(ri)},
		{"a set for a sequence", append([]byte{0x31}, whole[1:]...)},
		{"an octet string for r", sequence(append([]byte{4}, ri[1:]...), si)},
		{"cut", whole[:len(whole)-1]},
		{"an empty sequence", []byte{0x30, 0}},
		{"one byte", []byte{0x30}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for form, field := range map[string][]byte{"base64": b64(c.der), "hex": hexed(c.der)} {
				_, got := frame.Prove(preimage, field).Check(preimage, alice.KeyHash(), keys(alice.PublicKey()))
				if got != frame.BadSignature {
					t.Errorf("%s of %x: got %s, want %s", form, c.der, got, frame.BadSignature)
				}
			}
		})
	}
	if _, got := frame.Prove(preimage, hexed(whole)).Check(preimage, alice.KeyHash(), keys(alice.PublicKey())); got != frame.Valid {
		t.Errorf("the signature that all these were made of is %s", got)
	}
}

// pad makes sure that another zero in front is one too many.
func pad(b []byte) []byte {
	if b[0] == 0 {
		return b
	}
	return append([]byte{0}, b...)
}

// negative is a number without the zero that keeps it positive.
func negative(b []byte) []byte {
	b = slices.Clone(bytes.TrimLeft(b, "\x00"))
	b[0] |= 0x80
	return b
}

// TestCandidates: which keys a DER signature is tried with, and what is said
// when none counts.
func TestCandidates(t *testing.T) {
	der := hexed(derOf(alice))
	off := append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...) // not on the curve
	hybrid := slices.Clone(fat.PublicKey())
	hybrid[0] = 6 | hybrid[64]&1
	for _, c := range []struct {
		name       string
		field      []byte
		address    frame.KeyHash
		candidates [][]byte
		want       frame.Verdict
	}{
		{"none", der, alice.KeyHash(), nil, frame.PublicKeyUnknown},
		{"of another address", der, alice.KeyHash(), [][]byte{bob.PublicKey()}, frame.PublicKeyUnknown},
		{"the right one behind another", der, alice.KeyHash(), [][]byte{bob.PublicKey(), alice.PublicKey()}, frame.Valid},
		{"the same point in the other form has another address", der, alice.KeyHash(), [][]byte{fat.PublicKey()}, frame.PublicKeyUnknown},
		{"the uncompressed address", der, fat.KeyHash(), [][]byte{alice.PublicKey(), fat.PublicKey()}, frame.Valid},
		{"the address's, but another signed", hexed(derOf(bob)), alice.KeyHash(), [][]byte{alice.PublicKey()}, frame.BadSignature},
		{"not on the curve, though the hash is the address's", der, frame.HashKey(off), [][]byte{off}, frame.PublicKeyUnknown},
		{"of no form, though the hash is the address's", der, frame.HashKey(hybrid), [][]byte{hybrid}, frame.PublicKeyUnknown},
		{"empty, though the hash is the address's", der, frame.HashKey(nil), [][]byte{nil}, frame.PublicKeyUnknown},
		{"none is asked for when the signature can't be read", []byte("x"), alice.KeyHash(), nil, frame.BadSignature},
		{"none is asked for when the key is recovered", alice.Sign(preimage), alice.KeyHash(), nil, frame.Valid},
		{"recovered, of another address", alice.Sign(preimage), bob.KeyHash(), [][]byte{bob.PublicKey()}, frame.BadSignature},
		{"recovered, uncompressed", fat.Sign(preimage), fat.KeyHash(), nil, frame.Valid},
		{"recovered, uncompressed, for the compressed address", fat.Sign(preimage), alice.KeyHash(), nil, frame.BadSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := frame.Prove(preimage, c.field).Check(preimage, c.address, keys(c.candidates...))
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestOtherPreimage: a signature holds for its preimage only.
func TestOtherPreimage(t *testing.T) {
	other := append(slices.Clone(preimage), ' ')
	for _, field := range [][]byte{alice.Sign(preimage), hexed(derOf(alice))} {
		if _, got := frame.Prove(other, field).Check(other, alice.KeyHash(), keys(alice.PublicKey())); got != frame.BadSignature {
			t.Errorf("%s over something else: got %s, want %s", field, got, frame.BadSignature)
		}
	}
}

// TestSignedMessageLengths: the length in front of a signed message changes its
// form at 253 bytes and at 65,536. The signatures were made elsewhere: see the
// vectors of improtocol; here the key must come back on both sides.
func TestSignedMessageLengths(t *testing.T) {
	for _, n := range []int{0, 1, 252, 253, 254, 65535, 65536, 70000} {
		message := bytes.Repeat([]byte("m"), n)
		if _, got := frame.Prove(message, alice.Sign(message)).Check(message, alice.KeyHash(), keys()); got != frame.Valid {
			t.Errorf("message of %d bytes: got %s, want %s", n, got, frame.Valid)
		}
	}
}

func TestSignatureErrors(t *testing.T) {
	var zero frame.Signature
	if zero.Readable() || zero.Recoverable() || zero.Verify(preimage, alice.PublicKey()) {
		t.Error("the zero signature shows something")
	}
	if _, err := zero.Recover(preimage); !errors.Is(err, frame.ErrSignature) {
		t.Errorf("got %v, want %v", err, frame.ErrSignature)
	}
	der, err := frame.ParseSignature(hexed(derOf(alice)))
	if err != nil || der.Recoverable() || !der.Readable() {
		t.Errorf("DER: got %v", err)
	}
	for _, key := range [][]byte{nil, {2}, bob.PublicKey(), append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...)} {
		if der.Verify(preimage, key) {
			t.Errorf("verifies with key %x", key)
		}
	}
}

func TestParsePublicKey(t *testing.T) {
	small, large := alice.PublicKey(), fat.PublicKey()
	for _, c := range []struct {
		name string
		text string
		want []byte
	}{
		{"33 bytes", hex.EncodeToString(small), small},
		{"65 bytes", hex.EncodeToString(large), large},
		{"capitals", strings.ToUpper(hex.EncodeToString(small)), small},
		{"it needn't be on the curve", "02" + strings.Repeat("ff", 32), append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...)},
		{"32 bytes", strings.Repeat("02", 32), nil},
		{"33 bytes from 04", "04" + strings.Repeat("00", 32), nil},
		{"no hex", strings.Repeat("zz", 33), nil},
		{"odd", hex.EncodeToString(small)[1:], nil},
		{"empty", "", nil},
		{"a megabyte", strings.Repeat("02", 1<<19), nil},
	} {
		got, ok := frame.ParsePublicKey(c.text)
		if !bytes.Equal(got, c.want) || ok != (c.want != nil) {
			t.Errorf("%s: got %x %v, want %x", c.name, got, ok, c.want)
		}
	}
}
