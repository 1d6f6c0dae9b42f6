package proof

import (
	"encoding/binary"
	"math"

	"github.com/metaim/metaim/improtocol/frame"
)

// A reader reads bytes as they stand on the wire. Lengths are compared before
// they are converted; after the first that doesn't fit, bad is set and everything
// read is empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) hash() (h frame.Hash) {
	copy(h[:], r.take(uint64(len(h))))
	return h
}

// length reads a number in the wire's variable form.
func (r *reader) length() uint64 {
	first := r.byte()
	if first < 0xfd {
		return uint64(first)
	}
	var wide [8]byte
	copy(wide[:], r.take(2<<(first-0xfd)))
	return binary.LittleEndian.Uint64(wide[:])
}

func appendLength(b []byte, n uint64) []byte {
	switch {
	case n < 0xfd:
		return append(b, byte(n))
	case n <= math.MaxUint16:
		return binary.LittleEndian.AppendUint16(append(b, 0xfd), uint16(n))
	case n <= math.MaxUint32:
		return binary.LittleEndian.AppendUint32(append(b, 0xfe), uint32(n))
	}
	return binary.LittleEndian.AppendUint64(append(b, 0xff), n)
}
