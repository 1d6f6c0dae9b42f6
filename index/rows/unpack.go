package rows

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// A reader reads packed bytes. After the first fault bad is set and it gives
// nothing; lengths are compared before anything is made of them.
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

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count reads how many items of at least size bytes follow.
func (r *reader) count(size uint64) int {
	n := r.number()
	if n > uint64(len(r.b))/size {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte   { return r.take(r.number()) }
func (r *reader) text() string    { return string(r.bytes()) }
func (r *reader) fill(dst []byte) { copy(dst, r.take(uint64(len(dst)))) }

func (r *reader) small() uint32 {
	n := r.number()
	if n > math.MaxUint32 {
		r.bad = true
	}
	return uint32(n)
}

func (r *reader) word(list []string) string {
	at := int(r.byte())
	switch {
	case at == 0:
		return r.text()
	case at > len(list):
		r.bad = true
		return ""
	}
	return list[at-1]
}

// An unpacker reads the data of one row.
type unpacker struct {
	reader
	row   *Row
	room  *room
	found *Found
	hash  hasher
}

func (u *unpacker) read() {
	e, f := u.found.Entry, u.found.Frame
	protocol, operation, ok := kindFrom(u.row.Kind)
	f.Protocol = protocol
	flags := u.byte()
	f.Output = u.small()
	var keys [][]byte
	if flags&isLead != 0 {
		e.Tx = u.transaction(flags)
		e.Tx.Index = placeFrom(u.row.Place, e.State)
		keys = e.Tx.InputKeys
	} else if back := u.number(); back < 1 || back >= uint64(max(1, u.row.Arrival)) {
		u.bad = true
	} else {
		u.found.Lead -= int64(back)
	}
	u.bad = u.bad || !ok
	if operation == "" {
		f.Malformed = u.text()
		u.bad = u.bad || f.Malformed == ""
		return
	}
	u.content(flags, keys, operation)
}

func (u *unpacker) transaction(flags byte) *index.Transaction {
	tx := &u.room.tx
	tx.Coinbase = flags&coinbase != 0
	frames := u.number()
	u.bad = u.bad || frames < 1 || frames > math.MaxUint32
	u.found.Frames = int64(frames)
	u.fill(tx.ID[:])
	n := u.count(1)
	if n > 0 {
		tx.InputKeys = u.room.keys[:0]
	}
	for range n {
		key := u.bytes()
		u.bad = u.bad || len(key) == 0
		tx.InputKeys = append(tx.InputKeys, key)
	}
	u.outputs(tx, flags&hasAmounts != 0)
	if n = u.count(33); n > len(u.room.spends) {
		tx.Spends = make([]index.Outpoint, n)
	} else if n > 0 {
		tx.Spends = u.room.spends[:n]
	}
	for i := range tx.Spends {
		u.fill(tx.Spends[i].TxID[:])
		tx.Spends[i].Output = u.small()
	}
	return tx
}

func (u *unpacker) outputs(tx *index.Transaction, amounts bool) {
	n := u.count(1)
	if n > len(u.room.outputs) {
		tx.Outputs = make([]frame.KeyHash, 0, min(n, len(u.b)/20+256))
	} else if n > 0 {
		tx.Outputs = u.room.outputs[:0]
	}
	if amounts && n > 0 && n <= len(u.room.amounts) {
		tx.Amounts = u.room.amounts[:0]
	}
	for range n {
		tx.Outputs = append(tx.Outputs, u.output(tx.InputKeys))
		if amounts {
			tx.Amounts = append(tx.Amounts, index.Amount{Output: u.small(), Satoshis: u.number()})
		}
	}
	u.bad = u.bad || amounts && n == 0
}

func (u *unpacker) output(keys [][]byte) (h frame.KeyHash) {
	switch at := int(u.byte()); {
	case u.bad:
	case at == 0:
		u.fill(h[:])
	case at > len(keys):
		u.bad = true
	default:
		h = u.hash.of(keys[at-1])
	}
	return h
}

func (u *unpacker) content(flags byte, keys [][]byte, operation nprotocol.Operation) {
	f := u.found.Frame
	if flags&keepsIDs != 0 {
		u.fill(f.ID[:])
		u.fill(f.ContentID[:])
	}
	var timeStamp string
	if flags&plainTime != 0 {
		timeStamp = strconv.FormatUint(Unsortable(u.row.TimeOrder), 10)
	} else {
		timeStamp = u.text()
	}
	other := u.text()
	if f.Protocol != frame.IM {
		u.record(&nprotocol.Record{Protocol: f.Protocol, Operation: operation, Other: other, TimeStamp: timeStamp}, keys)
		u.bad = u.bad || flags&keepsIDs == 0
		return
	}
	m := &u.room.message
	m.Other, m.TimeStamp, m.Body = other, timeStamp, u.row.Body
	version := byte(0)
	if flags&ownSource != 0 {
		version = u.byte()
	} else {
		m.Source = u.text()
	}
	m.Type, m.Encryption = u.word(typeWords), u.word(encryptionWords)
	m.Signature = u.signature()
	key := u.proved(keys)
	u.room.proof[0] = Prove(m.Signature, key)
	f.Message, f.Proofs = m, u.room.proof[:]
	if flags&ownSource != 0 {
		m.Source = addressOf(version, key, &u.hash)
	}
	if u.bad || flags&keepsIDs != 0 {
		return
	}
	if m.Body == nil {
		u.bad = true // read without the body, and no ids kept
		return
	}
	f.ID, f.ContentID = m.IDs()
}

func (u *unpacker) record(n *nprotocol.Record, keys [][]byte) {
	f := u.found.Frame
	u.fill(n.Address[:])
	signatures := 1
	if n.Operation == nprotocol.Transfer {
		signatures = 2
		u.fill(n.NewAddress[:])
	}
	if n.Protocol == frame.P {
		n.IP = u.text()
	} else {
		n.Name = u.text()
	}
	for range signatures {
		s := u.signature()
		n.Signatures = append(n.Signatures, s)
		f.Proofs = append(f.Proofs, Prove(s, u.proved(keys)))
	}
	f.Record = n
}

func (u *unpacker) signature() []byte {
	switch u.byte() {
	case signatureRaw:
		return Present(u.bytes())
	case signatureCompact:
		return base64.StdEncoding.AppendEncode(u.room.place(), u.take(65))
	}
	u.bad = true
	return nil
}

func (u *unpacker) proved(inputs [][]byte) []byte {
	switch at := int(u.byte()); {
	case at == 0:
		return nil
	case at == explicitKey:
		key := u.bytes()
		u.bad = u.bad || len(key) == 0
		return key
	case at <= len(inputs):
		return inputs[at-1]
	}
	u.bad = true
	return nil
}

// place returns room for a signature; a transfer has a second one.
func (r *room) place() []byte {
	if r.frame.Proofs == nil {
		return r.signature[:0:len(r.signature)]
	}
	return nil
}
