package rows

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// How a raw transaction is packed, by the first byte. What the frames' rows say
// of it (what it spends, the keys, whom it pays, the fields of messages) is left
// out and filled in again when it is read; where that doesn't give the same bytes
// it is kept whole.
const (
	rawNone   = 0 // too large to be kept
	rawWhole  = 1 // all of it follows
	rawFilled = 2 // and perhaps the bits below
	oddStart  = 4 // the version isn't 1; it follows
	oddEnd    = 8 // the lock time isn't 0; it follows
)

// How a script is packed, by the byte before it.
const (
	scriptWhole  = 0
	scriptSpend  = 1    // of an input: pushes of a signature, which follows, and of a key that the row has
	scriptPays   = 1    // of an output: the next address that the row has
	scriptFrame  = 2    // of an output: the next frame, a message in pushes
	oddSequence  = 0x80 // of an input: the sequence isn't the last one; it follows the script
	lastSequence = math.MaxUint32
)

// A rawReader reads what is on the wire. Lengths in other than the shortest form
// are read and not written again: then the whole is kept.
type rawReader struct{ reader }

func (r *rawReader) length() uint64 {
	first := r.byte()
	if first < 0xfd {
		return uint64(first)
	}
	b := r.take(2 << (first - 0xfd))
	if r.bad {
		return 0
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:])
}

