package rows

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// Rows are found by keys: eight bytes of what they are found by. An index of
// these is a third of one of whole hashes. Somebody may make two things of one
// key on purpose, so whoever finds a row by a key compares what it holds; 0 is
// the key of what isn't there.

// KeyOf is the key of a hash: a frame id, a content id, a txid.
func KeyOf(hash [32]byte) int64 { return key(hash[:]) }

// AddressKey is the key of an address.
func AddressKey(h frame.KeyHash) int64 { return key(h[:]) }

// NameKey is the key of a name.
func NameKey(name string) int64 { return KeyOf(sha256.Sum256([]byte(name))) }

// SubjectKey is the key of a subject: what time stamps of records are compared
// within.
func SubjectKey(s nprotocol.Subject) int64 {
	h := sha256.New()
	_, _ = h.Write([]byte(s.Protocol))
	_, _ = h.Write(s.Address[:])
	_, _ = h.Write([]byte(s.Text))
	return key(h.Sum(nil))
}

func key(b []byte) int64 {
	if k := int64(binary.BigEndian.Uint64(b)); k != 0 {
		return k
	}
	return 1
}

// Sortable maps time stamps to integers of the same order.
func Sortable(timeStamp uint64) int64 { return int64(timeStamp ^ 1<<63) }

// Unsortable undoes Sortable.
func Unsortable(n int64) uint64 { return uint64(n) ^ 1<<63 }
