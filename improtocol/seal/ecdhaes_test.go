package seal_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/libsv/go-bk/bec"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/improtocol/seal"
)

// encryptECDHAES does what the framework author's library does, with big
// numbers and go-bk's curve.
func encryptECDHAES(t testing.TB, plain []byte, from, to frame.PrivateKey) []byte {
	t.Helper()
	mine, _ := bec.PrivKeyFromBytes(bec.S256(), from.Scalar[:])
	_, theirs := bec.PrivKeyFromBytes(bec.S256(), to.Scalar[:])
	x, _ := bec.S256().ScalarMult(theirs.X, theirs.Y, mine.D.Bytes())
	key := x.FillBytes(make([]byte, 32))
	mixed := mine.PubKey().SerialiseUncompressed()
	for i, c := range theirs.SerialiseUncompressed() {
		mixed[i] ^= c
	}
	sum := sha256.Sum256(mixed)
	iv := make([]byte, 16)
	copy(iv[:15], sum[:])
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	padding := 16 - len(plain)%16
	b := append(append([]byte{}, plain...), strings.Repeat(string(rune(padding)), padding)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(b, b)
	return b
}

// TestECDHAES: opened by both sides, in the three forms, with the public key in
// either form; by nobody else.
func TestECDHAES(t *testing.T) {
	alice, bob := frame.PrivateKey{Scalar: [32]byte{31: 5}}, frame.PrivateKey{Scalar: [32]byte{31: 7}, Uncompressed: true}
	long := strings.Repeat("bsv test 1234, ", 40)
	for _, plain := range []string{"bsv test 1234", "", "exactly 16 bytes", "gr\u00fc\u00dfe", long} {
		raw := encryptECDHAES(t, []byte(plain), alice, bob)
		for form, body := range map[string]string{
			"raw": string(raw), "base64": base64.StdEncoding.EncodeToString(raw), "hexadecimal": hex.EncodeToString(raw),
			"upper case": strings.ToUpper(hex.EncodeToString(raw)),
		} {
			for side, open := range map[string][2]frame.PrivateKey{"recipient": {bob, alice}, "sender": {alice, bob}} {
				keys := seal.Keys{ECC: []frame.PrivateKey{open[0]}}
				got, err := keys.DecryptBetween(improtocol.ECDHAES, []byte(body), open[1].PublicKey())
				if err != nil || string(got) != plain {
					t.Errorf("%s, %s: got %q, %v; want %q", form, side, got, err, plain)
				}
			}
		}
	}
}

// TestECDHAESKeyIsPadded: a shared point whose x begins with a zero byte takes
// no shorter key.
func TestECDHAESKeyIsPadded(t *testing.T) {
	_, g := bec.PrivKeyFromBytes(bec.S256(), []byte{1})
	for i := int64(2); ; i++ {
		x, _ := bec.S256().ScalarMult(g.X, g.Y, big.NewInt(i).Bytes())
		if x.BitLen() > 248 {
			continue
		}
		one, other := frame.PrivateKey{Scalar: [32]byte{31: 1}}, frame.PrivateKey{}
		big.NewInt(i).FillBytes(other.Scalar[:])
		keys := seal.Keys{ECC: []frame.PrivateKey{other}}
		got, err := keys.DecryptBetween(improtocol.ECDHAES, encryptECDHAES(t, []byte("x"), one, other), one.PublicKey())
		if err != nil || string(got) != "x" {
			t.Errorf("scalar %d: got %q, %v", i, got, err)
		}
		return
	}
}

func TestECDHAESRefusals(t *testing.T) {
	alice, bob, eve := frame.PrivateKey{Scalar: [32]byte{31: 5}}, frame.PrivateKey{Scalar: [32]byte{31: 7}}, frame.PrivateKey{Scalar: [32]byte{31: 9}}
	good := encryptECDHAES(t, []byte("meet me at the usual place"), alice, bob)
	tests := []struct {
		name  string
		body  []byte
		key   frame.PrivateKey
		other []byte
	}{
		{"no public key", good, bob, nil},
		{"a public key that is none", good, bob, make([]byte, 33)},
		{"another's key", good, eve, alice.PublicKey()},
		{"another's public key", good, bob, eve.PublicKey()},
		{"empty", nil, bob, alice.PublicKey()},
		{"cut inside a block", good[:20], bob, alice.PublicKey()},
		{"cut between blocks", good[:16], bob, alice.PublicKey()},
		{"text", []byte("hello, this is not encrypted at all"), bob, alice.PublicKey()},
		{"not UTF-8", encryptECDHAES(t, []byte{0xff, 0xfe}, alice, bob), bob, alice.PublicKey()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys := seal.Keys{ECC: []frame.PrivateKey{tt.key}}
			if got, err := keys.DecryptBetween(improtocol.ECDHAES, tt.body, tt.other); !errors.Is(err, improtocol.ErrCiphertext) || got != nil {
				t.Errorf("got %q, %v; want %v", got, err, improtocol.ErrCiphertext)
			}
		})
	}
	keys := seal.Keys{ECC: []frame.PrivateKey{bob}}
	if got, err := keys.Decrypt(improtocol.ECDHAES, good); err != improtocol.ErrCiphertext || got != nil {
		t.Errorf("without the sender: got %q, %v", got, err)
	}
}
