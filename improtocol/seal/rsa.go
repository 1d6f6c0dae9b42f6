package seal

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/metaim/metaim/improtocol"
)

// Sizes of RSA keys, in bits.
const (
	minRSA = 2048
	maxRSA = 8192
)

// encryptRSA writes a JWE: compact for one recipient, JSON for several.
func encryptRSA(plain []byte, to []Recipient) ([]byte, error) {
	if len(to) > maxRecipients {
		return nil, fmt.Errorf("%w: RSA goes to %d recipients at most", ErrTooLarge, maxRecipients)
	}
	var all []jose.Recipient
	for _, r := range to {
		p, _ := r.newest(improtocol.RSA)
		all = append(all, jose.Recipient{Algorithm: jose.RSA_OAEP_256, Key: p.rsa})
	}
	e, err := jose.NewMultiEncrypter(jose.A256GCM, all, nil)
	if err != nil {
		return nil, err
	}
	sealed, err := e.Encrypt(plain)
	if err != nil {
		return nil, err
	}
	if len(to) > 1 {
		return general(sealed.FullSerialize())
	}
	text, err := sealed.CompactSerialize()
	return []byte(text), err
}

// general writes the general JSON serialization of go-jose as RFC 7516, 7.2.1,
// has it: go-jose repeats the first recipient's key outside the list.
func general(full string) ([]byte, error) {
	var all struct {
		Protected  json.RawMessage `json:"protected"`
		Recipients json.RawMessage `json:"recipients"`
		IV         json.RawMessage `json:"iv"`
		Ciphertext json.RawMessage `json:"ciphertext"`
		Tag        json.RawMessage `json:"tag"`
	}
	if err := json.Unmarshal([]byte(full), &all); err != nil {
		return nil, err
	}
	return json.Marshal(&all) // a pointer: go-jose writes raw members so
}

func decryptRSA(body []byte, keys []*rsa.PrivateKey) ([]byte, bool) {
	read := readCompact
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		read = readJSON
	}
	j, err := read(body)
	if err != nil {
		return nil, false
	}
	for _, r := range j.recipients {
		if r.alg != string(jose.RSA_OAEP_256) || r.cost != 0 {
			return nil, false
		}
	}
	return try(keys, func(key *rsa.PrivateKey) ([]byte, error) { return openRSA(j, key) })
}

func openRSA(j *jwe, key *rsa.PrivateKey) ([]byte, error) {
	for _, r := range j.recipients {
		if len(r.key) != key.Size() {
			continue
		}
		contentKey, err := rsa.DecryptOAEP(sha256.New(), nil, key, r.key, nil)
		if err != nil {
			continue
		}
		if plain, err := j.open(contentKey); err == nil {
			return plain, nil
		}
	}
	return nil, errJWE
}
