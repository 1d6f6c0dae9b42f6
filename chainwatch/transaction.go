package chainwatch

import (
	"encoding/binary"
	"errors"
	"math"
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
	inputs, at := oneByte(b, 4)
	if inputs >= 0xfd {
		inputs, at = length(b, 4)
	}
	for ; inputs > 0; inputs-- {
		script, from := oneByte(b, at+36)
		if script >= 0xfd {
			script, from = length(b, at+36)
		}
		if script > uint64(len(b)-from) {
			return 0, false, errShort
		}
		if spends != nil {
			spends.look(b[at : at+36])
		}
		at = from + int(script) + 4
	}
	outputs, from := oneByte(b, at)
	if outputs >= 0xfd {
		outputs, from = length(b, at)
	}
	at = from
	for ; outputs > 0; outputs-- {
		script, from := oneByte(b, at+8)
		if script >= 0xfd {
			script, from = length(b, at+8)
		}
		if script > uint64(len(b)-from) {
			return 0, false, errShort
		}
		at = from + int(script)
		ours = ours || maybeOurs(b[from:at]) && frame.Ours(b[from:at])
	}
	if at > len(b)-4 {
		return 0, false, errShort
	}
	return at + 4, ours, nil
}

// oneByte reads a length that takes one byte, as nearly all do: where it returns
// 0xfd or more, length must be asked. It is small, to be inlined.
func oneByte(b []byte, at int) (n uint64, from int) {
	if at < len(b) {
		return uint64(b[at]), at + 1
	}
	return 0xff, at
}

// length reads the length that stands at an offset, and where what it counts
// begins: never behind the end of b. Of a length that b doesn't hold whole it
// returns one that no b is long enough for.
func length(b []byte, at int) (n uint64, from int) {
	c := cursor{b: b, at: min(at, len(b))}
	if n = c.varint(); c.short {
		return math.MaxUint64, len(b)
	}
	return n, c.at
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
		value := c.bytes(8)
		script := c.bytes(c.varint())
		if h, ok := frame.PayToPublicKeyHash(script); ok {
			tx.Outputs = append(tx.Outputs, h)
			tx.Amounts = append(tx.Amounts, index.Amount{Output: uint32(i), Satoshis: binary.LittleEndian.Uint64(value)})
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
	if len(gone) == 0 {
		return
	}
	isGone := func(id frame.Hash) bool { return gone[id] }
	for key, list := range s {
		if !slices.ContainsFunc(list, isGone) {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(list), isGone)
		if len(kept) == 0 {
			delete(s, key)
		} else {
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
