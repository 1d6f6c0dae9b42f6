package frame

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
)

// A Hash is the double SHA-256 that names a transaction or a block, in the order
// of the wire. As text its bytes are reversed, as every explorer shows it.
type Hash [32]byte

// HashOf returns the double SHA-256 of bytes.
func HashOf(b []byte) Hash {
	sum := sha256.Sum256(b)
	return sha256.Sum256(sum[:])
}

func (h Hash) String() string {
	slices.Reverse(h[:])
	return hex.EncodeToString(h[:])
}

// ErrHash says that a text is no transaction or block hash.
var ErrHash = errors.New("not 64 hexadecimal digits")

// ParseHash reads the text form of a hash.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != hex.EncodedLen(len(h)) {
		return Hash{}, ErrHash
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, ErrHash
	}
	slices.Reverse(h[:])
	return h, nil
}
