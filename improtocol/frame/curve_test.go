package frame

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// decredCurve is what every build is compared with: a whole implementation that
// shares no code with libsecp256k1, and no point arithmetic with goCurve.
type decredCurve struct{}

func (decredCurve) recoverKey(s Signature, digest [32]byte) []byte {
	key, compressed, err := ecdsa.RecoverCompact(append(append([]byte{s.header}, s.r[:]...), s.s[:]...), digest[:])
	switch {
	case err != nil:
		return nil
	case compressed:
		return key.SerializeCompressed()
	}
	return key.SerializeUncompressed()
}

func (decredCurve) verify(sig Signature, digest [32]byte, key []byte) (isKey, signed bool) {
	k, err := secp256k1.ParsePubKey(key)
	if err != nil {
		return false, false
	}
	var r, s secp256k1.ModNScalar
	over := r.SetBytes(&sig.r) | s.SetBytes(&sig.s)
	return true, over == 0 && ecdsa.NewSignature(&r, &s).Verify(digest[:], k)
}

// agree compares the curve of this build with decred's on one input.
func agree(t testing.TB, s Signature, digest [32]byte, key []byte) (recovered []byte, signed bool) {
	t.Helper()
	want := decredCurve{}.recoverKey(s, digest)
	recovered = curve.recoverKey(s, digest)
	if !bytes.Equal(recovered, want) {
		t.Fatalf("%+v over %x: %s recovers %x, decred %x", s, digest, SignatureBackend, recovered, want)
	}
	if !keyForm(key) {
		return recovered, false
	}
	wantKey, wantSigned := decredCurve{}.verify(s, digest, key)
	isKey, signed := curve.verify(s, digest, key)
	if isKey != wantKey || signed != wantSigned {
		t.Fatalf("%+v over %x by %x: %s says %v, %v; decred %v, %v", s, digest, key, SignatureBackend, isKey, signed, wantKey, wantSigned)
	}
	return recovered, signed
}

func word(text string) (w [32]byte) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 32 {
		panic("not 32 bytes in hexadecimal: " + text)
	}
	return [32]byte(b)
}

