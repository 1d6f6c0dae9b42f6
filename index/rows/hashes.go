package rows

import (
	"encoding/binary"
	"strings"
	"sync/atomic"

	"github.com/metaim/metaim/improtocol/frame"
)

// A hasher hashes public keys and remembers the last: that of who signed a message
// is mostly that of who paid for it too, and gets the change.
type hasher struct {
	key  []byte
	hash frame.KeyHash
}

func (h *hasher) of(key []byte) frame.KeyHash {
	if h.key == nil || string(h.key) != string(key) {
		h.key, h.hash = key, hashOf(key)
	}
	return h.hash
}

// Who writes, writes again: of a page of messages most keys were met on the page
// before. To hash one and to write it as an address takes as long as all the rest
// of reading a row, so some are remembered, each in the place that its last bytes
// name, until another takes it. A cache: what it says never depends on it.
var met [1 << 10]atomic.Pointer[metKey]

// A metKey is a compressed public key with its hash and an address of it, "" when
// none was asked for. It is never changed.
type metKey struct {
	key     [33]byte
	hash    frame.KeyHash
	version byte
	address string
}

func placeOf(key []byte) *atomic.Pointer[metKey] {
	return &met[int(binary.LittleEndian.Uint16(key[len(key)-2:]))%len(met)]
}

// meet returns what is known of a key, and knows it from then on; nil for one that
// isn't compressed.
func meet(key []byte) *metKey {
	if len(key) != len(metKey{}.key) {
		return nil
	}
	place := placeOf(key)
	if k := place.Load(); k != nil && string(k.key[:]) == string(key) {
		return k
	}
	k := &metKey{key: [33]byte(key), hash: frame.HashKey(key)}
	place.Store(k)
	return k
}

func hashOf(key []byte) frame.KeyHash {
	if k := meet(key); k != nil {
		return k.hash
	}
	return frame.HashKey(key)
}

// addressOf writes the address of a key.
func addressOf(version byte, key []byte, hash *hasher) string {
	k := meet(key)
	if k == nil {
		return frame.EncodeAddress(version, hash.of(key))
	}
	if k.address == "" || k.version != version {
		k = &metKey{k.key, k.hash, version, frame.EncodeAddress(version, k.hash)}
		placeOf(key).Store(k)
	}
	return k.address
}

// ownAddress tells whether a source is the address of a key on some network.
func ownAddress(source string, key []byte, hash *hasher) (version byte, own bool) {
	k := meet(key)
	if k != nil && k.address != "" && k.address == source {
		return k.version, true
	}
	version, h, ok := frame.DecodeAddress(source)
	own = ok && h == hash.of(key)
	if own && k != nil {
		placeOf(key).Store(&metKey{k.key, k.hash, version, strings.Clone(source)})
	}
	return version, own
}