func (r *rawReader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
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

// A packer packs raw transactions, one behind the other, and uses its buffers
// again.
type packer struct {
	writer         // what is packed
	scratch []byte // for comparing
}

// pack adds a transaction's bytes; none say that it is too large to be kept. It
// returns how many bytes that took.
func (p *packer) pack(raw []byte, tx *index.Transaction) int {
	from := len(p.b)
	if len(raw) == 0 {
		p.byte(rawNone)
		return 1
	}
	if p.fill(raw, tx) {
		again, ok := unpackRaw(p.scratch[:0], p.b[from:], tx, tx.Frames)
		if p.scratch = again; ok && bytes.Equal(again, raw) {
			return len(p.b) - from
		}
	}
	p.b = append(append(p.b[:from], rawWhole), raw...)
	return len(p.b) - from
}

// fill adds a transaction without what the rows say. It tells whether that can be
// done.
func (p *packer) fill(raw []byte, tx *index.Transaction) bool {
	r := rawReader{reader{b: raw}}
	w, from := &p.writer, len(p.b)
	w.byte(rawFilled)
	if version := r.uint32(); version != 1 {
		w.b[from] |= oddStart
		w.b = binary.LittleEndian.AppendUint32(w.b, version)
	}
	inputs := r.length()
	if inputs != uint64(len(tx.Spends)) {
		return false // of a coinbase, for one
	}
	w.number(inputs)
	for range inputs {
		r.take(36)
		w.input(&r, tx)
	}
	outputs := r.length()
	if outputs > uint64(len(r.b)) {
		return false
	}
	w.number(outputs)
	pays, frames := 0, tx.Frames
	for range outputs {
		value := r.take(8)
		script := r.take(r.length())
		if r.bad {
			return false
		}
		w.number(binary.LittleEndian.Uint64(value))
		if _, ok := frame.PayToPublicKeyHash(script); ok && pays < len(tx.Outputs) {
			w.byte(scriptPays)
			pays++
			continue
		}
		if len(frames) > 0 && frames[0].Message != nil {
			p.scratch = appendMessage(p.scratch[:0], frames[0].Message)
			if bytes.Equal(p.scratch, script) {
				w.byte(scriptFrame)
				frames = frames[1:]
				continue
			}
		}
		w.byte(scriptWhole)
		w.bytes(script)
		if frame.Ours(script) && len(frames) > 0 {
			frames = frames[1:]
		}
	}
	if lock := r.uint32(); lock != 0 {
		w.b[from] |= oddEnd
		w.b = binary.LittleEndian.AppendUint32(w.b, lock)
	}
	return !r.bad && len(r.b) == 0
}

func (w *writer) input(r *rawReader, tx *index.Transaction) {
	script := r.take(r.length())
	sequence := r.uint32()
	odd := byte(0)
	if sequence != lastSequence {
		odd = oddSequence
	}
	key, ok := frame.SpendPublicKey(script)
	at := -1
	if ok {
		at = slices.IndexFunc(tx.InputKeys, func(k []byte) bool { return bytes.Equal(k, key) })
	}
	signature := len(script) - len(key) - 2 // one byte tells the length of each
	if at >= 0 && signature > 0 && int(script[0]) == signature {
		w.byte(odd | scriptSpend)
		w.bytes(script[1 : 1+signature])
		w.number(uint64(at))
	} else {
		w.byte(odd | scriptWhole)
		w.bytes(script)
	}
	if odd != 0 {
		w.b = binary.LittleEndian.AppendUint32(w.b, sequence)
	}
}

// appendMessage appends the script of a message in the form in which nearly all
// are: OP_FALSE OP_RETURN and a push for each field.
func appendMessage(b []byte, m *improtocol.Message) []byte {
	b = append(b, 0, 0x6a)
	b = frame.AppendPush(b, impi)
	for _, field := range [...]string{m.Source, m.Type, m.Encryption} {
		b = appendPush(b, field)
	}
	b = frame.AppendPush(b, m.Body)
	b = appendPush(appendPush(b, m.Other), m.TimeStamp)
	return frame.AppendPush(b, m.Signature)
}

var impi = []byte(frame.IMPI)

func appendPush(b []byte, field string) []byte { return frame.AppendPush(b, []byte(field)) }

// messageSize returns how many bytes appendMessage appends.
func messageSize(m *improtocol.Message) uint64 {
	size := 2
	for _, n := range [...]int{len(impi), len(m.Source), len(m.Type), len(m.Encryption), len(m.Body), len(m.Other), len(m.TimeStamp), len(m.Signature)} {
		switch size += n; {
		case n < 0x4c:
			size++
		case n <= math.MaxUint8:
			size += 2
		case n <= math.MaxUint16:
			size += 3
		default:
			size += 5
		}
	}
	return uint64(size)
}

// unpackRaw appends the transaction that was packed. Its frames are those of the
// rows, in the order of the outputs.
func unpackRaw(dst, packed []byte, tx *index.Transaction, frames []*index.Frame) (raw []byte, ok bool) {
	r := &reader{b: packed}
	flags := r.byte()
	if flags == rawWhole {
		return append(dst, r.b...), true
	}
	if flags&^(oddStart|oddEnd) != rawFilled {
		return dst, false
	}
	dst = r.appendWord(dst, flags&oddStart != 0, 1)
	if r.number() != uint64(len(tx.Spends)) {
		return dst, false
	}
	dst = appendLength(dst, uint64(len(tx.Spends)))
	for _, spent := range tx.Spends {
		dst = append(dst, spent.TxID[:]...)
		dst = binary.LittleEndian.AppendUint32(dst, spent.Output)
		dst = appendInput(dst, r, tx)
	}
	outputs := r.count(2)
	dst = appendLength(dst, uint64(outputs))
	f := filler{tx.Outputs, frames}
	for range outputs {
		dst = binary.LittleEndian.AppendUint64(dst, r.number())
		dst = f.output(dst, r)
	}
	dst = r.appendWord(dst, flags&oddEnd != 0, 0)
	return dst, !r.bad && len(r.b) == 0
}

// appendWord appends four bytes: those that follow where they are there, else
// those of a number.
func (r *reader) appendWord(dst []byte, there bool, preset uint32) []byte {
	if there {
		return append(dst, r.take(4)...)
	}
	return binary.LittleEndian.AppendUint32(dst, preset)
}

func appendInput(dst []byte, r *reader, tx *index.Transaction) []byte {
	kind := r.byte()
	if kind&^oddSequence == scriptSpend {
		signature := r.bytes()
		at := r.number()
		if at >= uint64(len(tx.InputKeys)) || len(signature) > 75 || len(tx.InputKeys[at]) > 75 {
			r.bad = true
			return dst
		}
		key := tx.InputKeys[at]
		dst = append(dst, byte(len(signature)+len(key)+2), byte(len(signature)))
		dst = append(dst, signature...)
		dst = append(append(dst, byte(len(key))), key...)
	} else {
		script := r.bytes()
		dst = append(appendLength(dst, uint64(len(script))), script...)
	}
	return r.appendWord(dst, kind&oddSequence != 0, lastSequence)
}

// A filler has what the rows say of outputs, as far as it isn't used yet.
type filler struct {
	pays   []frame.KeyHash
	frames []*index.Frame
}

func (f *filler) output(dst []byte, r *reader) []byte {
	switch kind := r.byte(); {
	case kind == scriptPays && len(f.pays) > 0:
		dst = append(dst, 25, 0x76, 0xa9, 20)
		dst = append(dst, f.pays[0][:]...)
		f.pays = f.pays[1:]
		return append(dst, 0x88, 0xac)
	case kind == scriptFrame && len(f.frames) > 0 && f.frames[0].Message != nil:
		m := f.frames[0].Message
		f.frames = f.frames[1:]
		return appendMessage(appendLength(dst, messageSize(m)), m)
	case kind == scriptWhole:
		script := r.bytes()
		if frame.Ours(script) && len(f.frames) > 0 {
			f.frames = f.frames[1:]
		}
		return append(appendLength(dst, uint64(len(script))), script...)
	}
	r.bad = true
	return dst
}
