package doublesha

import (
	"golang.org/x/sys/cpu"

	"github.com/metaim/metaim/improtocol/frame"
)

// wide tells whether this machine hashes sixteen messages at a time.
var wide = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW

// hash16 hashes sixteen messages twice. Message i is so many blocks of 64 bytes
// at base + at[i], followed by so many at tails[i], which end with the padding;
// there must be one block at least, and each at less than 2^31.
//
//go:noescape
func hash16(out *[16]frame.Hash, base *byte, at *[16]uint32, blocks int, tails *[16][128]byte, tailBlocks int)
