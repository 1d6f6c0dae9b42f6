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
)

// A Signature is a signature field as read: compact, from which the key is
// recovered, or DER, for which the key must be known. The zero Signature is one
// that couldn't be read. docs/spec/frame.md, "Signatures".
type Signature struct {
	compact []byte
	der     *ecdsa.Signature
}

// ErrSignature says that a field is no signature in any of the forms.
var ErrSignature = errors.New("not a signature: neither 65 compact bytes nor DER, raw, in base64 or in hex")

// ParseSignature reads a signature field: 65 raw bytes are a compact signature;
// else the text is DER in hexadecimal, or strict base64 of either.
func ParseSignature(field []byte) (Signature, error) {
	switch {
	case len(field) == compactSize:
		return compactSignature(field)
	case len(field) > hex.EncodedLen(longestDER):
		return Signature{}, ErrSignature
	}
	if der, err := hex.DecodeString(string(field)); err == nil {
		if s, err := derSignature(der); err == nil {
			return s, nil
		}
	}
	b, err := base64.StdEncoding.DecodeString(string(field))
	if err != nil || base64.StdEncoding.EncodeToString(b) != string(field) {
		return Signature{}, ErrSignature
	}
	if len(b) == compactSize {
		return compactSignature(b)
	}
	return derSignature(b)
}

func compactSignature(b []byte) (Signature, error) {
	if b[0] < 27 || b[0] > 34 {
		return Signature{}, ErrSignature
	}
	return Signature{compact: b}, nil
}

func derSignature(b []byte) (Signature, error) {
	s, err := ecdsa.ParseDERSignature(b)
	if err != nil {
		return Signature{}, ErrSignature
	}
	return Signature{der: s}, nil
}

// Recoverable tells whether the key can be recovered from the signature.
func (s Signature) Recoverable() bool { return s.compact != nil }

// Readable tells whether the signature was read at all.
func (s Signature) Readable() bool { return s.compact != nil || s.der != nil }

// Recover returns the public key that made a compact signature over the
// preimage, in the form (33 or 65 bytes) that the signature's header byte says.
func (s Signature) Recover(preimage []byte) ([]byte, error) {
	if s.compact == nil {
		return nil, ErrSignature
	}
	key, compressed, err := ecdsa.RecoverCompact(s.compact, signedMessageDigest(preimage))
	if err != nil {
		return nil, err
	}
	if compressed {
		return key.SerializeCompressed(), nil
	}
	return key.SerializeUncompressed(), nil
}

// Verify tells whether a DER signature over the preimage was made by the key.
// High and low S are both right.
func (s Signature) Verify(preimage, key []byte) bool {
	if s.der == nil || !keyForm(key) {
		return false
	}
	k, err := secp256k1.ParsePubKey(key)
	if err != nil {
		return false
	}
	digest := sha256.Sum256(preimage)
	return s.der.Verify(digest[:], k)
}

const signedMessageMagic = "\x18Bitcoin Signed Message:\n"

// signedMessageDigest is the double SHA-256 that a Bitcoin Signed Message signs.
func signedMessageDigest(message []byte) []byte {
	h := sha256.New()
	h.Write([]byte(signedMessageMagic))
	h.Write(appendVarInt(nil, uint64(len(message))))
	h.Write(message)
	sum := sha256.Sum256(h.Sum(nil))
	return sum[:]
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
	sig := ecdsa.SignCompact(secp256k1.PrivKeyFromBytes(k.Scalar[:]), signedMessageDigest(preimage), !k.Uncompressed)
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
		if !keyForm(key) || HashKey(key) != address || !onCurve(key) {
			continue
		}
		if p.Signature.Verify(preimage, key) {
			return bytes.Clone(key), Valid
		}
		return nil, BadSignature // one key at most has this hash
	}
	return nil, PublicKeyUnknown
}

func onCurve(key []byte) bool {
	_, err := secp256k1.ParsePubKey(key)
	return err == nil
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
