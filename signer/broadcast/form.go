package broadcast

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/metaim/metaim/improtocol/frame"
)

// A Transaction is what is submitted.
type Transaction struct {
	ID       frame.Hash // of Raw
	Raw      []byte     // as in a block
	Extended []byte     // in extended format (BRC-30); nil: not known
}

// Raw returns a transaction of which only the usual form is known.
func Raw(raw []byte) *Transaction { return &Transaction{ID: frame.HashOf(raw), Raw: raw} }

// ErrForm says that bytes are neither a transaction in extended format nor a BEEF,
// though they begin as one.
var ErrForm = errors.New("not a transaction")

var (
	extendedMarker = []byte{0, 0, 0, 0, 0, 0xef}
	beefMarker     = []byte{0x01, 0x00, 0xbe, 0xef}
)

// Read reads a transaction as it is handed in: raw, in extended format (BRC-30), or
// the last one of a BEEF (BRC-62, version 1), whose ancestors give the extended
// form. The two others are read strictly: every length in its shortest form,
// nothing left over. Raw bytes are taken as they are. What it returns may alias b.
// It fails with ErrForm. Merkle paths in a BEEF aren't checked: the network judges.
func Read(b []byte) (*Transaction, error) {
	switch {
	case bytes.HasPrefix(b, beefMarker):
		return readBEEF(b)
	case len(b) > 10 && bytes.Equal(b[4:10], extendedMarker):
		return readExtended(b)
	}
	return Raw(b), nil
}

func readExtended(b []byte) (*Transaction, error) {
	r := &reader{b: b}
	raw := make([]byte, 0, len(b))
	raw = append(raw, r.take(4)...)
	r.take(uint64(len(extendedMarker)))
	inputs := r.count(shortestInput + 9)
	raw = appendLength(raw, inputs)
	for ; inputs > 0 && !r.bad; inputs-- {
		raw = append(raw, r.input()...)
		r.output() // that it spends
	}
	from := r.at
	r.outputs()
	raw = append(raw, r.b[from:r.at]...)
	raw = append(raw, r.take(4)...)
	if r.bad || r.at != len(b) {
		return nil, fmt.Errorf("%w: the extended format ends at byte %d of %d, or isn't well formed there", ErrForm, r.at, len(b))
	}
	return &Transaction{ID: frame.HashOf(raw), Raw: raw, Extended: b}, nil
}

// An ancestor is a transaction of a BEEF.
type ancestor struct {
	raw     []byte
	inputs  [][]byte // each with outpoint, script and sequence
	outputs [][]byte // each with satoshis and script
	rest    []byte   // from the number of outputs to the end
}

func readBEEF(b []byte) (*Transaction, error) {
	r := &reader{b: b}
	r.take(uint64(len(beefMarker)))
	for n := r.count(3); n > 0 && !r.bad; n-- {
		r.path()
	}
	known := map[frame.Hash]*ancestor{}
	var last *ancestor
	for n := r.count(shortestTransaction); n > 0 && !r.bad; n-- {
		last = r.transaction()
		known[frame.HashOf(last.raw)] = last
		switch r.byte() {
		case 0:
		case 1:
			r.length() // which path proves it
		default:
			r.bad = true
		}
	}
	if r.bad || r.at != len(b) || last == nil {
		return nil, fmt.Errorf("%w: the BEEF ends at byte %d of %d, or isn't well formed there", ErrForm, r.at, len(b))
	}
	return &Transaction{ID: frame.HashOf(last.raw), Raw: last.raw, Extended: last.extend(known)}, nil
}

// extend returns the extended format, nil when a transaction that it spends is
// missing.
func (a *ancestor) extend(known map[frame.Hash]*ancestor) []byte {
	e := append([]byte(nil), a.raw[:4]...)
	e = appendLength(append(e, extendedMarker...), uint64(len(a.inputs)))
	for _, in := range a.inputs {
		parent, output := known[frame.Hash(in[:32])], binary.LittleEndian.Uint32(in[32:])
		if parent == nil || uint64(output) >= uint64(len(parent.outputs)) {
			return nil
		}
		e = append(append(e, in...), parent.outputs[output]...)
	}
	return append(e, a.rest...)
}

const (
	shortestInput       = 32 + 4 + 1 + 4
	shortestOutput      = 8 + 1
	shortestTransaction = 4 + 1 + shortestInput + 1 + shortestOutput + 4
	mostLevels          = 64 // of a Merkle path
)

// A reader reads bytes as they stand on the wire. After the first that doesn't fit
// bad is set, and everything read is empty.
type reader struct {
	b   []byte
	at  int
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)-r.at) {
		r.bad = true
		return nil
	}
	b := r.b[r.at : r.at+int(n) : r.at+int(n)]
	r.at += int(n)
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// length reads a number in the wire's variable form, which must be the shortest.
func (r *reader) length() uint64 {
	first := r.byte()
	if first < 0xfd {
		return uint64(first)
	}
	var wide [8]byte
	copy(wide[:], r.take(2<<(first-0xfd)))
	n := binary.LittleEndian.Uint64(wide[:])
	if n < [...]uint64{0xfd, 1 << 16, 1 << 32}[first-0xfd] {
		r.bad = true
		return 0
	}
	return n
}

// count reads how many things follow that take so many bytes at least: one or more.
func (r *reader) count(size int) uint64 {
	n := r.length()
	if n == 0 || n > uint64(len(r.b)-r.at)/uint64(size) {
		r.bad = true
		return 0
	}
	return n
}

func (r *reader) input() []byte {
	from := r.at
	r.take(36)
	r.take(r.length())
	r.take(4)
	return r.since(from)
}

func (r *reader) output() []byte {
	from := r.at
	r.take(8)
	r.take(r.length())
	return r.since(from)
}

func (r *reader) since(from int) []byte {
	if r.bad {
		return nil
	}
	return r.b[from:r.at:r.at]
}

func (r *reader) outputs() (all [][]byte) {
	for n := r.count(shortestOutput); n > 0 && !r.bad; n-- {
		all = append(all, r.output())
	}
	return all
}

func (r *reader) transaction() *ancestor {
	a := &ancestor{}
	from := r.at
	r.take(4)
	for n := r.count(shortestInput); n > 0 && !r.bad; n-- {
		a.inputs = append(a.inputs, r.input())
	}
	rest := r.at
	a.outputs = r.outputs()
	r.take(4)
	a.raw, a.rest = r.since(from), r.since(rest)
	return a
}

// path reads over a Merkle path (BRC-74).
func (r *reader) path() {
	r.length() // height of the block
	levels := r.byte()
	if levels > mostLevels {
		r.bad = true
	}
	for ; levels > 0 && !r.bad; levels-- {
		n := r.length() // a level may have no leaves
		for ; n > 0 && !r.bad; n-- {
			r.length() // place in the level
			switch flags := r.byte(); {
			case flags > 2:
				r.bad = true
			case flags != 1: // 1: it is its neighbour's twin, and not written
				r.take(32)
			}
		}
	}
}

func appendLength(b []byte, n uint64) []byte {
	switch {
	case n < 0xfd:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.LittleEndian.AppendUint16(append(b, 0xfd), uint16(n))
	case n < 1<<32:
		return binary.LittleEndian.AppendUint32(append(b, 0xfe), uint32(n))
	}
	return binary.LittleEndian.AppendUint64(append(b, 0xff), n)
}
