package improtocol_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"testing"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"pgregory.net/rapid"
)

// TestECCRoundTrips: what is encrypted to a key, compressed or not, is decrypted
// by it and by no other.
func TestECCRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "plain")
		to := rapid.SampledFrom([]frame.PrivateKey{alice, bob}).Draw(t, "to")
		before := slices.Clone(plain)
		cipher, err := improtocol.EncryptECC(plain, to.PublicKey(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(plain, before) {
			t.Fatal("the plain text was changed")
		}
		if got, err := improtocol.DecryptECC(cipher, to); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("got %x %v, want %x", got, err, plain)
		}
		other := frame.PrivateKey{Scalar: [32]byte{31: 11}}
		if got, err := improtocol.DecryptECC(cipher, other); !errors.Is(err, improtocol.ErrCiphertext) || got != nil {
			t.Fatalf("another key: got %x %v, want %v", got, err, improtocol.ErrCiphertext)
		}
	})
}

// TestECCIsAuthenticated: whatever bit is changed, no text comes out.
func TestECCIsAuthenticated(t *testing.T) {
	cipher, err := improtocol.EncryptECC([]byte("meet me at the usual place"), alice.PublicKey(), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(string(cipher))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			changed := slices.Clone(raw)
			changed[i] ^= 1 << bit
			field := []byte(base64.StdEncoding.EncodeToString(changed))
			if got, err := improtocol.DecryptECC(field, alice); !errors.Is(err, improtocol.ErrCiphertext) || got != nil {
				t.Fatalf("byte %d, bit %d changed: got %q %v", i, bit, got, err)
			}
		}
	}
	for n := range raw {
		field := []byte(base64.StdEncoding.EncodeToString(raw[:n]))
		if got, err := improtocol.DecryptECC(field, alice); !errors.Is(err, improtocol.ErrCiphertext) || got != nil {
			t.Fatalf("cut to %d bytes: got %q %v", n, got, err)
		}
	}
}

func TestECCErrors(t *testing.T) {
	for name, key := range map[string][]byte{
		"no key": nil, "32 bytes": make([]byte, 32), "zeros": make([]byte, 33),
		"not on the curve": append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...),
	} {
		if _, err := improtocol.EncryptECC([]byte("x"), key, nil); !errors.Is(err, improtocol.ErrPublicKey) {
			t.Errorf("%s: got %v, want %v", name, err, improtocol.ErrPublicKey)
		}
	}
	broken := errors.New("no randomness")
	if _, err := improtocol.EncryptECC([]byte("x"), alice.PublicKey(), failing{broken}); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	for _, body := range []string{"", "plain text", "QklFMQ==", "====", "\x00"} {
		if got, err := improtocol.DecryptECC([]byte(body), alice); !errors.Is(err, improtocol.ErrCiphertext) || got != nil {
			t.Errorf("%q: got %q %v, want %v", body, got, err, improtocol.ErrCiphertext)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestECCIsFresh: the same text to the same key never gives the same bytes.
func TestECCIsFresh(t *testing.T) {
	a, errA := improtocol.EncryptECC([]byte("x"), alice.PublicKey(), nil)
	b, errB := improtocol.EncryptECC([]byte("x"), alice.PublicKey(), nil)
	if errA != nil || errB != nil || bytes.Equal(a, b) {
		t.Errorf("got %s and %s, %v %v", a, b, errA, errB)
	}
}

func TestHostileECC(t *testing.T) {
	body := bytes.Repeat([]byte("QUJD"), 1<<20)
	if got, want := allocated(func() { _, _ = improtocol.DecryptECC(body, alice) }), uint64(2*len(body)); got > want {
		t.Errorf("%d bytes allocated for %d, want at most %d", got, len(body), want)
	}
}

// TestECCLineBreaks: some programs wrap base64; what they wrote is decrypted.
func TestECCLineBreaks(t *testing.T) {
	cipher, err := improtocol.EncryptECC([]byte("hello"), alice.PublicKey(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"a line feed inside": "\n", "both inside": "\r\n"} {
		wrapped := string(cipher[:64]) + body + string(cipher[64:])
		if got, err := improtocol.DecryptECC([]byte(wrapped), alice); err != nil || string(got) != "hello" {
			t.Errorf("%s: got %q %v", name, got, err)
		}
	}
	if got, err := improtocol.DecryptECC([]byte(string(cipher[:64])+" "+string(cipher[64:])), alice); err == nil {
		t.Errorf("a space inside: got %q", got)
	}
}
