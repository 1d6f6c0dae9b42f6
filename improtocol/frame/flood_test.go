package frame

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

func appendBase64(b []byte) []byte { return base64.StdEncoding.AppendEncode(nil, b) }

// A counter counts what is asked of the curve: all that is dear in judging.
type counter struct {
	curveMaths
	recovered, verified int
}

func (c *counter) recoverKey(s Signature, digest [32]byte) []byte {
	c.recovered++
	return c.curveMaths.recoverKey(s, digest)
}

func (c *counter) verify(s Signature, digest [32]byte, key []byte) (isKey, signed bool) {
	c.verified++
	return c.curveMaths.verify(s, digest, key)
}

// count counts until the test ends.
func count(t *testing.T) *counter {
	t.Helper()
	built := curve
	c := &counter{curveMaths: built}
	curve = c
	t.Cleanup(func() { curve = built })
	return c
}

// TestCostOfSignatures: what a signature costs whoever judges it. One that can't
// be read costs nothing; any other one recovery, or one verification of the one
// key that the address names, however many keys are offered.
func TestCostOfSignatures(t *testing.T) {
	preimage := []byte("[a][b]")
	alice, bob := PrivateKey{Scalar: [32]byte{31: 7}}, PrivateKey{Scalar: [32]byte{31: 9}}
	compact, _ := base64.StdEncoding.DecodeString(string(alice.Sign(preimage)))
	digest := IDOf(preimage)
	der := ecdsa.Sign(secp256k1.PrivKeyFromBytes(alice.Scalar[:]), digest[:]).Serialize()
	text := hex.AppendEncode(nil, der)
	header := func(b byte) []byte { return append([]byte{b}, compact[1:]...) }
	var many [][]byte // keys of other addresses
	for i := range 1000 {
		many = append(many, append([]byte{2, byte(i), byte(i >> 8)}, make([]byte, 30)...))
	}
	with := func(keys ...[]byte) [][]byte { return slices.Concat(many, keys, many) }
	for _, c := range []struct {
		name                string
		field               []byte
		candidates          [][]byte
		verdict             Verdict
		recovered, verified int
	}{
		{"empty", nil, many, BadSignature, 0, 0},
		{"a megabyte", make([]byte, 1<<20), many, BadSignature, 0, 0},
		{"header byte 26", header(26), many, BadSignature, 0, 0},
		{"header byte 35, base64", appendBase64(header(35)), many, BadSignature, 0, 0},
		{"DER with a byte behind", append(slices.Clone(text), "00"...), with(alice.PublicKey()), BadSignature, 0, 0},
		{"base64 with a newline", append(appendBase64(compact), '\n'), many, BadSignature, 0, 0},
		{"compact, right", compact, many, Valid, 1, 0},
		{"compact, base64, right", appendBase64(compact), many, Valid, 1, 0},
		{"compact, of nobody's key", append([]byte{31}, bytes.Repeat([]byte{0xff}, 64)...), many, BadSignature, 1, 0},
		{"compact, of another key", bob.Sign(preimage), many, BadSignature, 1, 0},
		{"DER, no key of the address among a thousand", text, many, PublicKeyUnknown, 0, 0},
		{"DER, right, its key among thousands", text, with(alice.PublicKey()), Valid, 0, 1},
		{"DER, right, its key offered a hundred times", text, slices.Repeat([][]byte{alice.PublicKey()}, 100), Valid, 0, 1},
		{"DER, wrong, its key offered a hundred times", hex.AppendEncode(nil, wrongS(der)), slices.Repeat([][]byte{alice.PublicKey()}, 100), BadSignature, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			counted := count(t)
			_, got := Prove(preimage, c.field).Check(preimage, alice.KeyHash(), slices.Values(c.candidates))
			if got != c.verdict || counted.recovered != c.recovered || counted.verified != c.verified {
				t.Errorf("got %s after %d recoveries and %d verifications, want %s after %d and %d", got, counted.recovered,
					counted.verified, c.verdict, c.recovered, c.verified)
			}
		})
	}
}

// wrongS changes the last bit of a DER signature.
func wrongS(der []byte) []byte {
	der = slices.Clone(der)
	der[len(der)-1] ^= 1
	return der
}

// TestAllocations: reading a signature and proving it leaves little for the
// collector.
func TestAllocations(t *testing.T) {
	preimage := []byte("[a][b]")
	alice := PrivateKey{Scalar: [32]byte{31: 7}}
	field := alice.Sign(preimage)
	raw, _ := base64.StdEncoding.DecodeString(string(field))
	if got := testing.AllocsPerRun(20, func() { _, _ = ParseSignature(field) }); got > 0 {
		t.Errorf("reading base64 allocates %v times, want never", got)
	}
	if got := testing.AllocsPerRun(20, func() { _, _ = ParseSignature(raw) }); got > 0 {
		t.Errorf("reading raw bytes allocates %v times, want never", got)
	}
	const most = 30 // the key, and what a library takes: 25 are of the one in Go, most for an inversion
	if got := testing.AllocsPerRun(20, func() { Prove(preimage, field) }); got > most {
		t.Errorf("proving allocates %v times, want at most %d", got, most)
	}
}

var benchField, benchPreimage = func() ([]byte, []byte) {
	preimage := bytes.Repeat([]byte("a message of three hundred bytes"), 10)[:300]
	return PrivateKey{Scalar: [32]byte{31: 7}}.Sign(preimage), preimage
}()

// BenchmarkProve is the whole of proving one signature; BenchmarkRecover and
// BenchmarkVerify the curve's part, decred's beside the one of this build.
func BenchmarkProve(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Prove(benchPreimage, benchField)
	}
}

func BenchmarkParseSignature(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParseSignature(benchField)
	}
}

func BenchmarkDigest(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		signedMessageDigest(benchPreimage)
	}
}

func BenchmarkRecover(b *testing.B) {
	s, err := ParseSignature(benchField)
	if err != nil {
		b.Fatal(err)
	}
	digest := signedMessageDigest(benchPreimage)
	for name, c := range map[string]curveMaths{SignatureBackend: curve, "decred": decredCurve{}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.recoverKey(s, digest)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	s, err := ParseSignature(benchField)
	if err != nil {
		b.Fatal(err)
	}
	digest := signedMessageDigest(benchPreimage)
	key := curve.recoverKey(s, digest)
	for name, c := range map[string]curveMaths{SignatureBackend: curve, "decred": decredCurve{}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, signed := c.verify(s, digest, key); !signed {
					b.Fatal("not verified")
				}
			}
		})
	}
}
