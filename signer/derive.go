package signer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/libsv/go-bk/bip32"

	"github.com/metaim/metaim/improtocol/frame"
)

// DefaultPath is where the first receiving key of a BSV wallet lies (BIP 44,
// coin type 236).
const DefaultPath = "m/44'/236'/0'/0/0"

// Reasons why a key can't be derived.
var (
	ErrPath           = errors.New("not a derivation path such as " + DefaultPath)
	ErrExtended       = errors.New("not an extended private key: it is damaged or mistyped")
	ErrExtendedPublic = errors.New("an extended public key can't sign: give the private one (xprv or tprv)")
	ErrPathNeeded     = errors.New("the extended key is not a master key: give the path from it to the key, m for itself")
)

const (
	deepest         = 255
	longestPath     = 4096
	longestExtended = 112 // characters that 82 bytes can take
)

// ParsePath reads a derivation path: m, or m/ and numbers below 2^31 between
// slashes, a hardened one followed by ', h or H. It fails with ErrPath.
func ParsePath(path string) ([]uint32, error) {
	if len(path) > longestPath {
		return nil, ErrPath
	}
	rest, ok := strings.CutPrefix(path, "m")
	if !ok || (rest != "" && rest[0] != '/') {
		return nil, ErrPath
	}
	if rest == "" {
		return nil, nil
	}
	parts := strings.Split(rest[1:], "/")
	if len(parts) > deepest {
		return nil, ErrPath
	}
	steps := make([]uint32, len(parts))
	for i, part := range parts {
		number := strings.TrimRight(part, "'hH")
		hardened := len(part) - len(number)
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil || hardened > 1 {
			return nil, ErrPath
		}
		steps[i] = uint32(n)
		if hardened == 1 {
			steps[i] += bip32.HardenedKeyStart
		}
	}
	return steps, nil
}

func keyFromSeed(seed []byte, steps []uint32, n frame.Network) (Key, error) {
	master, err := bip32.NewMaster(seed, params(n))
	if err != nil {
		return Key{}, fmt.Errorf("derive the master key: %w", err)
	}
	defer master.Zero()
	return derive(master, steps)
}

// derive walks from an extended private key to the key at the end of a path.
func derive(k *bip32.ExtendedKey, steps []uint32) (Key, error) {
	// go-bk drops a derived key's leading zero bytes, and what is then derived
	// below it is wrong. Written out and read again, it has them.
	k, err := bip32.NewKeyFromString(k.String())
	if err != nil {
		return Key{}, ErrExtended
	}
	for i, step := range steps {
		child, err := k.Child(step)
		if err != nil {
			return Key{}, fmt.Errorf("derive step %d of the path: %w", i+1, err)
		}
		if k, err = bip32.NewKeyFromString(child.String()); err != nil {
			return Key{}, fmt.Errorf("derive step %d of the path: %w", i+1, err)
		}
	}
	private, err := k.ECPrivKey()
	if err != nil {
		return Key{}, ErrExtendedPublic
	}
	return NewKeyFromScalar([scalarBytes]byte(private.Serialise()), false)
}

// KeyFromExtended derives a key from an extended private key (xprv, tprv) and
// the path from it. An empty path is [DefaultPath] below a master key, and fails
// with ErrPathNeeded below any other. It fails with ErrExtended,
// ErrExtendedPublic, ErrSecretNetwork or ErrPath.
func KeyFromExtended(text, path string, n frame.Network) (Key, error) {
	switch {
	case strings.HasPrefix(text, "xpub"), strings.HasPrefix(text, "tpub"):
		return Key{}, ErrExtendedPublic
	case !isExtended(text) || len(text) > longestExtended:
		return Key{}, ErrExtended
	}
	k, err := bip32.NewKeyFromString(text)
	if err != nil || !k.IsPrivate() || k.String() != text {
		return Key{}, ErrExtended
	}
	if !k.IsForNet(params(n)) {
		return Key{}, fmt.Errorf("%w: this is %s", ErrSecretNetwork, n)
	}
	if path == "" && k.Depth() > 0 {
		return Key{}, ErrPathNeeded
	}
	if path == "" {
		path = DefaultPath
	}
	steps, err := ParsePath(path)
	if err != nil {
		return Key{}, err
	}
	return derive(k, steps)
}

// isExtended tells whether a text begins as an extended private key.
func isExtended(text string) bool {
	return strings.HasPrefix(text, "xprv") || strings.HasPrefix(text, "tprv")
}
