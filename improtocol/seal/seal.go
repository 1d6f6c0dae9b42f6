// Package seal encrypts the messages of IM frames and opens them: every
// encryption type of the specification behind two functions, [Encrypt] and
// [Keys.Decrypt].
//
//   - [ParsePublished] reads the public key of a key record; [Strongest] chooses
//     the type that all recipients can read.
//   - A [Secret] is what opens messages beside the key of an address: a private
//     key of HPKE or RSA, a shared key, a passphrase. [NewHPKE], [NewRSA],
//     [NewSharedKey] and [NewPassphrase] make them.
//
// What can't be opened is [improtocol.ErrCiphertext], whatever the reason, and
// no text comes with it. The package is pure: no network, no files, no clock.
// docs/spec/improtocol.md, "Encryption types", has the formats.
package seal

import (
	"crypto/hpke"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// Reasons why nothing was encrypted.
var (
	// ErrEncryption says that a text is no encryption type that this package
	// reads, or writes.
	ErrEncryption = errors.New("no known encryption type")
	ErrNoOne      = errors.New("encrypted to nobody")
	ErrNoShared   = errors.New("encryption AES takes a shared key or a passphrase")
	ErrTooLarge   = errors.New("too large to encrypt")
)

// A Recipient is whom a message is encrypted to.
type Recipient struct {
	Label     string      // for errors
	PublicKey []byte      // secp256k1, 33 or 65 bytes; nil: none is proved
	Published []Published // from the recipient's key records, newest first
}

// newest returns the key of a type that counts: the newest of that type.
func (r Recipient) newest(encryption string) (Published, bool) {
	for _, p := range r.Published {
		if p.Encryption() == encryption {
			return p, true
		}
	}
	return Published{}, false
}

// can tells whether a recipient has a key for an encryption type.
func (r Recipient) can(encryption string) bool {
	if encryption == improtocol.ECC {
		return len(r.PublicKey) > 0
	}
	_, ok := r.newest(encryption)
	return ok
}

// A NoKeyError names the recipients that have no key to encrypt to.
type NoKeyError struct {
	Encryption string   // the type that was asked for; empty: any
	Labels     []string // at least one
}

func (e *NoKeyError) Error() string {
	who := strings.Join(e.Labels, ", ")
	switch e.Encryption {
	case "", improtocol.ECC:
		return fmt.Sprintf("no public key is known for %s: it has to send something once before it can be encrypted to", who)
	}
	return fmt.Sprintf("no %s key is published by %s", e.Encryption, who)
}

// strongRSA is the size from which an RSA key isn't weaker than secp256k1.
const strongRSA = 3072

// Strongest returns the strongest encryption type that every recipient can read:
// HPKE, then RSA with keys of 3,072 bits or more, then ECC, then RSA. AES is
// never chosen: only people know what they share. It fails with a *NoKeyError
// that names who has no key, or with ErrNoOne. RSA goes to 256 at most. docs/spec/improtocol.md,
// "Encryption types".
func Strongest(to []Recipient) (string, error) {
	if len(to) == 0 {
		return "", ErrNoOne
	}
	all := func(can func(Recipient) bool) bool {
		for _, r := range to {
			if !can(r) {
				return false
			}
		}
		return true
	}
	has := func(encryption string) bool {
		return all(func(r Recipient) bool { return r.can(encryption) })
	}
	large := func(bits int) func(Recipient) bool {
		return func(r Recipient) bool {
			p, ok := r.newest(improtocol.RSA)
			return ok && p.Bits() >= bits && len(to) <= maxRecipients
		}
	}
	switch {
	case has(improtocol.HPKE):
		return improtocol.HPKE, nil
	case all(large(strongRSA)):
		return improtocol.RSA, nil
	case has(improtocol.ECC):
		return improtocol.ECC, nil
	case all(large(minRSA)):
		return improtocol.RSA, nil
	}
	return "", without("", to, func(r Recipient) bool { return r.can(improtocol.ECC) })
}

// without returns the error that names who can't.
func without(encryption string, to []Recipient, can func(Recipient) bool) error {
	e := &NoKeyError{Encryption: encryption}
	for _, r := range to {
		if !can(r) {
			e.Labels = append(e.Labels, r.Label)
		}
	}
	if len(e.Labels) == 0 {
		return nil
	}
	return e
}

// maxPlain is the most bytes of a message that are encrypted, maxBody the most
// of a message field that are decrypted.
const (
	maxPlain = 64 << 20
	maxBody  = 96 << 20
)

// Encrypt returns one message field for all recipients (RSA, AES), or one for
// each in their order (ECC, HPKE). shared is the key or passphrase of AES, which
// takes no recipients into account, and nil for the other types. It fails with a
// *NoKeyError when a recipient has no key of the type, or with ErrEncryption,
// ErrNoOne, ErrNoShared, ErrTooLarge or improtocol.ErrPublicKey.
// docs/spec/improtocol.md, "Encryption types".
func Encrypt(encryption string, plain []byte, to []Recipient, shared *Shared) (bodies [][]byte, err error) {
	if len(plain) > maxPlain {
		return nil, ErrTooLarge
	}
	switch encryption {
	case improtocol.AES:
		if shared == nil || !shared.valid() {
			return nil, ErrNoShared
		}
		body, err := encryptShared(plain, *shared)
		return one(body, err)
	case improtocol.ECC, improtocol.RSA, improtocol.HPKE:
	default:
		return nil, fmt.Errorf("%w that can be written: %q", ErrEncryption, encryption)
	}
	if len(to) == 0 {
		return nil, ErrNoOne
	}
	if err := without(encryption, to, func(r Recipient) bool { return r.can(encryption) }); err != nil {
		return nil, err
	}
	if encryption == improtocol.RSA {
		body, err := encryptRSA(plain, to)
		return one(body, err)
	}
	for _, r := range to {
		body, err := encryptTo(encryption, plain, r)
		if err != nil {
			return nil, fmt.Errorf("encrypt to %s: %w", r.Label, err)
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

func one(body []byte, err error) ([][]byte, error) {
	if err != nil {
		return nil, err
	}
	return [][]byte{body}, nil
}

func encryptTo(encryption string, plain []byte, r Recipient) ([]byte, error) {
	if encryption == improtocol.ECC {
		return improtocol.EncryptECC(plain, r.PublicKey, nil)
	}
	p, _ := r.newest(encryption)
	return encryptHPKE(plain, p.hpke)
}

// Keys open messages. They hold secrets of their owner only, in no order: all of
// the type are tried. The zero Keys opens nothing.
type Keys struct {
	ECC    []frame.PrivateKey
	RSA    []*rsa.PrivateKey
	HPKE   []hpke.PrivateKey
	Shared []Shared
}

// Add adds a secret to the keys of its type.
func (k *Keys) Add(s Secret) {
	switch {
	case s.rsa != nil:
		k.RSA = append(k.RSA, s.rsa)
	case s.hpke != nil:
		k.HPKE = append(k.HPKE, s.hpke)
	case s.shared.valid():
		k.Shared = append(k.Shared, s.shared)
	}
}

// Decrypt opens a message field, which it doesn't change. It fails with
// improtocol.ErrCiphertext, which says nothing of how far it came, or with
// ErrEncryption when the type is plain or unknown. A message of type ECDHAES
// takes [Keys.DecryptBetween].
func (k *Keys) Decrypt(encryption string, body []byte) ([]byte, error) {
	return k.DecryptBetween(encryption, body, nil)
}

// DecryptBetween is Decrypt for a message between the owner of the keys and the
// owner of another public key (secp256k1, 33 or 65 bytes): the sender's, or of a
// message of one's own the recipient's. Only ECDHAES looks at it, and the caller
// must have verified the frame's signature by the sender: the type has no other
// integrity. docs/spec/improtocol.md, "ECDHAES".
func (k *Keys) DecryptBetween(encryption string, body, other []byte) ([]byte, error) {
	var plain []byte
	var ok bool
	if len(body) > maxBody {
		body = nil // which nothing opens
	}
	switch encryption {
	case improtocol.ECC:
		plain, ok = try(k.ECC, func(key frame.PrivateKey) ([]byte, error) { return improtocol.DecryptECC(body, key) })
	case improtocol.AES:
		plain, ok = decryptShared(body, k.Shared)
	case improtocol.RSA:
		plain, ok = decryptRSA(body, k.RSA)
	case improtocol.HPKE:
		plain, ok = decryptHPKE(body, k.HPKE)
	case improtocol.ECDHAES:
		plain, ok = try(k.ECC, func(key frame.PrivateKey) ([]byte, error) { return decryptECDHAES(body, key, other) })
	default:
		return nil, fmt.Errorf("%w: %q", ErrEncryption, encryption)
	}
	switch {
	case !ok:
		return nil, improtocol.ErrCiphertext
	case plain == nil:
		return []byte{}, nil // an empty message, not none
	}
	return plain, nil
}

// try returns what the first key opens.
func try[K any](keys []K, open func(K) ([]byte, error)) ([]byte, bool) {
	for _, key := range keys {
		if plain, err := open(key); err == nil {
			return plain, true
		}
	}
	return nil, false
}

// Format prints how many keys there are and no more, whatever the verb.
func (k Keys) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%d keys", len(k.ECC)+len(k.RSA)+len(k.HPKE)+len(k.Shared))
}
