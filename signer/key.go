package signer

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/libsv/go-bk/bec"
	"github.com/libsv/go-bk/chaincfg"
	"github.com/libsv/go-bk/wif"

	"github.com/metaim/metaim/improtocol/frame"
)

// A Key is a private key and the form of its public key, which decides its
// address. However a Key is printed, only its key hash shows. The zero Key
// holds nothing; see [Key.Valid].
type Key struct {
	private *bec.PrivateKey // a pointer, so that printing a struct around it shows an address
	public  []byte          // 33 or 65 bytes
	hash    frame.KeyHash
}

const (
	scalarBytes     = 32
	compressedBytes = 33
)

// ErrScalar says that 32 bytes are no private key: zero, or not below the order
// of the curve.
var ErrScalar = errors.New("not a private key: the number is zero or too large")

// NewKey makes a random key with a compressed public key.
func NewKey() Key {
	var scalar [scalarBytes]byte
	for {
		rand.Read(scalar[:]) // never fails: the program ends first
		if k, err := NewKeyFromScalar(scalar, false); err == nil {
			return k
		}
	}
}

// NewKeyFromScalar makes the key of a 32-byte big-endian number. It fails with
// ErrScalar.
func NewKeyFromScalar(scalar [scalarBytes]byte, uncompressed bool) (Key, error) {
	n := new(big.Int).SetBytes(scalar[:])
	if n.Sign() == 0 || n.Cmp(bec.S256().N) >= 0 {
		return Key{}, ErrScalar
	}
	private, public := bec.PrivKeyFromBytes(bec.S256(), scalar[:])
	k := Key{private: private, public: public.SerialiseCompressed()}
	if uncompressed {
		k.public = public.SerialiseUncompressed()
	}
	k.hash = frame.HashKey(k.public)
	return k, nil
}

// Valid tells whether the key is one: only the zero Key isn't.
func (k Key) Valid() bool { return k.private != nil }

// Uncompressed tells whether the public key is written in 65 bytes.
func (k Key) Uncompressed() bool { return len(k.public) > compressedBytes }

// PublicKey returns a copy of the serialised public key, 33 or 65 bytes.
func (k Key) PublicKey() []byte { return append([]byte(nil), k.public...) }

// KeyHash returns the hash that the key's address names.
func (k Key) KeyHash() frame.KeyHash { return k.hash }

// Address returns the key's address on a network.
func (k Key) Address(n frame.Network) string { return n.Address(k.hash) }

// Private returns the key as improtocol and nprotocol sign with it. The key must
// be valid.
func (k Key) Private() frame.PrivateKey {
	return frame.PrivateKey{Scalar: k.scalar(), Uncompressed: k.Uncompressed()}
}

func (k Key) scalar() [scalarBytes]byte { return [scalarBytes]byte(k.private.Serialise()) }

// WIF returns the secret in wallet import format. The key must be valid.
func (k Key) WIF(n frame.Network) string {
	w, err := wif.NewWIF(k.private, params(n), !k.Uncompressed())
	if err != nil {
		panic(err) // only for a nil network
	}
	return w.String()
}

// Equal tells whether two keys are the same number in the same form.
func (k Key) Equal(other Key) bool {
	return k.Valid() == other.Valid() && k.hash == other.hash
}

// Format prints the key hash, whatever the verb: a secret that reaches a log by
// accident is a lost one.
func (k Key) Format(s fmt.State, _ rune) {
	if !k.Valid() {
		io.WriteString(s, "no key")
		return
	}
	fmt.Fprintf(s, "key %x", k.hash[:])
}

// MarshalText refuses, so that no encoder writes a key by accident.
func (k Key) MarshalText() ([]byte, error) {
	return nil, errors.New("a private key is not written as text: ask for its WIF")
}

// SharedSecret returns the x coordinate of the key times a public key, always
// 32 bytes: go-bk drops leading zeros.
func (k Key) SharedSecret(public []byte) ([]byte, error) {
	p, err := parsePublicKey(public)
	if err != nil {
		return nil, err
	}
	x := bec.GenerateSharedSecret(k.private, p)
	secret := make([]byte, 32)
	copy(secret[len(secret)-len(x):], x)
	return secret, nil
}

// ErrPublicKey says that bytes are no public key.
var ErrPublicKey = errors.New("not a public key of 33 or 65 bytes on the curve")

func parsePublicKey(b []byte) (*bec.PublicKey, error) {
	compressed := len(b) == compressedBytes && (b[0] == 2 || b[0] == 3)
	if !compressed && (len(b) != 65 || b[0] != 4) {
		return nil, ErrPublicKey
	}
	p, err := bec.ParsePubKey(b, bec.S256())
	if err != nil {
		return nil, ErrPublicKey
	}
	return p, nil
}

func params(n frame.Network) *chaincfg.Params {
	if n == frame.Main {
		return &chaincfg.MainNet
	}
	return &chaincfg.TestNet
}

// Reasons why a text is no secret that can be imported. None of them holds any
// part of the secret.
var (
	ErrWIF           = errors.New("not a key in wallet import format: it is damaged or mistyped")
	ErrSecretNetwork = errors.New("the key is for another network")
)

const longestWIF = 52 // characters that 38 bytes can take

// ParseWIF reads a key in wallet import format. It fails with ErrWIF,
// ErrSecretNetwork or ErrScalar.
func ParseWIF(text string, n frame.Network) (Key, error) {
	if len(text) > longestWIF {
		return Key{}, ErrWIF
	}
	w, err := wif.DecodeWIF(text)
	if err != nil || w.String() != text {
		return Key{}, ErrWIF
	}
	if !w.IsForNet(&chaincfg.MainNet) && !w.IsForNet(&chaincfg.TestNet) {
		return Key{}, ErrWIF
	}
	if !w.IsForNet(params(n)) {
		return Key{}, fmt.Errorf("%w: this is %s", ErrSecretNetwork, n)
	}
	// go-bk takes zero, and numbers beyond the order of the curve.
	return NewKeyFromScalar([scalarBytes]byte(w.PrivKey.Serialise()), !w.CompressPubKey)
}
