package rows

import (
	"encoding/binary"
	"slices"

	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/index"
)

// Sortable maps time stamps to integers of the same order.
func Sortable(timeStamp uint64) int64 { return int64(timeStamp ^ 1<<63) }

// Unsortable undoes Sortable.
func Unsortable(n int64) uint64 { return uint64(n) ^ 1<<63 }

// PackOutputs packs addresses, 20 bytes each.
func PackOutputs(outputs []frame.KeyHash) []byte {
	b := make([]byte, 0, len(outputs)*len(frame.KeyHash{}))
	for _, h := range outputs {
		b = append(b, h[:]...)
	}
	return b
}

// UnpackOutputs undoes PackOutputs, or fails with a *[CorruptError].
func UnpackOutputs(b []byte) ([]frame.KeyHash, error) {
	const size = len(frame.KeyHash{})
	if len(b)%size != 0 {
		return nil, &CorruptError{"outputs"}
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

// PackKeys packs public keys of 1 to 255 bytes each, as [index.Placed.Check] makes
// sure: for each a byte with its length, then the key.
func PackKeys(keys [][]byte) []byte {
	b := []byte{}
	for _, key := range keys {
		b = append(append(b, byte(len(key))), key...)
	}
	return b
}

// UnpackKeys undoes PackKeys, or fails with a *[CorruptError]. The keys alias b.
func UnpackKeys(b []byte) ([][]byte, error) {
	var keys [][]byte
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || n > len(b)-1 {
			return nil, &CorruptError{"input_keys"}
		}
		keys = append(keys, b[1:1+n:1+n])
		b = b[1+n:]
	}
	return keys, nil
}

const outpointSize = 36

// PackSpends packs outpoints: 32 bytes of txid and 4 of output number, little
// endian, for each.
func PackSpends(spends []index.Outpoint) []byte {
	b := make([]byte, 0, len(spends)*outpointSize)
	for _, o := range spends {
		b = binary.LittleEndian.AppendUint32(append(b, o.TxID[:]...), o.Output)
	}
	return b
}

// UnpackSpends undoes PackSpends, or fails with a *[CorruptError].
func UnpackSpends(b []byte) ([]index.Outpoint, error) {
	if len(b)%outpointSize != 0 {
		return nil, &CorruptError{"spends"}
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
