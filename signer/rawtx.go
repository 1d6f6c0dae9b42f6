package signer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/libsv/go-bt/v2"

	"github.com/metaim/metaim/improtocol/frame"
)

// Reasons why bytes are no transaction. They arrive inside a *TransactionError.
var (
	ErrTruncated  = errors.New("the bytes end too early")
	ErrTrailing   = errors.New("more bytes follow the transaction")
	ErrVarInt     = errors.New("a length is not written in its shortest form")
	ErrNoInputs   = errors.New("no inputs (or the extended format, which is not read)")
	ErrNoOutputs  = errors.New("no outputs")
	ErrOutputSums = errors.New("outputs of more satoshis than there are")
)

// A TransactionError says where in a raw transaction reading stopped, and why.
type TransactionError struct {
	Offset int   // in bytes
	Err    error // ErrTruncated, ErrVarInt, ...
}

func (e *TransactionError) Error() string {
	return fmt.Sprintf("not a transaction: byte %d: %v", e.Offset, e.Err)
}

func (e *TransactionError) Unwrap() error { return e.Err }

// maxSatoshis is all the satoshis that there will ever be.
const maxSatoshis = 21_000_000 * 100_000_000

const (
	shortestInput  = 32 + 4 + 1 + 4
	shortestOutput = 8 + 1
)

// outpoint names an output of a transaction.
type outpoint struct {
	tx   frame.Hash
	vout uint32
}

// rawInput and rawOutput alias the raw transaction.
type rawInput struct {
	spends outpoint
	script []byte
}

type rawOutput struct {
	satoshis uint64
	script   []byte
}

type rawTransaction struct {
	inputs  []rawInput
	outputs []rawOutput
}

// CheckRawTransaction tells whether bytes are exactly one transaction in the
// usual format, every length in its shortest form: then go-bt reads it without
// panicking or allocating more than it holds, and writes the same bytes. It
// fails with a *TransactionError. It judges no script and no signature.
func CheckRawTransaction(raw []byte) error {
	_, err := readTransaction(raw)
	return err
}

// ParseTransaction checks a foreign transaction and has go-bt read it. Its id is
// frame.HashOf(raw).
func ParseTransaction(raw []byte) (*bt.Tx, error) {
	if err := CheckRawTransaction(raw); err != nil {
		return nil, err
	}
	return bt.NewTxFromBytes(raw)
}

// readTransaction walks a raw transaction.
func readTransaction(raw []byte) (rawTransaction, error) {
	c := cursor{b: raw}
	var tx rawTransaction
	c.take(4) // version
	for n := c.count(shortestInput, ErrNoInputs); n > 0 && c.err == nil; n-- {
		tx.inputs = append(tx.inputs, c.input())
	}
	var sum uint64
	for n := c.count(shortestOutput, ErrNoOutputs); n > 0 && c.err == nil; n-- {
		out := c.output()
		tx.outputs = append(tx.outputs, out)
		if sum += out.satoshis; sum > maxSatoshis || out.satoshis > maxSatoshis {
			c.fail(ErrOutputSums)
		}
	}
	c.take(4) // lock time
	if c.at < len(raw) {
		c.fail(ErrTrailing)
	}
	if c.err != nil {
		return rawTransaction{}, c.err
	}
	return tx, nil
}

// A cursor reads bytes from a slice. After a failure it reads nothing more.
type cursor struct {
	b   []byte
	at  int
	err error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = &TransactionError{Offset: c.at, Err: err}
	}
}

// take returns the next n bytes, nil when they aren't there.
func (c *cursor) take(n uint64) []byte {
	if c.err == nil && n > uint64(len(c.b)-c.at) {
		c.fail(ErrTruncated)
	}
	if c.err != nil {
		return nil
	}
	end := c.at + int(n)
	b := c.b[c.at:end:end]
	c.at = end
	return b
}

// uint reads a little-endian number of 1 to 8 bytes.
func (c *cursor) uint(size uint64) uint64 {
	var b [8]byte
	copy(b[:], c.take(size))
	return binary.LittleEndian.Uint64(b[:])
}

func (c *cursor) varInt() uint64 {
	start := *c
	var n, least uint64
	switch first := c.uint(1); first {
	case 0xfd:
		n, least = c.uint(2), 0xfd
	case 0xfe:
		n, least = c.uint(4), 1<<16
	case 0xff:
		n, least = c.uint(8), 1<<32
	default:
		n = first
	}
	if c.err == nil && n < least {
		*c = start
		c.fail(ErrVarInt)
		return 0
	}
	return n
}

// count reads how many things follow that take at least size bytes each.
func (c *cursor) count(size uint64, none error) uint64 {
	n := c.varInt()
	switch {
	case c.err != nil:
		return 0
	case n == 0:
		c.fail(none)
	case n > uint64(len(c.b)-c.at)/size:
		c.fail(ErrTruncated)
		return 0
	}
	return n
}

func (c *cursor) input() rawInput {
	var in rawInput
	copy(in.spends.tx[:], c.take(32))
	in.spends.vout = uint32(c.uint(4))
	in.script = c.take(c.varInt())
	c.take(4) // sequence
	return in
}

func (c *cursor) output() rawOutput {
	return rawOutput{satoshis: c.uint(8), script: c.take(c.varInt())}
}

// varIntSize returns the length of a number as the chain writes lengths.
func varIntSize(n int) int {
	switch {
	case n < 0xfd:
		return 1
	case n <= 0xffff:
		return 3
	case uint64(n) <= 0xffffffff:
		return 5
	}
	return 9
}
