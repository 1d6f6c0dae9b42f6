package rows

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// The first byte of Data. docs/spec/index.md doesn't name these: they are the
// store's own.
const (
	isLead     = 1 << iota // the transaction follows; else how far before the lead is
	coinbase               // of the lead's transaction
	keepsIDs               // frame id and content id follow
	plainTime              // the time stamp is the decimal of TimeOrder
	ownSource              // the source is the address of the proved key, its version byte follows
	hasAmounts             // of the lead's outputs: number and satoshis follow each
)

// HeadBytes is how many bytes of Data [ReadHead] needs.
const HeadBytes = 6

// ReadHead reads the beginning of Data: the frame's output, and whether it is the
// first of its transaction.
func ReadHead(data []byte) (output uint32, lead bool, err error) {
	r := reader{b: data}
	flags := r.byte()
	if output = r.small(); r.bad {
		return 0, false, &CorruptError{"data"}
	}
	return output, flags&isLead != 0, nil
}

// Signatures as they are packed, by the first byte.
const (
	signatureRaw     = 0 // length and bytes
	signatureCompact = 1 // base64 of 65 bytes, which follow
)

// explicitKey says that a key follows whole; lesser tags count the keys of the
// inputs from 1, and 0 is none.
const explicitKey = 255

type writer struct{ b []byte }

func (w *writer) byte(b byte)     { w.b = append(w.b, b) }
func (w *writer) raw(b []byte)    { w.b = append(w.b, b...) }
func (w *writer) number(n uint64) { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) bytes(b []byte)  { w.number(uint64(len(b))); w.raw(b) }
func (w *writer) text(s string)   { w.number(uint64(len(s))); w.b = append(w.b, s...) }

// word writes a text that is likely one of a list: its place there from 1, or 0
// and the text.
func (w *writer) word(s string, list []string) {
	at := slices.Index(list, s) + 1
	w.byte(byte(at))
	if at == 0 {
		w.text(s)
	}
}

// pack writes what isn't in the columns.
func pack(n *Frame, timeOrder int64, hash *hasher) []byte {
	tx, f := n.Placed.Tx, n.Frame
	w := &writer{b: make([]byte, 0, 256)}
	flags := byte(0)
	var keys [][]byte // that keys are told by; the lead's row only has them
	if n.Arrival == n.Lead {
		flags, keys = isLead, tx.InputKeys
		if tx.Coinbase {
			flags |= coinbase
		}
		if len(tx.Outputs) > 0 && len(tx.Amounts) == len(tx.Outputs) {
			flags |= hasAmounts
		}
	}
	if f.Malformed == "" && (f.Message == nil || len(f.Message.Body) > ShortBody) {
		flags |= keepsIDs
	}
	if f.Malformed == "" && timeOrder != 0 && strconv.FormatUint(Unsortable(timeOrder), 10) == f.TimeStamp() {
		flags |= plainTime
	}
	version, own := byte(0), false
	if f.Message != nil && len(f.Proofs[0].Key) > 0 {
		if version, own = ownAddress(f.Message.Source, f.Proofs[0].Key, hash); own {
			flags |= ownSource
		}
	}
	w.byte(flags)
	w.number(uint64(f.Output))
	if flags&isLead != 0 {
		w.transaction(tx, n.Frames, flags&hasAmounts != 0, hash)
	} else {
		w.number(uint64(n.Arrival - n.Lead))
	}
	if f.Malformed != "" {
		w.text(f.Malformed)
		return w.b
	}
	if flags&keepsIDs != 0 {
		w.raw(f.ID[:])
		w.raw(f.ContentID[:])
	}
	if flags&plainTime == 0 {
		w.text(f.TimeStamp())
	}
	w.text(f.Other())
	if m := f.Message; m != nil {
		if own {
			w.byte(version)
		} else {
			w.text(m.Source)
		}
		w.word(m.Type, typeWords)
		w.word(m.Encryption, encryptionWords)
		w.signature(m.Signature)
		w.proved(f.Proofs[0].Key, keys)
		return w.b
	}
	w.record(f.Record)
	for i, s := range f.Record.Signatures {
		w.signature(s)
		w.proved(f.Proofs[i].Key, keys)
	}
	return w.b
}

