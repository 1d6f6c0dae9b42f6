package improtocol

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/metaim/metaim/improtocol/frame"
)

// Reasons why a message can't be encrypted or decrypted.
var (
	ErrPublicKey  = errors.New("not a public key on the curve")
	ErrCiphertext = errors.New("not encrypted to this key, or changed on the way")
)

const (
	eccMagic  = "BIE1"
	eccKeyEnd = len(eccMagic) + 33
)

// EncryptECC encrypts a message to a public key (33 or 65 bytes): Electrum ECIES
// ("BIE1"), base64, with a fresh key each time. Randomness comes from random;
// nil is the system's. docs/spec/improtocol.md, "ECC".
func EncryptECC(plain, publicKey []byte, random io.Reader) ([]byte, error) {
	to, err := secp256k1.ParsePubKey(publicKey)
	if err != nil {
		return nil, ErrPublicKey
	}
	if random == nil {
		random = rand.Reader
	}
	fresh, err := secp256k1.GeneratePrivateKeyFromRand(random)
	if err != nil {
		return nil, err
	}
	defer fresh.Zero()
	iv, encryptKey, macKey := eccKeys(fresh, to)
	out := append([]byte(eccMagic), fresh.PubKey().SerializeCompressed()...)
	padding := aes.BlockSize - len(plain)%aes.BlockSize
	body := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(padding)}, padding)...)
	block, err := aes.NewCipher(encryptKey)
	if err != nil {
		return nil, err
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(body, body)
	out = append(out, body...)
	out = append(out, mac(macKey, out)...)
	return base64.StdEncoding.AppendEncode(nil, out), nil
}

// DecryptECC decrypts what EncryptECC, Electrum and the BSV SDKs write. Every
// failure is ErrCiphertext: it says nothing about how far decryption came, and
// no text is returned with it.
func DecryptECC(body []byte, key frame.PrivateKey) ([]byte, error) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := base64.StdEncoding.Strict().Decode(b, body)
	if err != nil {
		return nil, ErrCiphertext
	}
	b = b[:n]
	const least = eccKeyEnd + aes.BlockSize + sha256.Size
	if len(b) < least || (len(b)-least)%aes.BlockSize != 0 || string(b[:len(eccMagic)]) != eccMagic {
		return nil, ErrCiphertext
	}
	from, err := secp256k1.ParsePubKey(b[len(eccMagic):eccKeyEnd])
	if err != nil {
		return nil, ErrCiphertext
	}
	private := secp256k1.PrivKeyFromBytes(key.Scalar[:])
	defer private.Zero()
	iv, encryptKey, macKey := eccKeys(private, from)
	end := len(b) - sha256.Size
	if !hmac.Equal(b[end:], mac(macKey, b[:end])) {
		return nil, ErrCiphertext
	}
	block, err := aes.NewCipher(encryptKey)
	if err != nil {
		return nil, err
	}
	plain := b[eccKeyEnd:end]
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, plain)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > aes.BlockSize {
		return nil, ErrCiphertext
	}
	for _, c := range plain[len(plain)-padding:] {
		if int(c) != padding {
			return nil, ErrCiphertext
		}
	}
	return plain[:len(plain)-padding], nil
}

// eccKeys derives what both sides share: SHA-512 of the compressed point, cut
// into an initialisation vector, an AES-128 key and a MAC key.
func eccKeys(private *secp256k1.PrivateKey, public *secp256k1.PublicKey) (iv, encryptKey, macKey []byte) {
	var point, shared secp256k1.JacobianPoint
	public.AsJacobian(&point)
	secp256k1.ScalarMultNonConst(&private.Key, &point, &shared)
	shared.ToAffine()
	sum := sha512.Sum512(secp256k1.NewPublicKey(&shared.X, &shared.Y).SerializeCompressed())
	return sum[:16], sum[16:32], sum[32:]
}

func mac(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}
