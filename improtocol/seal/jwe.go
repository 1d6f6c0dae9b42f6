package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"strconv"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// JWE is written by go-jose and read here: what is read is far less than what
// RFC 7516 allows, and nothing that a stranger wrote reaches a parser which
// allows more. docs/spec/improtocol.md, "JWE".

// Bounds of a JWE, checked before anything is decoded.
const (
	maxHeader     = 4096 // bytes of a header, as base64 or JSON
	maxRecipients = 256
	maxDepth      = 4    // of JSON: object, list, object, header
	maxCommas     = 8192 // of JSON
)

// A jwe is an encrypted message as read: what is needed to open it.
type jwe struct {
	protected  []byte // base64, as it stands: the additional authenticated data
	iv         []byte // 12 bytes
	sealed     []byte // ciphertext and its tag of 16 bytes
	recipients []jweRecipient
}

// A jweRecipient is a content key as wrapped for one recipient.
type jweRecipient struct {
	alg  string
	key  []byte // wrapped; empty: the key itself is shared
	salt []byte // PBES2
	cost int    // PBES2: iterations
}

// open decrypts the message by its content key, which has 32 bytes.
func (j *jwe) open(contentKey []byte) ([]byte, error) {
	if len(contentKey) != sharedKeyBytes {
		return nil, errJWE
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return aead.Open([]byte{}, j.iv, j.sealed, j.protected)
}

// readCompact reads five parts of base64 joined by dots, or fails with errJWE.
func readCompact(body []byte) (*jwe, error) {
	if bytes.Count(body, []byte(".")) != 4 {
		return nil, errJWE
	}
	part := bytes.Split(body, []byte("."))
	h, err := readProtected(part[0])
	if err != nil {
		return nil, err
	}
	r, err := h.recipient(part[1])
	if err != nil {
		return nil, err
	}
	return newJWE(part[0], part[2], part[3], part[4], []jweRecipient{r})
}

// readJSON reads the general or the flattened JSON serialization.
func readJSON(body []byte) (*jwe, error) {
	if !isFlat(body) {
		return nil, errJWE
	}
	var all struct {
		Protected    string          `json:"protected"`
		Unprotected  json.RawMessage `json:"unprotected"`
		IV           string          `json:"iv"`
		Ciphertext   string          `json:"ciphertext"`
		Tag          string          `json:"tag"`
		AAD          json.RawMessage `json:"aad"`
		Header       json.RawMessage `json:"header"`
		EncryptedKey string          `json:"encrypted_key"`
		Recipients   []struct {
			Header       json.RawMessage `json:"header"`
			EncryptedKey string          `json:"encrypted_key"`
		} `json:"recipients"`
	}
	if json.Unmarshal(body, &all) != nil || all.AAD != nil || len(all.Recipients) > maxRecipients {
		return nil, errJWE
	}
	shared, err := readProtected([]byte(all.Protected))
	if err != nil {
		return nil, err
	}
	if err := shared.merge(all.Unprotected); err != nil {
		return nil, err
	}
	switch {
	case len(all.Recipients) > 0 && all.Header != nil:
		return nil, errJWE // general and flattened
	case len(all.Recipients) == 0 && all.EncryptedKey == "":
		return nil, errJWE // neither
	case len(all.Recipients) == 0: // beside a list go-jose repeats a key, which is passed over
		all.Recipients = append(all.Recipients, struct {
			Header       json.RawMessage `json:"header"`
			EncryptedKey string          `json:"encrypted_key"`
		}{all.Header, all.EncryptedKey})
	}
	var recipients []jweRecipient
	for _, one := range all.Recipients {
		h := shared.clone()
		if err := h.merge(one.Header); err != nil {
			return nil, err
		}
		r, err := h.recipient([]byte(one.EncryptedKey))
		if err != nil {
			return nil, err
		}
		recipients = append(recipients, r)
	}
	return newJWE([]byte(all.Protected), []byte(all.IV), []byte(all.Ciphertext), []byte(all.Tag), recipients)
}

func newJWE(protected, iv, ciphertext, tag []byte, recipients []jweRecipient) (*jwe, error) {
	j := &jwe{protected: protected, recipients: recipients}
	var err error
	if j.iv, err = decode(iv, gcmNonce, gcmNonce); err != nil {
		return nil, err
	}
	end, err := decode(tag, gcmTag, gcmTag)
	if err != nil {
		return nil, err
	}
	text, err := decode(ciphertext, 0, maxBody)
	if err != nil {
		return nil, err
	}
	j.sealed = append(text, end...)
	return j, nil
}

// decode reads base64 of RFC 7515: the alphabet for URLs, no padding, and no
// line breaks, which Go's decoder would pass over.
func decode(text []byte, least, most int) ([]byte, error) {
	n := base64.RawURLEncoding.DecodedLen(len(text))
	if n < least || n > most || bytes.ContainsAny(text, "\r\n") {
		return nil, errJWE
	}
	b := make([]byte, n, n+gcmTag)
	if _, err := base64.RawURLEncoding.Strict().Decode(b, text); err != nil {
		return nil, errJWE
	}
	return b, nil
}

// isFlat tells whether a text that may be JSON has the shape of a JWE or a JWK:
// no deep nesting and no crowd of members, which parsers pay for.
func isFlat(b []byte) bool {
	depth, commas := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			commas++
		}
		if depth > maxDepth || commas > maxCommas {
			return false
		}
	}
	return true
}

// A header is a JOSE header: names are told apart by case, and stand once.
type header map[string]json.RawMessage

// refused are header parameters that change how a message is read, or bring keys
// of their own. Others that aren't known are passed over, as RFC 7516 has it.
var refused = []string{"zip", "crit", "jwk", "jku", "x5c", "x5u", "epk", "apu", "apv", "b64"}

func readProtected(text []byte) (header, error) {
	b, err := decode(text, 2, maxHeader)
	if err != nil {
		return nil, err
	}
	h := header{}
	if err := h.merge(b); err != nil {
		return nil, err
	}
	if h.text("enc") != string(jose.A256GCM) {
		return nil, errJWE // it must be under the authentication
	}
	return h, nil
}

// merge adds the members of a JSON object; nil has none.
func (h header) merge(object json.RawMessage) error {
	if object == nil {
		return nil
	}
	var members header
	if len(object) > maxHeader || !isFlat(object) || json.Unmarshal(object, &members) != nil || members == nil {
		return errJWE
	}
	for name, value := range members {
		if _, twice := h[name]; twice {
			return errJWE
		}
		h[name] = value
	}
	for _, name := range refused {
		if _, there := h[name]; there {
			return errJWE
		}
	}
	return nil
}

func (h header) clone() header {
	c := make(header, len(h))
	for name, value := range h {
		c[name] = value
	}
	return c
}

// text returns a member that is a text, else "".
func (h header) text(name string) string {
	var s string
	if value, ok := h[name]; !ok || json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// recipient reads what a header and a wrapped key say of one recipient.
func (h header) recipient(wrapped []byte) (jweRecipient, error) {
	key, err := decode(wrapped, 0, maxRSA/8)
	if err != nil {
		return jweRecipient{}, err
	}
	r := jweRecipient{alg: h.text("alg"), key: key}
	if _, there := h["p2c"]; !there {
		return r, nil
	}
	if r.cost, err = strconv.Atoi(string(h["p2c"])); err != nil {
		return jweRecipient{}, errJWE
	}
	r.salt, err = decode([]byte(h.text("p2s")), minSalt, maxSalt)
	return r, err
}
