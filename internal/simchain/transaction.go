// Package simchain makes chains without a node: transactions that carry frames,
// blocks of regtest with real Merkle roots and proof of work, trees of branches,
// block files, blocks of any size written as a stream, and a
// [chainwatch.Source] that serves them from memory and misbehaves on demand.
// Everything is a function of what it is given: the same calls make the same
// bytes.
package simchain

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// A Tx is a transaction to be written. Its inputs needn't spend anything real.
type Tx struct {
	Inputs  []Input
	Outputs []Output
}

// An Input spends an output with a script.
type Input struct {
	Spends index.Outpoint
	Script []byte
}

// An Output holds satoshis under a script.
type Output struct {
	Value  uint64 // satoshis
	Script []byte
}

// Bytes returns the transaction as on the wire.
func (t *Tx) Bytes() []byte {
	b := []byte{1, 0, 0, 0}
	b = appendVarInt(b, uint64(len(t.Inputs)))
	for _, in := range t.Inputs {
		b = append(b, in.Spends.TxID[:]...)
		b = binary.LittleEndian.AppendUint32(b, in.Spends.Output)
		b = appendVarInt(b, uint64(len(in.Script)))
		b = append(b, in.Script...)
		b = append(b, 0xff, 0xff, 0xff, 0xff)
	}
	b = appendVarInt(b, uint64(len(t.Outputs)))
	for _, out := range t.Outputs {
		b = binary.LittleEndian.AppendUint64(b, out.Value)
		b = appendVarInt(b, uint64(len(out.Script)))
		b = append(b, out.Script...)
	}
	return append(b, 0, 0, 0, 0)
}

func appendVarInt(b []byte, n uint64) []byte {
	switch {
	case n < 0xfd:
		return append(b, byte(n))
	case n <= 0xffff:
		return binary.LittleEndian.AppendUint16(append(b, 0xfd), uint16(n))
	case n <= 0xffffffff:
		return binary.LittleEndian.AppendUint32(append(b, 0xfe), uint32(n))
	}
	return binary.LittleEndian.AppendUint64(append(b, 0xff), n)
}

// Coin returns the n-th output of nothing: something to spend that no
// transaction made.
func Coin(n uint64) index.Outpoint {
	id := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("simchain coin "), n))
	return index.Outpoint{TxID: id, Output: uint32(n % 3)}
}

// Spend returns a P2PKH input that reveals the public key, under a signature
// that signs nothing.
func Spend(coin index.Outpoint, publicKey []byte) Input {
	script := frame.AppendPush(nil, make([]byte, 71))
	return Input{Spends: coin, Script: frame.AppendPush(script, publicKey)}
}

// Pay returns a P2PKH output.
func Pay(to frame.KeyHash, satoshis uint64) Output {
	script := append([]byte{0x76, 0xa9, 20}, to[:]...)
	return Output{Value: satoshis, Script: append(script, 0x88, 0xac)}
}

// Data returns an output of value 0 with the script of a frame, or of anything.
func Data(script []byte) Output { return Output{Script: script} }

// Coinbase returns the input of a coinbase; the tag makes it unique.
func Coinbase(height int32, tag uint64) Input {
	script := frame.AppendPush(nil, binary.LittleEndian.AppendUint32(nil, uint32(height)))
	script = frame.AppendPush(script, binary.LittleEndian.AppendUint64(nil, tag))
	return Input{Spends: index.Outpoint{Output: 0xffffffff}, Script: script}
}
