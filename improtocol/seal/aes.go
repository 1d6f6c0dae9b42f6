package seal

import (
	"crypto/aes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	josecipher "github.com/go-jose/go-jose/v4/cipher"
)

const (
	sharedKeyBytes = 32
	wrappedKey     = sharedKeyBytes + 8 // bytes, by RFC 3394

	minPassphrase = 8 // bytes
	maxPassphrase = 1024
	minSalt       = 8
	maxSalt       = 64

	writtenCost = 210_000 // PBKDF2 iterations that are written, with SHA-512
	minCost     = 1_000   // and those that are accepted: RFC 7518, 4.8.1.2
	maxCost     = 600_000
)

// Reasons why something can't be shared.
var (
	ErrSharedKey  = errors.New("a shared key is 32 bytes: 64 hexadecimal digits, or 43 characters of base64url")
	ErrPassphrase = errors.New("a passphrase to share has 8 to 1,024 bytes of UTF-8")
)

var errJWE = errors.New("not a JWE of this type") // never shown

// Shared is what both sides of type AES hold: a key of 32 bytes or a passphrase.
// However it is printed, its secret doesn't show. The zero Shared is neither.
type Shared struct {
	key        []byte
	passphrase string
}

// NewSharedKey makes a random key.
func NewSharedKey() Shared {
	key := make([]byte, sharedKeyBytes)
	rand.Read(key) // never fails: the program ends first
	return Shared{key: key}
}

// ParseSharedKey reads a key as [Shared.Text] writes it, or in hexadecimal. It
// fails with ErrSharedKey.
func ParseSharedKey(text string) (Shared, error) {
	switch len(text) {
	case hex.EncodedLen(sharedKeyBytes):
		if key, err := hex.DecodeString(text); err == nil {
			return Shared{key: key}, nil
		}
	case base64.RawURLEncoding.EncodedLen(sharedKeyBytes):
		if key, err := base64.RawURLEncoding.Strict().DecodeString(text); err == nil && len(key) == sharedKeyBytes {
			return Shared{key: key}, nil
		}
	}
	return Shared{}, ErrSharedKey
}

// NewPassphrase takes a passphrase as it is: spaces, letters and their
// composition count. It fails with ErrPassphrase.
func NewPassphrase(text string) (Shared, error) {
	if len(text) < minPassphrase || len(text) > maxPassphrase || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\r\n") {
		return Shared{}, ErrPassphrase
	}
	return Shared{passphrase: text}, nil
}

// IsPassphrase tells a passphrase from a key.
func (s Shared) IsPassphrase() bool { return s.passphrase != "" }

// Secret returns what is shared as a secret that can be kept.
func (s Shared) Secret() Secret { return Secret{shared: s} }

// Text returns the passphrase, or the key in base64url: for the eyes of whom it
// is shared with.
func (s Shared) Text() string {
	if s.IsPassphrase() {
		return s.passphrase
	}
	return base64.RawURLEncoding.EncodeToString(s.key)
}

// Format prints what it is and no more, whatever the verb.
func (s Shared) Format(f fmt.State, _ rune) {
	switch {
	case s.IsPassphrase():
		io.WriteString(f, "shared passphrase")
	case s.valid():
		io.WriteString(f, "shared key")
	default:
		io.WriteString(f, "nothing shared")
	}
}

// MarshalText refuses, so that no encoder writes a secret by accident.
func (s Shared) MarshalText() ([]byte, error) { return nil, errMarshal }

func (s Shared) valid() bool { return s.IsPassphrase() || len(s.key) == sharedKeyBytes }

func encryptShared(plain []byte, s Shared) ([]byte, error) {
	to := jose.Recipient{Algorithm: jose.DIRECT, Key: s.key}
	if s.IsPassphrase() {
		to = jose.Recipient{Algorithm: jose.PBES2_HS512_A256KW, Key: []byte(s.passphrase), PBES2Count: writtenCost}
	}
	e, err := jose.NewEncrypter(jose.A256GCM, to, nil)
	if err != nil {
		return nil, err
	}
	sealed, err := e.Encrypt(plain)
	if err != nil {
		return nil, err
	}
	text, err := sealed.CompactSerialize()
	return []byte(text), err
}

// A stretch is a way from a passphrase to the key that wraps the content key.
type stretch struct {
	hash func() hash.Hash
	size int // bytes of the key
}

var stretches = map[string]stretch{
	string(jose.PBES2_HS256_A128KW): {sha256.New, 16},
	string(jose.PBES2_HS512_A256KW): {sha512.New, 32},
}

func decryptShared(body []byte, shared []Shared) ([]byte, bool) {
	j, err := readCompact(body)
	if err != nil {
		return nil, false
	}
	r := j.recipients[0]
	by, stretched := stretches[r.alg]
	switch {
	case stretched && (len(r.key) != wrappedKey || r.cost < minCost || r.cost > maxCost):
		return nil, false
	case !stretched && (r.alg != string(jose.DIRECT) || len(r.key) != 0 || r.cost != 0):
		return nil, false
	}
	return try(shared, func(s Shared) ([]byte, error) {
		if s.IsPassphrase() != stretched {
			return nil, errJWE
		}
		if !stretched {
			return j.open(s.key)
		}
		contentKey, err := r.unwrap(by, s.passphrase)
		if err != nil {
			return nil, err
		}
		return j.open(contentKey)
	})
}

// unwrap returns the content key that a passphrase unlocks: RFC 7518, 4.8.
func (r jweRecipient) unwrap(by stretch, passphrase string) ([]byte, error) {
	salt := append([]byte(r.alg+"\x00"), r.salt...)
	key, err := pbkdf2.Key(by.hash, passphrase, salt, r.cost, by.size)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return josecipher.KeyUnwrap(block, r.key)
}
