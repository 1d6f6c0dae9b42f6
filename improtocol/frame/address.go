package frame

import (
	"crypto/sha256"
	"errors"
	"fmt"

	//lint:ignore SA1019 an address is a RIPEMD-160 hash
	"golang.org/x/crypto/ripemd160" // #nosec G507 -- addresses are defined by it
)

// A KeyHash is the 20-byte hash of a public key in one of its two forms: what
// an address names and a P2PKH output pays to.
type KeyHash [20]byte

// HashKey returns RIPEMD-160(SHA-256(key)) of a serialised public key.
func HashKey(key []byte) KeyHash {
	sum := sha256.Sum256(key)
	h := ripemd160.New() // #nosec G406 -- addresses are defined by it
	h.Write(sum[:])
	return KeyHash(h.Sum(nil))
}

// A Network is a Bitcoin SV network, by the name that settings use.
type Network string

// The networks.
const (
	Main    Network = "main"
	Test    Network = "test"
	Regtest Network = "regtest"
)

// ParseNetwork reads "main", "test" or "regtest".
func ParseNetwork(s string) (Network, error) {
	switch n := Network(s); n {
	case Main, Test, Regtest:
		return n, nil
	}
	return "", fmt.Errorf("network %q is none of main, test, regtest", s)
}

// AddressVersion returns the version byte of the network's addresses: 0x00 on
// mainnet, 0x6f on the test networks.
func (n Network) AddressVersion() byte {
	if n == Main {
		return 0x00
	}
	return 0x6f
}

// Reasons why a text is no address of a network.
var (
	ErrAddress        = errors.New("not an address")
	ErrChecksum       = errors.New("wrong checksum: the address is mistyped")
	ErrAddressNetwork = errors.New("an address of another network")
)

const addressBytes = 21

// decodeAddress reads a Base58Check text of 21 bytes.
func decodeAddress(s string) (version byte, h KeyHash, err error) {
	b, ok := decodeBase58(s)
	if !ok {
		return 0, KeyHash{}, ErrAddress
	}
	if checksum(&b) != [4]byte(b[addressBytes:]) {
		return 0, KeyHash{}, ErrChecksum
	}
	return b[0], KeyHash(b[1:addressBytes]), nil
}

// IsAddress tells whether a text is an address of any network, known or not: a
// Base58Check text of 21 bytes. Such a text is no name.
func IsAddress(s string) bool {
	_, _, err := decodeAddress(s)
	return err == nil
}

// ParseAddress reads an address of the network. It fails with ErrAddress,
// ErrChecksum or ErrAddressNetwork.
func (n Network) ParseAddress(s string) (KeyHash, error) {
	version, h, err := decodeAddress(s)
	if err != nil {
		return KeyHash{}, err
	}
	if version != n.AddressVersion() {
		return KeyHash{}, ErrAddressNetwork
	}
	return h, nil
}

// Address writes a key hash as an address of the network.
func (n Network) Address(h KeyHash) string { return EncodeAddress(n.AddressVersion(), h) }
