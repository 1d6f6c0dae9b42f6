package seal

import (
	"crypto/hpke"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/metaim/metaim/improtocol"
)

// Members of a JWK. docs/spec/improtocol.md, "Key records".
const (
	ktyRSA  = "RSA"
	ktyHPKE = "AKP"             // "algorithm key pair": the algorithm says what the bytes are
	algHPKE = "MLKEM768-X25519" // the KEM's name in draft-ietf-hpke-pq
	maxJWK  = 16 << 10          // bytes
)

// Reasons why a text is no key that is published.
var (
	ErrJWK = errors.New("not a public key (JWK) of RSA or HPKE to encrypt to")
	// ErrPrivateJWK: whoever reads the record has the key, for ever.
	ErrPrivateJWK = errors.New("this is a private key, which must never be published: whoever reads it can read every message to it; never use it again, make another")
)

// Published is a public key that its owner has published. The zero Published is
// none.
type Published struct {
	hpke hpke.PublicKey
	rsa  *rsa.PublicKey
}

// ParsePublished reads the body of a key record: a JWK, a public key of RSA or
// HPKE. It fails with ErrJWK, or with ErrPrivateJWK when it is a private key or a
// shared one. docs/spec/improtocol.md, "Key records".
func ParsePublished(body []byte) (Published, error) {
	h, err := readJWK(body)
	if err != nil {
		return Published{}, err
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, there := h[name]; there {
			return Published{}, ErrPrivateJWK
		}
	}
	if err := h.checkUse(); err != nil {
		return Published{}, err
	}
	switch h.text("kty") {
	case ktyRSA:
		return h.rsaPublic()
	case ktyHPKE:
		return h.hpkePublic()
	}
	return Published{}, fmt.Errorf("%w: its type is %.20q", ErrJWK, h.text("kty"))
}

func readJWK(body []byte) (header, error) {
	var h header
	if len(body) > maxJWK || !isFlat(body) || json.Unmarshal(body, &h) != nil || h == nil {
		return nil, ErrJWK
	}
	return h, nil
}

// checkUse refuses a key that says that it isn't for encryption.
func (h header) checkUse() error {
	if _, there := h["use"]; there && h.text("use") != "enc" {
		return fmt.Errorf("%w: it isn't for encryption", ErrJWK)
	}
	if _, there := h["key_ops"]; !there {
		return nil
	}
	var ops []string
	if json.Unmarshal(h["key_ops"], &ops) != nil {
		return ErrJWK
	}
	for _, op := range ops {
		if !slices.Contains([]string{"encrypt", "wrapKey", "deriveKey", "deriveBits"}, op) {
			return fmt.Errorf("%w: it isn't for encryption", ErrJWK)
		}
	}
	return nil
}

func (h header) rsaPublic() (Published, error) {
	if _, there := h["alg"]; there && h.text("alg") != string(jose.RSA_OAEP_256) {
		return Published{}, fmt.Errorf("%w: its algorithm is not %s", ErrJWK, jose.RSA_OAEP_256)
	}
	n, err := decode([]byte(h.text("n")), minRSA/8, maxRSA/8)
	if err != nil {
		return Published{}, fmt.Errorf("%w: RSA keys have %d to %d bits", ErrJWK, minRSA, maxRSA)
	}
	e, err := decode([]byte(h.text("e")), 1, 4)
	if err != nil || e[0] == 0 || n[0] == 0 {
		return Published{}, ErrJWK
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	return rsaPublished(key)
}

// rsaPublished checks a public key that can come from anybody.
func rsaPublished(key *rsa.PublicKey) (Published, error) {
	if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
		return Published{}, fmt.Errorf("%w: RSA keys have %d to %d bits, and this has %d", ErrJWK, minRSA, maxRSA, bits)
	}
	if key.N.Bit(0) == 0 || key.E < 3 || key.E%2 == 0 || int64(key.E) > 1<<31-1 {
		return Published{}, ErrJWK
	}
	return Published{rsa: key}, nil
}

func (h header) hpkePublic() (Published, error) {
	if h.text("alg") != algHPKE {
		return Published{}, fmt.Errorf("%w: its algorithm is not %s", ErrJWK, algHPKE)
	}
	b, err := decode([]byte(h.text("pub")), hpkePublic, hpkePublic)
	if err != nil {
		return Published{}, ErrJWK
	}
	key, err := hpkeKEM.NewPublicKey(b)
	if err != nil {
		return Published{}, ErrJWK
	}
	return Published{hpke: key}, nil
}

// Encryption returns the type that encrypts to the key: improtocol.RSA or
// improtocol.HPKE, "" for the zero Published.
func (p Published) Encryption() string {
	switch {
	case p.rsa != nil:
		return improtocol.RSA
	case p.hpke != nil:
		return improtocol.HPKE
	}
	return ""
}

// Bits returns the size of an RSA key, 0 for other keys.
func (p Published) Bits() int {
	if p.rsa == nil {
		return 0
	}
	return p.rsa.N.BitLen()
}

// ID returns the SHA-256 thumbprint of the key (RFC 7638) in base64url, which
// names it for people and programs.
func (p Published) ID() string {
	sum := sha256.Sum256(p.members())
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// members writes what makes the key, as a thumbprint takes it: the names in
// alphabetical order, no spaces.
func (p Published) members() []byte {
	text := base64.RawURLEncoding.EncodeToString
	switch {
	case p.rsa != nil:
		e := big.NewInt(int64(p.rsa.E)).Bytes()
		return []byte(`{"e":"` + text(e) + `","kty":"` + ktyRSA + `","n":"` + text(p.rsa.N.Bytes()) + `"}`)
	case p.hpke != nil:
		return []byte(`{"alg":"` + algHPKE + `","kty":"` + ktyHPKE + `","pub":"` + text(p.hpke.Bytes()) + `"}`)
	}
	return nil
}

// KeyRecord returns the body of the message that publishes a key; its type is
// improtocol.KeyRecord, its encryption plain. docs/spec/improtocol.md, "Key
// records".
func KeyRecord(p Published) []byte {
	body := p.members()
	if p.rsa != nil {
		body = append(body[:len(body)-1], `,"alg":"`+string(jose.RSA_OAEP_256)+`"}`...)
	}
	if body != nil {
		body = append(body[:len(body)-1], `,"use":"enc"}`...)
	}
	return body
}
