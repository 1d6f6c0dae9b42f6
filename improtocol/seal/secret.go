package seal

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/metaim/metaim/improtocol"
)

// A Secret opens messages beside the key of an address: the private key of HPKE
// or RSA, or what is shared for AES. It is made of randomness and of no other
// key: an HPKE key that followed from a secp256k1 key would fall with it.
// However a Secret is printed, only its kind shows. The zero Secret is none.
type Secret struct {
	hpke   hpke.PrivateKey
	rsa    *rsa.PrivateKey
	shared Shared
}

// A Kind says what a secret is.
type Kind string

// The kinds of secrets.
const (
	KindHPKE       Kind = "HPKE"
	KindRSA        Kind = "RSA"
	KindKey        Kind = "key" // shared
	KindPassphrase Kind = "passphrase"
)

// Reasons why a text isn't a secret. None of them holds any part of it.
var (
	ErrSecret  = errors.New("not a secret (JWK) that opens messages")
	ErrRSASize = fmt.Errorf("RSA keys have %d to %d bits", minRSA, maxRSA)

	errMarshal = errors.New("a secret is not written as text: ask for it")
)

// NewHPKE makes a private key of type HPKE.
func NewHPKE() (Secret, error) {
	key, err := hpkeKEM.GenerateKey()
	return Secret{hpke: key}, err
}

// NewRSA makes a private key of type RSA, of 2,048 to 8,192 bits. It fails with
// ErrRSASize. It takes a second, and many for large keys.
func NewRSA(bits int) (Secret, error) {
	if bits < minRSA || bits > maxRSA || bits%8 != 0 {
		return Secret{}, ErrRSASize
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return Secret{}, err
	}
	return Secret{rsa: key}, nil
}

// Kind returns what the secret is, "" for the zero Secret.
func (s Secret) Kind() Kind {
	switch {
	case s.hpke != nil:
		return KindHPKE
	case s.rsa != nil:
		return KindRSA
	case s.shared.IsPassphrase():
		return KindPassphrase
	case s.shared.valid():
		return KindKey
	}
	return ""
}

// Encryption returns the type of the messages that the secret opens.
func (s Secret) Encryption() string {
	switch s.Kind() {
	case KindHPKE:
		return improtocol.HPKE
	case KindRSA:
		return improtocol.RSA
	case KindKey, KindPassphrase:
		return improtocol.AES
	}
	return ""
}

// Published returns the public key of a private key. ok is false for what is
// shared.
func (s Secret) Published() (p Published, ok bool) {
	switch {
	case s.hpke != nil:
		return Published{hpke: s.hpke.PublicKey()}, true
	case s.rsa != nil:
		return Published{rsa: &s.rsa.PublicKey}, true
	}
	return Published{}, false
}

// Shared returns what is shared. ok is false for a private key.
func (s Secret) Shared() (shared Shared, ok bool) { return s.shared, s.shared.valid() }

// Equal tells whether two secrets are the same.
func (s Secret) Equal(other Secret) bool {
	if s.Kind() != other.Kind() {
		return false
	}
	switch {
	case s.hpke != nil:
		return bytes.Equal(s.hpke.PublicKey().Bytes(), other.hpke.PublicKey().Bytes())
	case s.rsa != nil:
		return s.rsa.Equal(other.rsa)
	}
	return subtle.ConstantTimeCompare(s.shared.key, other.shared.key) == 1 &&
		subtle.ConstantTimeCompare([]byte(s.shared.passphrase), []byte(other.shared.passphrase)) == 1
}

// Format prints the kind, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) {
	if s.Kind() == "" {
		io.WriteString(f, "no secret")
		return
	}
	fmt.Fprintf(f, "secret (%s)", string(s.Kind()))
}

// MarshalText refuses, so that no encoder writes a secret by accident.
func (s Secret) MarshalText() ([]byte, error) { return nil, errMarshal }

// A secretJWK is a secret to be kept. An RSA key is written by go-jose.
type secretJWK struct {
	Kty  string `json:"kty"`
	Alg  string `json:"alg"`
	Pub  string `json:"pub,omitempty"`
	Priv string `json:"priv,omitempty"`
	K    string `json:"k,omitempty"`
}

// JWK writes the secret as a JWK: with everything that it is, to be kept
// encrypted.
func (s Secret) JWK() ([]byte, error) {
	text := base64.RawURLEncoding.EncodeToString
	switch s.Kind() {
	case KindHPKE:
		seed, err := s.hpke.Bytes()
		if err != nil {
			return nil, err
		}
		return json.Marshal(secretJWK{Kty: ktyHPKE, Alg: algHPKE, Pub: text(s.hpke.PublicKey().Bytes()), Priv: text(seed)})
	case KindRSA:
		return json.Marshal(jose.JSONWebKey{Key: s.rsa, Algorithm: string(jose.RSA_OAEP_256)})
	case KindKey:
		return json.Marshal(secretJWK{Kty: "oct", Alg: string(jose.DIRECT), K: text(s.shared.key)})
	case KindPassphrase:
		return json.Marshal(secretJWK{Kty: "oct", Alg: string(jose.PBES2_HS512_A256KW), K: text([]byte(s.shared.passphrase))})
	}
	return nil, ErrSecret
}

// ParseSecret reads what [Secret.JWK] writes. It fails with ErrSecret.
func ParseSecret(jwk []byte) (Secret, error) {
	h, err := readJWK(jwk)
	if err != nil {
		return Secret{}, ErrSecret
	}
	switch h.text("kty") {
	case ktyRSA:
		return parseRSASecret(jwk)
	case ktyHPKE:
		return h.hpkeSecret()
	case "oct":
		return h.sharedSecret()
	}
	return Secret{}, ErrSecret
}

func parseRSASecret(jwk []byte) (Secret, error) {
	var k jose.JSONWebKey
	if k.UnmarshalJSON(jwk) != nil {
		return Secret{}, ErrSecret
	}
	key, ok := k.Key.(*rsa.PrivateKey)
	if !ok || k.Algorithm != string(jose.RSA_OAEP_256) || key.Validate() != nil {
		return Secret{}, ErrSecret
	}
	if _, err := rsaPublished(&key.PublicKey); err != nil {
		return Secret{}, ErrSecret
	}
	return Secret{rsa: key}, nil
}

func (h header) hpkeSecret() (Secret, error) {
	p, err := h.hpkePublic()
	if err != nil {
		return Secret{}, ErrSecret
	}
	seed, err := decode([]byte(h.text("priv")), hpkeSeed, hpkeSeed)
	if err != nil {
		return Secret{}, ErrSecret
	}
	key, err := hpkeKEM.NewPrivateKey(seed)
	if err != nil || !bytes.Equal(key.PublicKey().Bytes(), p.hpke.Bytes()) {
		return Secret{}, ErrSecret
	}
	return Secret{hpke: key}, nil
}

func (h header) sharedSecret() (Secret, error) {
	k, err := decode([]byte(h.text("k")), 1, maxPassphrase)
	if err != nil {
		return Secret{}, ErrSecret
	}
	switch alg := h.text("alg"); {
	case alg == string(jose.DIRECT) && len(k) == sharedKeyBytes:
		return Secret{shared: Shared{key: k}}, nil
	case alg == string(jose.PBES2_HS512_A256KW):
		if s, err := NewPassphrase(string(k)); err == nil {
			return s.Secret(), nil
		}
	}
	return Secret{}, ErrSecret
}
