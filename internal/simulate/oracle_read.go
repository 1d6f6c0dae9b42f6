package simulate

import (
	"encoding/binary"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/improtocol/frame"
	"github.com/metaim/metaim/nprotocol"
)

// An oracleTx is a transaction, as far as the protocols look at it.
type oracleTx struct {
	id       frame.Hash
	coinbase bool
	spends   [][36]byte
	keys     [][]byte        // public keys that P2PKH inputs reveal
	outputs  []frame.KeyHash // of P2PKH outputs
	frames   []*oracleFrame
}

// An oracleFrame is a frame as it stands in an output: exactly one of message
// and record, or none when it can't be read.
type oracleFrame struct {
	output   uint32
	protocol frame.Protocol
	message  *improtocol.Message
	record   *nprotocol.Record
}

// readTx reads a transaction of the simulator, which is always whole.
func readTx(raw []byte) *oracleTx {
	tx := &oracleTx{id: frame.HashOf(raw)}
	at := 4
	next := func(n int) []byte { at += n; return raw[at-n : at] }
	count := func() int {
		if n := next(1)[0]; n < 0xfd {
			return int(n)
		}
		if raw[at-1] != 0xfd {
			panic("the simulator makes no such lengths")
		}
		return int(binary.LittleEndian.Uint16(next(2)))
	}
	for range count() {
		outpoint := [36]byte(next(36))
		script := next(count())
		next(4)
		if [32]byte(outpoint[:32]) == ([32]byte{}) {
			tx.coinbase = true
			continue
		}
		tx.spends = append(tx.spends, outpoint)
		if key, ok := frame.SpendPublicKey(script); ok {
			tx.keys = append(tx.keys, key)
		}
	}
	for i := range count() {
		next(8)
		script := next(count())
		if h, ok := frame.PayToPublicKeyHash(script); ok {
			tx.outputs = append(tx.outputs, h)
		} else if f := readOutput(script); f != nil {
			f.output = uint32(i)
			tx.frames = append(tx.frames, f)
		}
	}
	return tx
}

func readOutput(script []byte) *oracleFrame {
	if !frame.Ours(script) {
		return nil
	}
	read, err := frame.Read(script)
	if err != nil {
		return &oracleFrame{}
	}
	f := &oracleFrame{protocol: read.Protocol}
	if read.Protocol == frame.IM {
		f.message = improtocol.FromFrame(read)
		return f
	}
	if f.record, err = nprotocol.FromFrame(read, frame.Regtest); err != nil {
		return &oracleFrame{}
	}
	return f
}
