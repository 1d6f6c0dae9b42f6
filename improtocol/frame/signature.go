package frame

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

const (
	compactSize = 65
	longestDER  = 72 // bytes; in hexadecimal no form of a signature is longer

	compressedHeader = 31 // and above: the key that signed is written in 33 bytes
	derHeader        = 1  // of a Signature that was read from DER
)

// A Signature is a signature field as read: compact, from which the key is
// recovered, or DER, for which the key must be known. The zero Signature is one
// that couldn't be read. docs/spec/frame.md, "Signatures".
type Signature struct {
	header byte // 27 to 34 of a compact signature, derHeader, or 0
	r, s   [32]byte
}

// ErrSignature says that a field is no signature in any of the forms.
var ErrSignature = errors.New("not a signature: neither 65 compact bytes nor DER, raw, in base64 or in hex")

// errNoKey says that a compact signature has the right form and is none: r or s
// is out of range, or no point belongs to r.
var errNoKey = errors.New("no key can have made this signature")

// ParseSignature reads a signature field: 65 raw bytes are a compact signature;
// else the text is DER in hexadecimal, or strict base64 of either.
func ParseSignature(field []byte) (Signature, error) {
	switch {
	case len(field) == compactSize:
		return compactSignature(field)
	case len(field) > 2*longestDER:
		return Signature{}, ErrSignature
	}
	var decoded, again [2 * longestDER]byte // room for a text, and for what it says
	if n, err := hex.Decode(decoded[:], field); err == nil {
		if s, err := derSignature(decoded[:n]); err == nil {
			return s, nil
		}
	}
	n, err := base64.StdEncoding.Decode(decoded[:], field)
	if err != nil || !bytes.Equal(base64.StdEncoding.AppendEncode(again[:0], decoded[:n]), field) {
		return Signature{}, ErrSignature
	}
	if n == compactSize {
		return compactSignature(decoded[:n])
	}
	return derSignature(decoded[:n])
}

func compactSignature(b []byte) (Signature, error) {
	if b[0] < 27 || b[0] > 34 {
		return Signature{}, ErrSignature
	}
	return Signature{header: b[0], r: [32]byte(b[1:33]), s: [32]byte(b[33:])}, nil
}

func derSignature(b []byte) (Signature, error) {
	parsed, err := ecdsa.ParseDERSignature(b)
	if err != nil {
		return Signature{}, ErrSignature
	}
	r, s := parsed.R(), parsed.S()
	return Signature{header: derHeader, r: r.Bytes(), s: s.Bytes()}, nil
}

// Recoverable tells whether the key can be recovered from the signature.
func (s Signature) Recoverable() bool { return s.header > derHeader }

// Readable tells whether the signature was read at all.
func (s Signature) Readable() bool { return s.header != 0 }

// Recover returns the public key that made a compact signature over the
// preimage, in the form (33 or 65 bytes) that the signature's header byte says.
func (s Signature) Recover(preimage []byte) ([]byte, error) {
	if !s.Recoverable() {
		return nil, ErrSignature
	}
	key := curve.recoverKey(s, signedMessageDigest(preimage))
	if key == nil {
		return nil, errNoKey
	}
	return key, nil
}

// Verify tells whether a DER signature over the preimage was made by the key.
// High and low S are both right.
func (s Signature) Verify(preimage, key []byte) bool {
	_, signed := s.verify(preimage, key)
	return signed
}

// verify also tells whether the key is one: whether it has the form of a key and
// is on the curve.
func (s Signature) verify(preimage, key []byte) (isKey, signed bool) {
	if s.header != derHeader || !keyForm(key) {
		return false, false
	}
	return curve.verify(s, sha256.Sum256(preimage), key)
}

const signedMessageMagic = "\x18Bitcoin Signed Message:\n"

// signedMessageDigest is the double SHA-256 that a Bitcoin Signed Message signs.
func signedMessageDigest(message []byte) [32]byte {
	var start [len(signedMessageMagic) + 9]byte
	h := sha256.New()
	h.Write(appendVarInt(append(start[:0], signedMessageMagic...), uint64(len(message))))
	h.Write(message)
	var sum [32]byte
	h.Sum(sum[:0])
	return sha256.Sum256(sum[:])
}

