package signer

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/metaim/metaim/improtocol/frame"
)

// A SecretKind says in which form a key was given.
type SecretKind string

// The forms that ParseSecret knows.
const (
	SecretWIF      SecretKind = "wif"
	SecretWords    SecretKind = "words"
	SecretExtended SecretKind = "extended key"
)

// Reasons why a text isn't a secret at all.
var (
	ErrNoSecret      = errors.New("no key given")
	ErrSecretAddress = errors.New("that is an address: it can receive, not sign; give the private key")
	ErrSecretHex     = errors.New("that is hexadecimal: give the key in wallet import format, as words or as an extended key")
	ErrSecret        = errors.New("not a key: give wallet import format, 12 to 24 words or an extended private key (xprv, tprv)")
)

// An Import reads secrets that people paste.
type Import struct {
	Network    frame.Network
	Passphrase string // BIP 39 passphrase of words; mostly empty
	Path       string // of words and extended keys; empty is DefaultPath
}

const longestSecret = 4096

// Parse recognises what it is given and reads the key. Spaces around it don't
// matter. No error holds any part of the text.
func (im Import) Parse(text string) (Key, SecretKind, error) {
	if len(text) > longestSecret {
		return Key{}, "", ErrSecret
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return Key{}, "", ErrNoSecret
	case looksLikeWords(text):
		path := im.Path
		if path == "" {
			path = DefaultPath
		}
		k, err := KeyFromWords(text, im.Passphrase, path, im.Network)
		return k, SecretWords, err
	case isExtended(text), strings.HasPrefix(text, "xpub"), strings.HasPrefix(text, "tpub"):
		k, err := KeyFromExtended(text, im.Path, im.Network)
		return k, SecretExtended, err
	case frame.IsAddress(text):
		return Key{}, "", ErrSecretAddress
	case isHex(text):
		return Key{}, "", ErrSecretHex
	case len(text) == longestWIF || len(text) == longestWIF-1:
		k, err := ParseWIF(text, im.Network)
		return k, SecretWIF, err
	}
	return Key{}, "", ErrSecret
}

func isHex(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil
}

// ParseSecret recognises a key in wallet import format, as BIP 39 words without
// a passphrase, or as an extended private key, at the default path. See
// [Import] for the rest. No error holds any part of the text.
func ParseSecret(text string, n frame.Network) (Key, SecretKind, error) {
	return Import{Network: n}.Parse(text)
}
