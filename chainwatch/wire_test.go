package chainwatch

import (
	"encoding/binary"
	"runtime"

	"github.com/metaim/metaim/improtocol/frame"
)

// What these tests are made of: transactions and blocks as on the wire.

func wireVarint(b []byte, n uint64) []byte {
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

// A wireInput spends the output of a transaction whose id is filled with from.
type wireInput struct {
	from   byte
	script []byte
}

func (in wireInput) outpoint() (o [36]byte) {
	for i := range 32 {
		o[i] = in.from
	}
	if in.from == 0 {
		copy(o[32:], "\xff\xff\xff\xff")
	}
	return o
}

func wireTx(inputs []wireInput, outputs ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = wireVarint(b, uint64(len(inputs)))
	for _, in := range inputs {
		o := in.outpoint()
		b = append(wireVarint(append(b, o[:]...), uint64(len(in.script))), in.script...)
		b = append(b, 0xff, 0xff, 0xff, 0xff)
	}
	b = wireVarint(b, uint64(len(outputs)))
	for _, script := range outputs {
		b = binary.LittleEndian.AppendUint64(b, 7)
		b = append(wireVarint(b, uint64(len(script))), script...)
	}
	return append(b, 0, 0, 0, 0)
}

func wireHeader(prev frame.Hash, root frame.Hash, time uint32, bits uint32) Header {
	var h Header
	h[0] = 1
	copy(h[4:], prev[:])
	copy(h[36:], root[:])
	binary.LittleEndian.PutUint32(h[68:], time)
	binary.LittleEndian.PutUint32(h[72:], bits)
	return h
}

func wireBlock(txs ...[]byte) []byte {
	var ids []frame.Hash
	for _, tx := range txs {
		ids = append(ids, frame.HashOf(tx))
	}
	h := wireHeader(frame.Hash{}, plainRoot(ids), 1, 0x207fffff)
	b := wireVarint(h[:], uint64(len(txs)))
	for _, tx := range txs {
		b = append(b, tx...)
	}
	return b
}

func wirePay(to byte) []byte {
	script := []byte{0x76, 0xa9, 20}
	for range 20 {
		script = append(script, to)
	}
	return append(script, 0x88, 0xac)
}

func wirePushes(fields ...string) []byte {
	b := []byte{0, 0x6a}
	for _, f := range fields {
		b = frame.AppendPush(b, []byte(f))
	}
	return b
}

var (
	wireMessage  = wirePushes(frame.IMPI, "bob", "text", "plain", "hello", "", "1", "sig")
	wireForeign  = wirePushes("19HxigV4QyBv3tHpQVcUEQyq1pzZVdoAut", "data")
	wireCoinbase = wireTx([]wireInput{{from: 0, script: []byte("\x02hi")}}, wirePay(9))
)

// wireAllocated returns the bytes that a call allocates, the least of several
// runs: others may allocate beside it.
func wireAllocated(call func()) uint64 {
	least := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		call()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}