// edges are numbers where implementations go wrong: about 0, n and p, and about
// p - n, below which r may stand for x = r + n.
var edges = [][32]byte{
	{}, {31: 1}, {31: 2}, {31: 3}, {0: 0x80}, {15: 1},
	word("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140"), // n - 1
	word("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"), // n
	word("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364142"),
	word("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"), // n / 2, the last low s
	word("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1"),
	word("000000000000000000000000000000014551231950b75fc4402da1722fc9baed"), // p - n - 1
	word("000000000000000000000000000000014551231950b75fc4402da1722fc9baee"), // p - n
	word("000000000000000000000000000000014551231950b75fc4402da1722fc9baef"),
	word("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2e"), // p - 1
	word("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"), // p
	word("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
	word("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"), // x of the generator
	word("5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72"), // lambda, of the endomorphism
	word("ac9c52b33fa3cf1f5ad9e3fd77ed9ba4a880b9fc8ec739c2e0cfc810b51283ce"),
}

// A drawer draws inputs from a seed.
type drawer struct{ *rand.Rand }

func (d drawer) random() (w [32]byte) {
	for i := range w {
		w[i] = byte(d.Uint32())
	}
	return w
}

// number draws an edge, a small number or any.
func (d drawer) number() [32]byte {
	switch d.IntN(4) {
	case 0:
		return edges[d.IntN(len(edges))]
	case 1:
		return [32]byte{31: byte(d.IntN(256))}
	}
	return d.random()
}

func (d drawer) scalar() (n secp256k1.ModNScalar) {
	w := d.number()
	if n.SetBytes(&w); n.IsZero() {
		n.SetInt(1)
	}
	return n
}

// publicKey draws a key of either form, now and then one off the curve.
func (d drawer) publicKey() []byte {
	n := d.scalar()
	key := PrivateKey{Scalar: n.Bytes(), Uncompressed: d.IntN(2) == 0}.PublicKey()
	switch d.IntN(8) {
	case 0:
		key[1+d.IntN(len(key)-1)] ^= 1 << d.IntN(8)
	case 1:
		x := d.number()
		copy(key[1:], x[:])
	}
	return key
}

// signed draws a true signature, of which one bit may then be changed.
func (d drawer) signed() (Signature, [32]byte, []byte) {
	n, digest := d.scalar(), d.number()
	k := PrivateKey{Scalar: n.Bytes(), Uncompressed: d.IntN(2) == 0}
	b := ecdsa.SignCompact(secp256k1.PrivKeyFromBytes(k.Scalar[:]), digest[:], !k.Uncompressed)
	s := Signature{header: b[0], r: [32]byte(b[1:33]), s: [32]byte(b[33:])}
	if d.IntN(2) == 0 { // the high s goes with the other point
		var high secp256k1.ModNScalar
		high.SetBytes(&s.s)
		s.s = high.Negate().Bytes()
		s.header = 27 + (s.header - 27) ^ 1
	}
	if d.IntN(2) == 0 {
		at := d.IntN(256)
		[]*[32]byte{&s.r, &s.s, &digest}[d.IntN(3)][at/8] ^= 1 << (at % 8)
	}
	return s, digest, k.PublicKey()
}

// infinite draws an input for which the sum of both multiples is the point at
// infinity: sR = eG when a key is recovered, eG + rQ = 0 when one is verified.
func (d drawer) infinite() (Signature, [32]byte, []byte) {
	k, e := d.scalar(), d.scalar()
	var R secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(&k, &R)
	R.ToAffine()
	sig := Signature{header: 31}
	if R.Y.IsOdd() {
		sig.header++
	}
	var r, s secp256k1.ModNScalar
	if r.SetBytes(R.X.Bytes()) != 0 {
		sig.header += 2
	}
	s.InverseValNonConst(&k).Mul(&e)
	sig.r, sig.s = r.Bytes(), s.Bytes()
	// The same digest e with the key d = -e/r.
	q := new(secp256k1.ModNScalar).InverseValNonConst(&r)
	q.Mul(&e).Negate()
	return sig, e.Bytes(), PrivateKey{Scalar: q.Bytes()}.PublicKey()
}

func (d drawer) any() (Signature, [32]byte, []byte) {
	switch d.IntN(8) {
	case 0, 1, 2:
		return d.signed()
	case 3:
		return d.infinite()
	}
	return Signature{header: 27 + byte(d.IntN(8)), r: d.number(), s: d.number()}, d.number(), d.publicKey()
}

// TestCurvesAgree: the library of this build gives decred's answer to true
// signatures, spoiled ones, and every kind of edge. METAIM_LONG=1 draws a million.
func TestCurvesAgree(t *testing.T) {
	draws, seed := 400, uint64(1)
	if os.Getenv("METAIM_LONG") != "" {
		draws, seed = 1_000_000, rand.Uint64()
	}
	d := drawer{rand.New(rand.NewPCG(seed, 0))}
	keys, verified := 0, 0
	for i := range draws {
		sig, digest, key := d.any()
		recovered, signed := agree(t, sig, digest, key)
		if signed {
			verified++
		}
		if recovered == nil {
			continue
		}
		keys++
		if _, signed := agree(t, sig, digest, recovered); !signed {
			t.Fatalf("seed %d, draw %d: the key recovered doesn't verify", seed, i)
		}
	}
	t.Logf("seed %d: %d draws, %d keys recovered, %d signatures verified", seed, draws, keys, verified)
	if keys < draws/4 || verified < draws/16 {
		t.Errorf("%d keys recovered and %d signatures verified of %d: nearly all refused, this shows nothing", keys, verified, draws)
	}
}

// TestEdges: each edge for r, for s and for the digest, with every header and
// with a good key, one off the curve and one past the prime.
func TestEdges(t *testing.T) {
	x := word("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	known := [][]byte{append([]byte{2}, x[:]...), append([]byte{3}, x[:]...), append([]byte{2}, edges[4][:]...), append([]byte{3}, edges[15][:]...)}
	for i, r := range edges {
		for j, s := range edges {
			header := byte(27 + (i+j)%8)
			agree(t, Signature{header: header, r: r, s: s}, edges[(3*i+j)%len(edges)], known[(i+3*j)%len(known)])
		}
		for header := byte(27); header <= 34; header++ {
			agree(t, Signature{header: header, r: r, s: [32]byte{31: 7}}, [32]byte{31: header}, known[0])
		}
	}
}

// TestOverflow: an r that stands for x = r + n is recovered from, and what comes
// out verifies, though x itself is past n.
func TestOverflow(t *testing.T) {
	found := 0
	for r := range byte(64) {
		for code := byte(2); code < 4; code++ {
			sig := Signature{header: 31 + code, r: [32]byte{31: r}, s: [32]byte{31: 5}}
			key, _ := agree(t, sig, [32]byte{0: 9}, nil)
			if key == nil {
				continue
			}
			found++
			if _, signed := agree(t, sig, [32]byte{0: 9}, key); !signed {
				t.Errorf("r = %d, header %d: the key recovered doesn't verify", r, sig.header)
			}
		}
	}
	if found < 20 {
		t.Errorf("%d of 128 recover a key, want about half", found)
	}
}

// TestInfinity: no key is recovered when the sum is the point at infinity, and
// none verifies.
func TestInfinity(t *testing.T) {
	d := drawer{rand.New(rand.NewPCG(2, 0))}
	for range 50 {
		sig, digest, key := d.infinite()
		if recovered, signed := agree(t, sig, digest, key); recovered != nil || signed {
			t.Errorf("%+v over %x: recovered %x, verified %v; want neither", sig, digest, recovered, signed)
		}
	}
}

// TestKeysOnCurve: which keys are keys. A hybrid key is none, in any build.
func TestKeysOnCurve(t *testing.T) {
	d := drawer{rand.New(rand.NewPCG(3, 0))}
	sig, digest, good := d.signed()
	for i := range 200 {
		x := d.number()
		if i < len(edges) {
			x = edges[i]
		}
		agree(t, sig, digest, append([]byte{2}, x[:]...))
		agree(t, sig, digest, append([]byte{3}, x[:]...))
		y := d.number()
		agree(t, sig, digest, append(append([]byte{4}, x[:]...), y[:]...))
	}
	full, err := secp256k1.ParsePubKey(good)
	if err != nil {
		t.Fatal(err)
	}
	hybrid := full.SerializeUncompressed()
	hybrid[0] = 6 | hybrid[64]&1
	if isKey, signed := (Signature{header: derHeader, r: sig.r, s: sig.s}).verify(nil, hybrid); isKey || signed {
		t.Errorf("a hybrid key is taken for one: %v, %v", isKey, signed)
	}
}

// TestWycheproof: Project Wycheproof's signatures over secp256k1, in hexadecimal
// and in base64, with what they say of each. A signature of theirs signs the
// SHA-256 of a message, as ours in DER does. The vectors are under the Apache
// licence, version 2.0: github.com/C2SP/wycheproof.
func TestWycheproof(t *testing.T) {
	file, err := os.Open("testdata/wycheproof.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	tried := 0
	for ; lines.Scan(); tried++ {
		var v struct {
			ID            int
			Comment       string
			Key, Msg, Sig string
			Valid         bool
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		key, _ := hex.DecodeString(v.Key)
		msg, _ := hex.DecodeString(v.Msg)
		der, _ := hex.DecodeString(v.Sig)
		for form, field := range map[string][]byte{"hex": []byte(v.Sig), "base64": appendBase64(der)} {
			sig, err := ParseSignature(field)
			if got := err == nil && sig.Verify(msg, key); got != v.Valid {
				t.Errorf("%d %s, in %s: got %v %v, want %v", v.ID, v.Comment, form, got, err, v.Valid)
			}
			if sig.header == derHeader {
				agree(t, Signature{header: 31, r: sig.r, s: sig.s}, sha256.Sum256(msg), key)
			}
		}
	}
	if err := lines.Err(); err != nil || tried < 400 {
		t.Fatalf("%d vectors read, %v: want all 463", tried, err)
	}
}

// FuzzCurvesAgree: the library of this build and decred's say the same of any
// signature, digest and key.
func FuzzCurvesAgree(f *testing.F) {
	d := drawer{rand.New(rand.NewPCG(4, 0))}
	for range 32 {
		s, digest, key := d.any()
		f.Add(s.header, s.r[:], s.s[:], digest[:], key)
	}
	f.Fuzz(func(t *testing.T, header byte, r, s, digest, key []byte) {
		if len(r) != 32 || len(s) != 32 || len(digest) != 32 {
			return
		}
		sig := Signature{header: 27 + header%8, r: [32]byte(r), s: [32]byte(s)}
		if recovered, _ := agree(t, sig, [32]byte(digest), key); recovered != nil {
			if _, signed := agree(t, sig, [32]byte(digest), recovered); !signed {
				t.Fatalf("%+v over %x: the key recovered doesn't verify", sig, digest)
			}
		}
	})
}
