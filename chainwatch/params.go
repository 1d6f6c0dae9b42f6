package chainwatch

import (
	"encoding/hex"

	"github.com/metaim/metaim/improtocol/frame"
)

// Params are the constants of a network.
type Params struct {
	Network  frame.Network
	Magic    uint32 // first four bytes of every P2P message, little endian
	Port     uint16 // default P2P port
	Genesis  Header
	PowLimit uint32 // the easiest target allowed, in compact form
	// DifficultyAfter is the height of the block after which targets are computed by
	// the rule in use; 0: no rule is checked. LateIsEasy allows the easiest target for
	// a block 20 minutes after the one before.
	DifficultyAfter int32
	LateIsEasy      bool
	// Checkpoints are blocks that are known to be on the chain, by height. They
	// aren't changed.
	Checkpoints map[int32]frame.Hash
}

// ParamsOf returns the constants of a network.
func ParamsOf(n frame.Network) *Params {
	switch n {
	case frame.Main:
		return &Params{Network: n, Magic: 0xe8f3e1e3, Port: 8333, PowLimit: 0x1d00ffff, DifficultyAfter: 504_031, Checkpoints: mainCheckpoints,
			Genesis: genesis("29ab5f49ffff001d1dac2b7c")}
	case frame.Test:
		return &Params{Network: n, Magic: 0xf4f3e5f4, Port: 18333, PowLimit: 0x1d00ffff, DifficultyAfter: 1_188_697, LateIsEasy: true, Checkpoints: testCheckpoints,
			Genesis: genesis("dae5494dffff001d1aa4ae18")}
	default:
		return &Params{Network: n, Magic: 0xfabfb5da, Port: 18444, PowLimit: 0x207fffff,
			Genesis: genesis("dae5494dffff7f2002000000")}
	}
}

// genesis builds the first header of a network from its time, bits and nonce;
// version, Merkle root and the empty predecessor are the same on all of them.
func genesis(tail string) Header {
	const root = "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
	var h Header
	h[0] = 1
	if _, err := hex.Decode(h[36:68], []byte(root)); err != nil {
		panic(err)
	}
	if _, err := hex.Decode(h[68:], []byte(tail)); err != nil {
		panic(err)
	}
	return h
}
