package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"unicode/utf8"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
)

// decryptECDHAES opens what the framework author's library (BitcoinSVCryptor
// from version 0.1.1) writes: AES-256-CBC under the x coordinate of the shared
// point, with an initialisation vector made of the two public keys. It has no
// authentication: what can be refused without one is (padding, UTF-8), and the
// rest is the frame's signature. docs/spec/improtocol.md, "ECDHAES".
func decryptECDHAES(body []byte, key frame.PrivateKey, other []byte) ([]byte, error) {
	public, err := secp256k1.ParsePubKey(other)
	if err != nil {
		return nil, improtocol.ErrCiphertext
	}
	b := bytesOfECDHAES(body)
	if len(b) < aes.BlockSize || len(b)%aes.BlockSize != 0 {
		return nil, improtocol.ErrCiphertext
	}
	private := secp256k1.PrivKeyFromBytes(key.Scalar[:])
	defer private.Zero()
	aesKey := secp256k1.GenerateSharedSecret(private, public) // x, always 32 bytes
	block, err := aes.NewCipher(aesKey)
	if err != nil {
		return nil, improtocol.ErrCiphertext
	}
	cipher.NewCBCDecrypter(block, ivOfECDHAES(private.PubKey(), public)).CryptBlocks(b, b)
	padding := int(b[len(b)-1])
	if padding == 0 || padding > aes.BlockSize {
		return nil, improtocol.ErrCiphertext
	}
	for _, c := range b[len(b)-padding:] {
		if int(c) != padding {
			return nil, improtocol.ErrCiphertext
		}
	}
	plain := b[:len(b)-padding]
	if !utf8.Valid(plain) {
		return nil, improtocol.ErrCiphertext
	}
	return plain, nil
}

// ivOfECDHAES is the same for both sides: the first 15 bytes of the SHA-256 of
// the two uncompressed public keys, one over the other, and a zero.
func ivOfECDHAES(a, b *secp256k1.PublicKey) []byte {
	mixed := a.SerializeUncompressed()
	for i, c := range b.SerializeUncompressed() {
		mixed[i] ^= c
	}
	sum := sha256.Sum256(mixed)
	return append(sum[:aes.BlockSize-1:aes.BlockSize-1], 0)
}

// bytesOfECDHAES returns the bytes of a message field, which the library leaves
// to its caller to write: hexadecimal, base64 or as they are.
func bytesOfECDHAES(body []byte) []byte {
	whole := func(b []byte) bool { return len(b) > 0 && len(b)%aes.BlockSize == 0 }
	b := make([]byte, len(body))
	if n, err := hex.Decode(b, body); err == nil && whole(b[:n]) {
		return b[:n]
	}
	if n, err := base64.StdEncoding.Strict().Decode(b, body); err == nil && whole(b[:n]) {
		return b[:n]
	}
	copy(b, body)
	return b
}
