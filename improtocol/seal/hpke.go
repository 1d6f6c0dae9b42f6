package seal

import (
	"crypto/hpke"
	"encoding/base64"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// The one suite of type HPKE. docs/spec/improtocol.md, "HPKE".
var (
	hpkeKEM  = hpke.MLKEM768X25519()
	hpkeKDF  = hpke.HKDFSHA256()
	hpkeAEAD = hpke.AES256GCM()
	hpkeInfo = frame.AppendPreimage(nil, []byte(frame.IMPI), []byte(improtocol.HPKE))
)

const (
	hpkePublic = 1184 + 32 // bytes of a public key
	hpkeSeed   = 32        // bytes of a private key
	hpkeEnc    = 1088 + 32 // bytes of an encapsulated key
	gcmTag     = 16
	gcmNonce   = 12
)

func encryptHPKE(plain []byte, to hpke.PublicKey) ([]byte, error) {
	enc, sender, err := hpke.NewSender(to, hpkeKDF, hpkeAEAD, hpkeInfo)
	if err != nil {
		return nil, err
	}
	ciphertext, err := sender.Seal(to.Bytes(), plain)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.AppendEncode(nil, append(enc, ciphertext...)), nil
}

func decryptHPKE(body []byte, keys []hpke.PrivateKey) ([]byte, bool) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := base64.StdEncoding.Strict().Decode(b, body)
	if err != nil || n < hpkeEnc+gcmTag {
		return nil, false
	}
	enc, ciphertext := b[:hpkeEnc], b[hpkeEnc:n]
	return try(keys, func(key hpke.PrivateKey) ([]byte, error) {
		if !isHPKE(key) {
			return nil, improtocol.ErrCiphertext
		}
		recipient, err := hpke.NewRecipient(enc, key, hpkeKDF, hpkeAEAD, hpkeInfo)
		if err != nil {
			return nil, err
		}
		return recipient.Open(key.PublicKey().Bytes(), ciphertext)
	})
}

// isHPKE tells whether a private key is of the one KEM.
func isHPKE(key hpke.PrivateKey) bool { return key != nil && key.KEM().ID() == hpkeKEM.ID() }