func appendVarInt(dst []byte, n uint64) []byte {
	switch {
	case n < 0xfd:
		return append(dst, byte(n))
	case n <= 0xffff:
		return binary.LittleEndian.AppendUint16(append(dst, 0xfd), uint16(n))
	case n <= 0xffffffff:
		return binary.LittleEndian.AppendUint32(append(dst, 0xfe), uint32(n))
	}
	return binary.LittleEndian.AppendUint64(append(dst, 0xff), n)
}

// A PrivateKey signs. It is the 32-byte scalar of a secp256k1 key, and whether
// its public key is written in 33 bytes.
type PrivateKey struct {
	Scalar       [32]byte
	Uncompressed bool
}

// PublicKey returns the serialised public key, 33 or 65 bytes.
func (k PrivateKey) PublicKey() []byte {
	pub := secp256k1.PrivKeyFromBytes(k.Scalar[:]).PubKey()
	if k.Uncompressed {
		return pub.SerializeUncompressed()
	}
	return pub.SerializeCompressed()
}

// KeyHash returns the hash that the key's address names.
func (k PrivateKey) KeyHash() KeyHash { return HashKey(k.PublicKey()) }

// Sign signs a preimage as a Bitcoin Signed Message and returns the signature
// field as it is written: base64 of 65 bytes.
func (k PrivateKey) Sign(preimage []byte) []byte {
	digest := signedMessageDigest(preimage)
	sig := ecdsa.SignCompact(secp256k1.PrivKeyFromBytes(k.Scalar[:]), digest[:], !k.Uncompressed)
	return base64.StdEncoding.AppendEncode(nil, sig)
}

// keyForm tells whether bytes have the form of a public key: 33 bytes from 02
// or 03, or 65 from 04. They needn't be on the curve.
func keyForm(key []byte) bool {
	switch len(key) {
	case 33:
		return key[0] == 2 || key[0] == 3
	case 65:
		return key[0] == 4
	}
	return false
}

// A Proof is what a signature shows by itself, before anyone says which address
// it should be of.
type Proof struct {
	Signature Signature
	Key       []byte // recovered; nil when the signature is DER or recovers none
}

// Prove reads a signature field and recovers its key where it can. It needs no
// state and is the costly half of judging a signature.
func Prove(preimage, field []byte) Proof {
	s, err := ParseSignature(field)
	if err != nil {
		return Proof{}
	}
	key, _ := s.Recover(preimage) // no key: Check says bad_signature
	return Proof{Signature: s, Key: key}
}

// Check judges the proof against the address that should have signed.
// candidates are the public keys that a DER signature may be of. It returns the
// key that signed with the verdict [Valid], else [PublicKeyUnknown] (DER, and no
// candidate belongs to the address) or [BadSignature].
func (p Proof) Check(preimage []byte, address KeyHash, candidates func(yield func(key []byte) bool)) ([]byte, Verdict) {
	switch {
	case !p.Signature.Readable():
		return nil, BadSignature
	case p.Signature.Recoverable():
		if p.Key == nil || HashKey(p.Key) != address {
			return nil, BadSignature
		}
		return p.Key, Valid
	}
	for key := range candidates {
		if !keyForm(key) || HashKey(key) != address {
			continue
		}
		switch isKey, signed := p.Signature.verify(preimage, key); {
		case signed:
			return bytes.Clone(key), Valid
		case isKey:
			return nil, BadSignature // one key at most has this hash
		}
	}
	return nil, PublicKeyUnknown
}

// ParsePublicKey reads a public key in hexadecimal of either case. ok is false
// when it hasn't the form of one; it needn't be on the curve.
func ParsePublicKey(text string) (key []byte, ok bool) {
	if len(text) > 130 {
		return nil, false
	}
	key, err := hex.DecodeString(text)
	if err != nil || !keyForm(key) {
		return nil, false
	}
	return key, true
}
