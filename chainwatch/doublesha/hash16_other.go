//go:build !amd64

package doublesha

import "github.com/metaim/metaim/improtocol/frame"

const wide = false

func hash16(*[16]frame.Hash, *byte, *[16]uint32, int, *[16][128]byte, int) {
	panic("doublesha: no wide hashing on this machine") // nobody calls it where wide is false
}
