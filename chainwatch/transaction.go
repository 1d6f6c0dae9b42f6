package chainwatch

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
	"github.com/metaim/metaim/nprotocol"
)

// Reasons why bytes are no transaction.
var (
	errShort       = errors.New("transaction is cut short")
	ErrTransaction = errors.New("not a transaction")
)

// A cursor walks bytes of the wire. Lengths are compared before they are
// converted; after the first that doesn't fit, short is set and everything read
// is empty.
type cursor struct {
	b     []byte
	at    int
	short bool
}

func (c *cursor) skip(n int) {
	if n > len(c.b)-c.at {
		c.short = true
		return
	}
	c.at += n
}

// bytes returns n bytes, n as it stood on the wire.
func (c *cursor) bytes(n uint64) []byte {
	if c.short || n > uint64(len(c.b)-c.at) {
		c.short = true
		return nil
	}
	at := c.at
	c.at += int(n)
	return c.b[at:c.at]
}

// varint reads a length in the wire's variable form. Any of the forms may be
// longer than needed.
func (c *cursor) varint() uint64 {
	if c.short || c.at >= len(c.b) {
		c.short = true
		return 0
	}
	first := c.b[c.at]
	c.at++
	switch first {
	case 0xfd:
		if b := c.bytes(2); b != nil {
			return uint64(binary.LittleEndian.Uint16(b))
		}
		return 0
	case 0xfe:
		if b := c.bytes(4); b != nil {
			return uint64(binary.LittleEndian.Uint32(b))
		}
		return 0
	case 0xff:
		if b := c.bytes(8); b != nil {
			return binary.LittleEndian.Uint64(b)
		}
		return 0
	}
	return uint64(first)
}

// walk finds the end of the transaction at the beginning of b and tells whether
// one of its outputs begins as a frame. It allocates nothing. It fails with
// errShort when b ends first. spends, when not nil, is asked about each outpoint.
func walk(b []byte, spends *conflicts) (n int, ours bool, err error) {
	c := cursor{b: b}
	c.skip(4)
	for inputs := c.varint(); inputs > 0 && !c.short; inputs-- {
		outpoint := c.bytes(36)
		c.bytes(c.varint())
		c.skip(4)
		if spends != nil && !c.short {
			spends.look(outpoint)
		}
	}
	for outputs := c.varint(); outputs > 0 && !c.short; outputs-- {
		c.skip(8)
		script := c.bytes(c.varint())
		ours = ours || maybeOurs(script) && frame.Ours(script)
	}
	c.skip(4)
	if c.short {
		return 0, false, errShort
	}
	return c.at, ours, nil
}

// maybeOurs is the test that nearly every output fails at once.
func maybeOurs(script []byte) bool {
	return len(script) > 2 && (script[0] == 0x6a || script[0] == 0 && script[1] == 0x6a)
}

// ReadTransaction reads a whole transaction: nothing may follow it. Its frames
// are read, their signatures not yet proved. What it returns aliases raw. It
// fails with ErrTransaction.
func ReadTransaction(raw []byte, network frame.Network) (*index.Transaction, error) {
	tx := &index.Transaction{ID: frame.HashOf(raw)}
	c := cursor{b: raw}
	c.skip(4)
	inputs := c.varint()
	if inputs == 0 {
		return nil, ErrTransaction
	}
	keys := map[string]bool{}
	for ; inputs > 0 && !c.short; inputs-- {
		readInput(&c, tx, keys)
	}
	outputs := c.varint()
	for i := uint64(0); i < outputs && !c.short; i++ {
		c.skip(8)
		script := c.bytes(c.varint())
		if h, ok := frame.PayToPublicKeyHash(script); ok {
			tx.Outputs = append(tx.Outputs, h)
			continue
		}
		if f := readFrame(script, network); f != nil {
			f.Output = uint32(i)
			tx.Frames = append(tx.Frames, f)
		}
	}
	c.skip(4)
	if c.short || c.at != len(raw) {
		return nil, ErrTransaction
	}
	if tx.Coinbase {
		tx.Spends, tx.InputKeys = nil, nil
	}
	return tx, nil
}