func (w *writer) transaction(tx *index.Transaction, frames int64, amounts bool, hash *hasher) {
	w.number(uint64(frames))
	w.raw(tx.ID[:])
	w.number(uint64(len(tx.InputKeys)))
	for _, key := range tx.InputKeys {
		w.bytes(key)
	}
	var hashes []frame.KeyHash
	if len(tx.Outputs) > 0 {
		hashes = inputHashes(tx.InputKeys, hash)
	}
	w.number(uint64(len(tx.Outputs)))
	for i, h := range tx.Outputs {
		at := slices.Index(hashes, h) + 1
		w.byte(byte(at))
		if at == 0 {
			w.raw(h[:])
		}
		if amounts {
			w.number(uint64(tx.Amounts[i].Output))
			w.number(tx.Amounts[i].Satoshis)
		}
	}
	w.number(uint64(len(tx.Spends)))
	for _, o := range tx.Spends {
		w.raw(o.TxID[:])
		w.number(uint64(o.Output))
	}
}

// mostTold bounds the input keys that outputs and proofs are told by.
const mostTold = explicitKey - 1

// inputHashes returns what the keys' addresses name, of so many as are told by.
func inputHashes(keys [][]byte, hash *hasher) []frame.KeyHash {
	list := make([]frame.KeyHash, min(len(keys), mostTold))
	for i := range list {
		list[i] = hash.of(keys[i])
	}
	return list
}

func (w *writer) signature(s []byte) {
	if len(s) == base64.StdEncoding.EncodedLen(65) {
		var raw [66]byte
		n, err := base64.StdEncoding.Decode(raw[:], s)
		if err == nil && n == 65 && base64.StdEncoding.EncodeToString(raw[:65]) == string(s) {
			w.byte(signatureCompact)
			w.raw(raw[:65])
			return
		}
	}
	w.byte(signatureRaw)
	w.bytes(s)
}

func (w *writer) proved(key []byte, inputs [][]byte) {
	if len(key) == 0 {
		w.byte(0)
		return
	}
	at := slices.IndexFunc(inputs[:min(len(inputs), mostTold)], func(k []byte) bool { return string(k) == string(key) })
	if at >= 0 {
		w.byte(byte(at + 1))
		return
	}
	w.byte(explicitKey)
	w.bytes(key)
}

func (w *writer) record(r *nprotocol.Record) {
	w.raw(r.Address[:])
	if r.Operation == nprotocol.Transfer {
		w.raw(r.NewAddress[:])
	}
	if r.Protocol == frame.P {
		w.text(r.IP)
	} else {
		w.text(r.Name)
	}
}

// Parts of a decision that are packed.
const (
	hasAddress = 1 << iota
	hasKey
	hasKey2
)

// packDecision returns nothing for a decision that can be told from the frame:
// that it was signed by the keys which its signatures prove. The frame of a known
// transaction may be given without its proofs; then all is packed.
func packDecision(f *index.Frame, d *index.Decision, hash *hasher) []byte {
	if address, keys := told(f, hash); address != nil && sameAddress(address, d.Address) && sameKeys(keys, d.Keys) {
		return []byte{}
	}
	w := &writer{b: []byte{0}}
	if d.Address != nil {
		w.b[0] |= hasAddress
		w.raw(d.Address[:])
	}
	for i, key := range d.Keys {
		w.b[0] |= hasKey << i
		w.bytes(key)
	}
	return w.b
}

// told is the decision that needn't be packed. address is nil when a signature
// proves no key.
func told(f *index.Frame, hash *hasher) (address *frame.KeyHash, keys [][]byte) {
	for _, p := range f.Proofs {
		if len(p.Key) == 0 {
			return nil, nil
		}
		keys = append(keys, p.Key)
	}
	var h frame.KeyHash
	switch {
	case len(keys) == 0:
		return nil, nil
	case f.Record != nil:
		h = f.Record.Address
	default:
		h = hash.of(keys[0])
	}
	return &h, keys
}

func sameAddress(a, b *frame.KeyHash) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

func sameKeys(a, b [][]byte) bool {
	return slices.EqualFunc(a, b, func(x, y []byte) bool { return string(x) == string(y) })
}

func unpackDecision(b []byte, e *index.Entry, hash *hasher) (ok bool) {
	if len(b) == 0 {
		e.Address, e.Keys = told(e.Frame, hash)
		return e.Address != nil
	}
	r := reader{b: b}
	flags := r.byte()
	if flags&hasAddress != 0 {
		var h frame.KeyHash
		r.fill(h[:])
		e.Address = &h
	}
	for _, bit := range []byte{hasKey, hasKey2} {
		if flags&bit != 0 {
			e.Keys = append(e.Keys, r.bytes())
		}
	}
	return !r.bad && len(r.b) == 0
}
