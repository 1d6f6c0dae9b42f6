package postgres

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// sortable maps time stamps to integers of the same order.
func sortable(timeStamp uint64) int64 { return int64(timeStamp ^ 1<<63) }

func unsortable(n int64) uint64 { return uint64(n) ^ 1<<63 }

func packOutputs(outputs []frame.KeyHash) []byte {
	b := make([]byte, 0, len(outputs)*len(frame.KeyHash{}))
	for _, h := range outputs {
		b = append(b, h[:]...)
	}
	return b
}

func unpackOutputs(b []byte) ([]frame.KeyHash, error) {
	const size = len(frame.KeyHash{})
	if len(b)%size != 0 {
		return nil, &corruptError{"outputs"}
	}
	var outputs []frame.KeyHash
	if len(b) > 0 {
		outputs = make([]frame.KeyHash, 0, len(b)/size)
	}
	for h := range slices.Chunk(b, size) {
		outputs = append(outputs, frame.KeyHash(h))
	}
	return outputs, nil
}

func packKeys(keys [][]byte) ([]byte, error) {
	b := []byte{}
	for _, key := range keys {
		if len(key) == 0 || len(key) > 255 {
			return nil, fmt.Errorf("a public key of %d bytes", len(key))
		}
		b = append(append(b, byte(len(key))), key...)
	}
	return b, nil
}

func unpackKeys(b []byte) ([][]byte, error) {
	var keys [][]byte
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || n > len(b)-1 {
			return nil, &corruptError{"input_keys"}
		}
		keys = append(keys, b[1:1+n:1+n])
		b = b[1+n:]
	}
	return keys, nil
}

const outpointSize = 36

func packSpends(spends []index.Outpoint) []byte {
	b := make([]byte, 0, len(spends)*outpointSize)
	for _, o := range spends {
		b = binary.LittleEndian.AppendUint32(append(b, o.TxID[:]...), o.Output)
	}
	return b
}

func unpackSpends(b []byte) ([]index.Outpoint, error) {
	if len(b)%outpointSize != 0 {
		return nil, &corruptError{"spends"}
	}
	var spends []index.Outpoint
	if len(b) > 0 {
		spends = make([]index.Outpoint, 0, len(b)/outpointSize)
	}
	for o := range slices.Chunk(b, outpointSize) {
		spends = append(spends, index.Outpoint{TxID: frame.Hash(o[:32]), Output: binary.LittleEndian.Uint32(o[32:])})
	}
	return spends, nil
}