var nowhere frame.Hash // what a coinbase spends

func readInput(c *cursor, tx *index.Transaction, keys map[string]bool) {
	outpoint := c.bytes(36)
	script := c.bytes(c.varint())
	c.skip(4)
	if c.short {
		return
	}
	spent := index.Outpoint{TxID: frame.Hash(outpoint[:32]), Output: binary.LittleEndian.Uint32(outpoint[32:])}
	tx.Coinbase = tx.Coinbase || spent.TxID == nowhere
	tx.Spends = append(tx.Spends, spent)
	if key, ok := frame.SpendPublicKey(script); ok && !keys[string(key)] {
		keys[string(key)] = true
		tx.InputKeys = append(tx.InputKeys, key)
	}
}

// readFrame reads an output script; nil means that it isn't ours.
func readFrame(script []byte, network frame.Network) *index.Frame {
	if !maybeOurs(script) {
		return nil
	}
	read, err := frame.Read(script)
	if errors.Is(err, frame.ErrNotOurs) {
		return nil
	}
	f := &index.Frame{Protocol: read.Protocol}
	if err == nil && read.Protocol == frame.IM {
		f.Message = improtocol.FromFrame(read)
		f.ContentID = f.Message.ContentID()
	}
	if err == nil && read.Protocol != frame.IM {
		f.Record, err = nprotocol.FromFrame(read, network)
	}
	var refused *frame.ParseError
	if errors.As(err, &refused) {
		f.Protocol, f.Malformed, f.Record = refused.Protocol, refused.Error(), nil
		return f
	}
	f.ID = frame.IDOf(read.Preimage())
	return f
}

// Prove recovers the keys of the frames' signatures: the costly part of judging
// them, and one that needs no state.
func Prove(tx *index.Transaction, network frame.Network) {
	for _, f := range tx.Frames {
		if f.Malformed != "" {
			continue
		}
		preimage := f.Preimage(network)
		f.Proofs = f.Proofs[:0]
		for _, field := range signatures(f) {
			f.Proofs = append(f.Proofs, frame.Prove(preimage, field))
		}
	}
}

func signatures(f *index.Frame) [][]byte {
	if f.Message != nil {
		return [][]byte{f.Message.Signature}
	}
	return f.Record.Signatures
}

// Spent says which unconfirmed transactions with frames spend an outpoint, as on
// the wire. More than one may: only a block decides.
type Spent map[[36]byte][]frame.Hash

func (s Spent) add(o index.Outpoint, by frame.Hash) {
	key := outpointKey(o)
	if !slices.Contains(s[key], by) {
		s[key] = append(slices.Clip(s[key]), by)
	}
}

// remove forgets transactions.
func (s Spent) remove(gone map[frame.Hash]bool) {
	for key, list := range s {
		kept := slices.DeleteFunc(slices.Clone(list), func(id frame.Hash) bool { return gone[id] })
		switch {
		case len(kept) == 0:
			delete(s, key)
		case len(kept) < len(list):
			s[key] = kept
		}
	}
}

// conflicts finds which unconfirmed transactions a block double-spends.
type conflicts struct {
	spent Spent        // what unconfirmed transactions with frames spend, and which
	hits  []frame.Hash // those of the transaction being walked
	found map[frame.Hash]bool
}

func (c *conflicts) look(outpoint []byte) {
	c.hits = append(c.hits, c.spent[[36]byte(outpoint)]...)
}

// settle takes the hits of the transaction just walked: one that spends what it
// spends itself is no conflict.
func (c *conflicts) settle(txid frame.Hash) {
	for _, by := range c.hits {
		if by != txid {
			c.found[by] = true
		}
	}
	c.hits = c.hits[:0]
}

// outpointKey writes an outpoint as on the wire.
func outpointKey(o index.Outpoint) (key [36]byte) {
	copy(key[:], o.TxID[:])
	binary.LittleEndian.PutUint32(key[32:], o.Output)
	return key
}
